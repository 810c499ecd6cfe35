"""The controller itself under the rights of manifests/rbac, or of the chart, and with their flags, nothing more.

Runs where SWARMSCALE_CONTROLLER names a built swarmscale-controller.
"""

from __future__ import annotations

import base64
import contextlib
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
from typing import Any, Callable, Iterator

from support import NAMESPACE, SERVICE_ACCOUNT, Cluster, kustomize, needs_cluster
from test_chart import render

CONTROLLER = os.environ.get("SWARMSCALE_CONTROLLER", "")
BAND = {"type": "Band", "lower": 70, "upper": 85}


@needs_cluster
@unittest.skipUnless(CONTROLLER, "set SWARMSCALE_CONTROLLER to the path of a swarmscale-controller")
class ControllerUnderItsRights(unittest.TestCase):
    """One scale-up, with leader election, an event and a status."""

    cluster: Cluster
    log: Path

    def setUp(self) -> None:
        self.cluster = Cluster()

    def test_it_scales_a_deployment_and_nothing_is_forbidden(self) -> None:
        items = kustomize("manifests/default")
        self.make_fleet("controller-test")
        with self.running(items, NAMESPACE):
            self.check_scaling("controller-test", NAMESPACE, SERVICE_ACCOUNT)
            authorities = self.secret(NAMESPACE, "swarmscale-certificates")["ca.crt"]
            for service in ("webhook", "coordinator"):
                self.handshake(f"swarmscale-{service}.{NAMESPACE}.svc", authorities)
        self.assertEqual(self.bundles("swarmscale-webhook"), [authorities] * 2)
        lease = self.cluster.must("GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}")
        self.assertFalse(lease["spec"].get("holderIdentity"), "the lease is given back at the end")

    def test_it_serves_one_namespace_under_rights_in_that_namespace(self) -> None:
        """Coordinator, webhook and KEDA's scaler too, in the namespace of the fleet itself."""
        fleet, account = "one-namespace", "solo-swarmscale-controller"
        # The server is older than the label by which the webhook's configuration selects: the controller doesn't see a difference.
        items = render({"watchNamespace": fleet, "bridges": {"keda": {"enabled": True}}}, name="solo", namespace=fleet)
        self.make_fleet(fleet)
        budget = {"apiVersion": "swarmscale.dev/v1alpha1", "kind": "APIBudget", "metadata": {"name": "shared"}, "spec": {"limits": {"requestsPerMinute": 600}}}
        self.cluster.must("POST", f"/apis/swarmscale.dev/v1alpha1/namespaces/{fleet}/apibudgets", budget)
        pod = {"metadata": {"name": "pod-1"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
        self.cluster.must("POST", f"/api/v1/namespaces/{fleet}/pods", pod)
        with self.running(items, fleet, account):
            self.check_scaling(fleet, fleet, account)
            authorities = self.secret(fleet, "solo-swarmscale-certificates")["ca.crt"]
            for service in ("webhook", "coordinator"):
                self.handshake(f"solo-swarmscale-{service}.{fleet}.svc", authorities)
            self.eventually(lambda: "status" in self.cluster.must("GET", f"/apis/swarmscale.dev/v1alpha1/namespaces/{fleet}/apibudgets/shared"))
            labels = f"/api/v1/namespaces/{fleet}/pods/pod-1"
            self.eventually(lambda: self.cluster.must("GET", labels)["metadata"].get("labels", {}).get("swarmscale.dev/leader") == account)
            review = {"spec": {"token": "x"}}
            self.assertEqual(self.cluster.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, service_account=account, namespace=fleet)[0], 201)
        self.assertEqual(self.bundles(f"solo-swarmscale-{fleet}-webhook"), [authorities] * 2)
        for path in ("/api/v1/pods", "/api/v1/namespaces/default/pods", "/apis/swarmscale.dev/v1alpha1/swarmautoscalers", "/apis/apps/v1/namespaces/default/deployments/web/scale"):
            self.assertEqual(self.cluster.send("GET", path, service_account=account, namespace=fleet)[0], 403, path)

    def test_it_shows_a_certificate_that_cert_manager_keeps(self) -> None:
        """With the files that the kubelet would mount, made by openssl; and without any right to Secrets or webhook configurations."""
        namespace = "cert-managed"
        items = render({"certManager": {"enabled": True}}, name="managed", namespace=namespace)
        self.make_fleet("cert-managed-fleet")
        (names,) = [item["spec"]["dnsNames"] for item in items if item["kind"] == "Certificate" and "dnsNames" in item["spec"]]
        with tempfile.TemporaryDirectory() as folder:
            self.make_certificate(Path(folder), names)
            authorities = base64.b64encode(Path(folder, "ca.crt").read_bytes()).decode()
            with self.running(items, namespace, "managed-swarmscale-controller", certificates=folder):
                self.check_scaling("cert-managed-fleet", namespace, "managed-swarmscale-controller")
                shown = {service: self.handshake(f"managed-swarmscale-{service}.{namespace}.svc", authorities) for service in ("webhook", "coordinator")}
                self.assertEqual(len(set(shown.values())), 1)
                # cert-manager renews it: the next handshake shows that one.
                self.make_certificate(Path(folder), names)
                for service, serial in shown.items():
                    self.eventually(lambda: self.handshake(f"managed-swarmscale-{service}.{namespace}.svc", authorities) != serial)
        self.assertEqual(self.cluster.send("GET", f"/api/v1/namespaces/{namespace}/secrets/managed-swarmscale-certificates")[0], 404)
        self.assertEqual(self.bundles("managed-swarmscale-webhook"), [None] * 2)

    # Steps

    @contextlib.contextmanager
    def running(self, items: list[dict[str, Any]], namespace: str, account: str = SERVICE_ACCOUNT, certificates: str = "") -> Iterator[None]:
        """The controller with the flags and rights of `items`, from its start to its end in good order."""
        # Without the Deployment: its pods would be Running on the test node, but run nothing. Nobody knows cert-manager's kinds here.
        self.cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        self.cluster.install([item for item in items if item["kind"] not in ("Deployment", "Issuer", "Certificate")])
        with tempfile.TemporaryDirectory() as folder:
            self.log = Path(folder) / "log"
            kubeconfig = self.kubeconfig(Path(folder), namespace, account)
            with self.log.open("wb") as output:
                process = subprocess.Popen(
                    [CONTROLLER, "--kubeconfig", str(kubeconfig), *self.flags(items, namespace, certificates)],
                    stderr=output,
                    env={**os.environ, "POD_NAME": "pod-1", "POD_NAMESPACE": namespace},
                )
                try:
                    yield
                finally:
                    process.terminate()
                    status = process.wait(30)
            text = self.log.read_text()
        self.assertEqual(status, 0, text)
        self.assertIn("scaled web 5→12", text)
        self.assertNotIn("forbidden", text.lower())

    def check_scaling(self, fleet: str, namespace: str, lease_name: str) -> None:
        autoscaler = f"/apis/swarmscale.dev/v1alpha1/namespaces/{fleet}/swarmautoscalers/web"
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{lease_name}"

        def said() -> bool:
            status = self.cluster.must("GET", autoscaler).get("status", {})
            reasons = [event["reason"] for event in self.cluster.must("GET", f"/api/v1/namespaces/{fleet}/events")["items"]]
            return status.get("desiredReplicas") == 12 and "SuccessfulRescale" in reasons

        self.eventually(said)
        deployment = self.cluster.must("GET", f"/apis/apps/v1/namespaces/{fleet}/deployments/web")
        self.assertEqual(deployment["spec"]["replicas"], 12)
        self.assertTrue(self.cluster.must("GET", lease)["spec"]["holderIdentity"].startswith("pod-1_"))

    def handshake(self, name: str, authorities: str) -> int:
        """The serial number of the certificate that a server shows, under its Service's name, to who knows the authorities."""
        service = "webhook" if "-webhook." in name else "coordinator"
        message = {"webhook": "serving the admission webhook", "coordinator": "coordinating workers"}[service]
        pattern = re.compile(f'msg="{message}" address=0.0.0.0:([0-9]+)')
        self.eventually(lambda: bool(pattern.search(self.log.read_text())))
        found = pattern.search(self.log.read_text())
        assert found
        context = ssl.create_default_context(cadata=base64.b64decode(authorities).decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as connection:
            with context.wrap_socket(connection, server_hostname=name) as secured:
                self.assertEqual(secured.selected_alpn_protocol(), "h2" if service == "coordinator" else "http/1.1")
                certificate = secured.getpeercert()
                assert certificate
                return int(str(certificate["serialNumber"]), 16)

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        self.eventually(lambda: self.cluster.send("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")[0] == 200)
        data: dict[str, str] = self.cluster.must("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")["data"]
        return data

    def bundles(self, name: str) -> list[str | None]:
        """What API servers are told to believe, by each webhook."""
        found = []
        for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            hooks = self.cluster.must("GET", f"/apis/admissionregistration.k8s.io/v1/{kind}/{name}")["webhooks"]
            found += [hook["clientConfig"].get("caBundle") for hook in hooks]
        return found

    def eventually(self, condition: Callable[[], bool]) -> None:
        for _ in range(120):
            if condition():
                return
            time.sleep(0.5)
        self.fail(f"not within 60 s; the controller's log:\n{self.log.read_text()}")

    @staticmethod
    def flags(items: list[dict[str, Any]], namespace: str, certificates: str) -> list[str]:
        """The flags of the Deployment, as its pod would get them, on ports and with a folder of this test's own."""
        deployment = next(item for item in items if item["kind"] == "Deployment")
        args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        kept = [arg.replace("$(POD_NAMESPACE)", namespace) for arg in args if not arg.startswith("--listen=")]
        kept = [re.sub(r"(-listen=0\.0\.0\.0):[0-9]+$", r"\1:0", arg) for arg in kept]
        kept = [re.sub(r"(--certificate-folder=).*", rf"\1{certificates}", arg) for arg in kept]
        return [*kept, "--listen=127.0.0.1:0", "--cpu-initialization-period=0s", "--initial-readiness-delay=0s", "--log-level=debug"]

    @staticmethod
    def make_certificate(folder: Path, names: list[str]) -> None:
        """A certificate for `names` in tls.crt and tls.key, by the authority in ca.crt, which is made where it isn't there."""

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
        if not (folder / "ca.crt").exists():
            openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority", "-days", "2")
        openssl("req", *key, "-keyout", "new.key", "-out", "request", "-subj", "/")
        (folder / "extensions").write_text(f"subjectAltName={','.join(f'DNS:{name}' for name in names)}\n")
        openssl("x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "1", "-extfile", "extensions", "-out", "new.crt")
        (folder / "new.key").rename(folder / "tls.key")
        (folder / "new.crt").rename(folder / "tls.crt")

    def kubeconfig(self, folder: Path, namespace: str, account: str) -> Path:
        """A kubeconfig with a token of the controller's service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.cluster.must("POST", path, request)["status"]["token"]
        file = folder / "kubeconfig"
        cluster_entry = {"server": self.cluster.state["server"], "certificate-authority": self.cluster.state["caFile"]}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": account}}],
            "clusters": [{"name": "test", "cluster": cluster_entry}],
            "users": [{"name": account, "user": {"token": token}}],
        }
        file.write_text(json.dumps(document))
        return file

    def make_fleet(self, fleet: str) -> None:
        """Five pods of one core each, which use 9.3 cores: 12 would be in the middle of the band."""
        self.cluster.install([item for item in kustomize("manifests/crd")])
        self.cluster.must("POST", "/api/v1/namespaces", {"metadata": {"name": fleet}})
        load = {"namespace": fleet, "selector": "app=web", "cpu": {"total": "9300m"}}
        request = urllib.request.Request(
            f"{self.cluster.state['controlURL']}/load", json.dumps(load).encode(), {"Content-Type": "application/json"}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).read()
        container = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "1"}}}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 5, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        self.cluster.must("POST", f"/apis/apps/v1/namespaces/{fleet}/deployments", {"metadata": {"name": "web"}, "spec": spec})
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
        self.cluster.must("POST", f"/apis/swarmscale.dev/v1alpha1/namespaces/{fleet}/swarmautoscalers", autoscaler)
