"""The controller itself under the rights of manifests/rbac and with the flags of manifests/controller, nothing more.

Runs where SWARMSCALE_CONTROLLER names a built swarmscale-controller.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any, Callable

from support import NAMESPACE, SERVICE_ACCOUNT, Cluster, kustomize, needs_cluster

FLEET = "controller-test"
CONTROLLER = os.environ.get("SWARMSCALE_CONTROLLER", "")
BAND = {"type": "Band", "lower": 70, "upper": 85}


@needs_cluster
@unittest.skipUnless(CONTROLLER, "set SWARMSCALE_CONTROLLER to the path of a swarmscale-controller")
class ControllerUnderItsRights(unittest.TestCase):
    """One scale-up, with leader election, an event and a status."""

    def test_it_scales_a_deployment_and_nothing_is_forbidden(self) -> None:
        cluster = Cluster()
        items = kustomize("manifests/default")
        # Without the Deployment: its pods would be Running on the test node, but run nothing.
        cluster.install([item for item in items if item["kind"] != "Deployment"])
        self.make_fleet(cluster)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [CONTROLLER, "--kubeconfig", str(self.kubeconfig(cluster, Path(folder))), *self.flags(items)],
                    stderr=output,
                    env={**os.environ, "POD_NAME": "pod-1", "POD_NAMESPACE": NAMESPACE},
                )
                try:
                    self.check_outcome(cluster, log)
                finally:
                    process.terminate()
                    status = process.wait(30)
            text = log.read_text()
            self.assertEqual(status, 0, text)
            self.assertIn("scaled web 5→12", text)
            self.assertNotIn("forbidden", text.lower())
        certificates = cluster.must("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/swarmscale-certificates")["data"]
        for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            hooks = cluster.must("GET", f"/apis/admissionregistration.k8s.io/v1/{kind}/swarmscale-webhook")["webhooks"]
            self.assertEqual([hook["clientConfig"].get("caBundle") for hook in hooks], [certificates["ca.crt"]], kind)
        lease = cluster.must("GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}")
        self.assertFalse(lease["spec"].get("holderIdentity"), "the lease is given back at the end")

    def check_outcome(self, cluster: Cluster, log: Path) -> None:
        autoscaler = f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/swarmautoscalers/web"
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}"
        events = f"/api/v1/namespaces/{FLEET}/events"

        def said() -> bool:
            status = cluster.must("GET", autoscaler).get("status", {})
            reasons = [event["reason"] for event in cluster.must("GET", events)["items"]]
            return status.get("desiredReplicas") == 12 and "SuccessfulRescale" in reasons

        self.eventually(said, log)
        deployment = cluster.must("GET", f"/apis/apps/v1/namespaces/{FLEET}/deployments/web")
        self.assertEqual(deployment["spec"]["replicas"], 12)
        self.assertTrue(cluster.must("GET", lease)["spec"]["holderIdentity"].startswith("pod-1_"))
        self.check_certificates(cluster, log)

    def check_certificates(self, cluster: Cluster, log: Path) -> None:
        """Webhook and coordinator show a certificate that the authorities in the Secret know, under their Services' names."""
        data = cluster.must("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/swarmscale-certificates")["data"]
        context = ssl.create_default_context(cadata=base64.b64decode(data["ca.crt"]).decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        for service, message in (("webhook", "serving the admission webhook"), ("coordinator", "coordinating workers")):
            pattern = re.compile(f'msg="{message}" address=0.0.0.0:([0-9]+)')
            self.eventually(lambda: bool(pattern.search(log.read_text())), log)
            found = pattern.search(log.read_text())
            assert found
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as connection:
                name = f"swarmscale-{service}.{NAMESPACE}.svc"
                with context.wrap_socket(connection, server_hostname=name) as secured:
                    self.assertEqual(secured.selected_alpn_protocol(), "h2" if service == "coordinator" else "http/1.1")

    def eventually(self, condition: Callable[[], bool], log: Path) -> None:
        for _ in range(120):
            if condition():
                return
            time.sleep(0.5)
        self.fail(f"not within 60 s; the controller's log:\n{log.read_text()}")

    @staticmethod
    def flags(items: list[dict[str, Any]]) -> list[str]:
        """The flags of the Deployment, as its pod would get them, on ports of this test's own."""
        deployment = next(item for item in items if item["kind"] == "Deployment")
        args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        kept = [arg.replace("$(POD_NAMESPACE)", NAMESPACE) for arg in args if not arg.startswith("--listen=")]
        kept = [re.sub(r"(-listen=0\.0\.0\.0):[0-9]+$", r"\1:0", arg) for arg in kept]
        return [*kept, "--listen=127.0.0.1:0", "--cpu-initialization-period=0s", "--initial-readiness-delay=0s", "--log-level=debug"]

    @staticmethod
    def kubeconfig(cluster: Cluster, folder: Path) -> Path:
        """A kubeconfig with a token of the controller's service account."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = cluster.must("POST", path, request)["status"]["token"]
        file = folder / "kubeconfig"
        cluster_entry = {"server": cluster.state["server"], "certificate-authority": cluster.state["caFile"]}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": SERVICE_ACCOUNT}}],
            "clusters": [{"name": "test", "cluster": cluster_entry}],
            "users": [{"name": SERVICE_ACCOUNT, "user": {"token": token}}],
        }
        file.write_text(json.dumps(document))
        return file

    @staticmethod
    def make_fleet(cluster: Cluster) -> None:
        """Five pods of one core each, which use 9.3 cores: 12 would be in the middle of the band."""
        cluster.must("POST", "/api/v1/namespaces", {"metadata": {"name": FLEET}})
        load = {"namespace": FLEET, "selector": "app=web", "cpu": {"total": "9300m"}}
        request = urllib.request.Request(
            f"{cluster.state['controlURL']}/load", json.dumps(load).encode(), {"Content-Type": "application/json"}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).read()
        container = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "1"}}}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 5, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        cluster.must("POST", f"/apis/apps/v1/namespaces/{FLEET}/deployments", {"metadata": {"name": "web"}, "spec": spec})
        policies = [{"type": "Percent", "value": 1000, "periodSeconds": 15}]
        autoscaler = {
            "apiVersion": "swarmscale.dev/v1alpha1",
            "kind": "SwarmAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "syncPeriodSeconds": 3,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": BAND}}],
                "behavior": {"scaleUp": {"policies": policies}},
            },
        }
        cluster.must("POST", f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/swarmautoscalers", autoscaler)
