"""A real HPA, and KEDA's protocol, follow a real controller."""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any, Callable

import grpc
from grpc_tools import protoc
from support import NAMESPACE, REPOSITORY, SERVICE_ACCOUNT, Cluster, documents, kustomize, needs_cluster

CONTROLLER = os.environ.get("SWARMSCALE_CONTROLLER", "")
FLEET = "default"
API = "/apis/external.metrics.k8s.io/v1beta1"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
SERVICE = f"swarmscale-bridges.{NAMESPACE}.svc"
DESIRED = f"{API}/namespaces/{FLEET}/swarmscale-desired-replicas?labelSelector=autoscaler%3Dreviewers"


def eventually(what: str, condition: Callable[[], Any], attempts: int = 240) -> Any:
    """The first answer that isn't false; the bound is generous and only ends a test that would hang."""
    for _ in range(attempts):
        if result := condition():
            return result
        time.sleep(0.25)
    raise AssertionError(f"waited in vain for {what}")


class Controller:
    """A controller process under the rights of its service account, as the pod `name` would run it."""

    def __init__(self, cluster: Cluster, name: str, folder: Path, *more: str) -> None:
        self.name = name
        self.has_tls = "--keda-tls" in more
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [CONTROLLER, "--kubeconfig", str(kubeconfig(cluster, folder)), *flags(), *more],
                stderr=output,
                env={**os.environ, "POD_NAME": name, "POD_NAMESPACE": NAMESPACE},
            )

    def port(self, message: str) -> int:
        """The port that the log line `message` names."""
        pattern = re.compile(f'msg="{message}" address=[0-9.]+:([0-9]+)')
        found = eventually(f"{self.name}: {message}", lambda: pattern.search(self.log.read_text()))
        return int(found[1])

    def said(self, text: str) -> None:
        """Waits until the log contains `text`."""
        eventually(f"{self.name}: {text}", lambda: text in self.log.read_text())

    def end(self) -> None:
        """SIGTERM, as a kubelet sends it."""
        self.process.terminate()
        status = self.process.wait(30)
        if status != 0:
            raise AssertionError(f"{self.name} ended with {status}: {self.log.read_text()[-3000:]}")


def flags() -> list[str]:
    """The flags of manifests/bridges/hpa and KEDA's, on ports of this test's own, and quick."""
    deployment = next(item for item in kustomize("manifests/bridges/hpa") if item["kind"] == "Deployment")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    kept = [arg.replace("$(POD_NAMESPACE)", NAMESPACE) for arg in args if not arg.startswith("--listen=")]
    kept = [re.sub(r"(-listen=)0\.0\.0\.0:[0-9]+$", r"\g<1>127.0.0.1:0", arg) for arg in kept]
    return [
        *kept, "--listen=127.0.0.1:0", "--keda-listen=127.0.0.1:0", "--sync-period=1s", "--downscale-stabilization=0s",
        "--cpu-initialization-period=0s", "--initial-readiness-delay=0s", "--lease-duration=4s", "--renew-deadline=3s",
        "--retry-period=1s",
    ]  # fmt: skip


def kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig with a token of the controller's service account."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = cluster.must("POST", path, request)["status"]["token"]
    file = folder / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": cluster.state["server"], "certificate-authority": cluster.state["caFile"]}}],
                "users": [{"name": "test", "user": {"token": token}}],
            }
        )
    )  # fmt: skip
    return file


@needs_cluster
@unittest.skipUnless(CONTROLLER, "run Tests/Bridges/run")
class Bridges(unittest.TestCase):
    """One story, in order: the names of the tests carry its steps."""

    cluster: Cluster
    folder: Path
    controllers: list[Controller]
    scaler: Any
    messages: Any

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        cls.controllers = []
        cls.addClassCleanup(lambda: [controller.process.kill() for controller in cls.controllers if controller.process.poll() is None])
        cls.generate()
        # Without the Deployment: its pods would be Running on the test node, but run nothing. The APIService comes later.
        kept = [item for item in kustomize("manifests/bridges/hpa") if item["kind"] not in ("Deployment", "APIService")]
        cls.cluster.install([item for item in kept if item["metadata"]["name"] != "swarmscale-bridges" or item["kind"] != "Service"])
        # In place of kube-proxy and DNS.
        service = {"metadata": {"name": "swarmscale-bridges"}, "spec": {"type": "ExternalName", "externalName": "localhost"}}
        cls.cluster.must("POST", f"/api/v1/namespaces/{NAMESPACE}/services", service)
        for name, labels in (("pod-1", {}), ("pod-2", {}), ("pod-0", {"swarmscale.dev/leader": SERVICE_ACCOUNT})):
            pod = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
            cls.cluster.must("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
        container = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "1"}}}
        template = {"metadata": {"labels": {"app": "reviewers"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 5, "selector": {"matchLabels": {"app": "reviewers"}}, "template": template}
        cls.cluster.must("POST", f"/apis/apps/v1/namespaces/{FLEET}/deployments", {"metadata": {"name": "reviewers"}, "spec": spec})
        cls.set_load("3875m")
        cls.controllers.append(Controller(cls.cluster, "pod-1", cls.folder))

    @classmethod
    def generate(cls) -> None:
        """KEDA's side of the protocol."""
        protos = REPOSITORY / "Sources/ExternalScaler/Protos"
        arguments = ["protoc", f"--proto_path={protos}", f"--python_out={cls.folder}", f"--grpc_python_out={cls.folder}"]
        if protoc.main([*arguments, "externalscaler.proto"]) != 0:
            raise AssertionError("the protocol can't be generated")
        sys.path.insert(0, str(cls.folder))
        cls.messages = importlib.import_module("externalscaler_pb2")
        cls.scaler = importlib.import_module("externalscaler_pb2_grpc")

    @classmethod
    def set_load(cls, cpu: str) -> None:
        """What the fleet's pods use together."""
        load = {"namespace": FLEET, "selector": "app=reviewers", "cpu": {"total": cpu}}
        url = f"{cls.cluster.state['controlURL']}/load"
        request = urllib.request.Request(url, json.dumps(load).encode(), {"Content-Type": "application/json"}, method="PUT")
        urllib.request.urlopen(request, timeout=10).read()

    # -- What is asked

    def deployment(self) -> dict[str, Any]:
        return dict(self.cluster.must("GET", f"/apis/apps/v1/namespaces/{FLEET}/deployments/reviewers"))

    def replicas(self) -> int:
        return int(self.deployment()["spec"]["replicas"])

    def served(self) -> list[int] | None:
        """The count as the API server passes it on; None: it has none."""
        status, answer = self.cluster.send("GET", DESIRED)
        return [int(item["value"]) for item in answer["items"]] if status == 200 else None

    def directly(self, port: int, path: str, certificate: str = "front-proxy-client") -> tuple[int, Any]:
        """An answer of a controller itself, asked with a certificate of the control plane's; "" for none."""
        authority = self.cluster.must("GET", API_SERVICE)["spec"]["caBundle"]
        context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
        if certificate:
            keys = Path(self.cluster.state["folder"]) / "pki"
            context.load_cert_chain(keys / f"{certificate}.crt", keys / f"{certificate}.key")
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection = http.client.HTTPSConnection(SERVICE, port, timeout=10)
        connection.sock = context.wrap_socket(plain, server_hostname=SERVICE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def lead_api_service_to(self, controller: Controller) -> None:
        """What kube-proxy does by the label of the leader's pod."""
        port = controller.port("serving external metrics")
        item = next(item for item in kustomize("manifests/bridges/hpa") if item["kind"] == "APIService")
        item["spec"]["service"]["port"] = port
        # Not by server-side apply, at which an API server of 1.20 breaks the connection for an APIService.
        self.cluster.must("PATCH", API_SERVICE, item, content_type="application/merge-patch+json")

    def keda(self, controller: Controller) -> Any:
        address = f"127.0.0.1:{controller.port('serving KEDA.s external scaler')}"
        if controller.has_tls:
            data = self.cluster.must("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/swarmscale-certificates")["data"]
            credentials = grpc.ssl_channel_credentials(base64.b64decode(data["ca.crt"]))
            channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", SERVICE)])
        else:
            channel = grpc.insecure_channel(address)
        self.addCleanup(channel.close)
        return self.scaler.ExternalScalerStub(channel)

    def reference(self, **settings: str) -> Any:
        return self.messages.ScaledObjectRef(name="reviewers", namespace=FLEET, scalerMetadata=settings)

    # -- The story

    def test_1_another_programs_api_service_is_left_alone(self) -> None:
        before = self.cluster.must("GET", API_SERVICE)["spec"]
        self.assertEqual(before["service"]["name"], "test-metrics")
        self.controllers[0].said("leads to the Service kube-system/test-metrics, not to swarmscale-system/swarmscale-bridges")
        self.assertEqual(self.cluster.must("GET", API_SERVICE)["spec"], before)

    def test_2_api_servers_get_the_authorities_and_discover_the_metrics(self) -> None:
        self.lead_api_service_to(self.controllers[0])
        secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/swarmscale-certificates"
        bundle = self.cluster.must("GET", secret)["data"]["ca.crt"]
        eventually("the authorities", lambda: self.cluster.must("GET", API_SERVICE)["spec"].get("caBundle") == bundle)
        self.assertFalse(self.cluster.must("GET", API_SERVICE)["spec"].get("insecureSkipTLSVerify"))

        def names() -> list[str]:
            status, answer = self.cluster.send("GET", API)
            return [item["name"] for item in answer["resources"]] if status == 200 else []

        expected = ["swarmscale-desired-replicas", "swarmscale-api-headroom"]
        eventually("discovery", lambda: names() == expected)
        conditions = self.cluster.must("GET", API_SERVICE)["status"]["conditions"]
        self.assertEqual([item["status"] for item in conditions if item["type"] == "Available"], ["True"])
        # kubectl finds it as any client would.
        self.assertIn("external.metrics.k8s.io", self.cluster.kubectl("api-versions"))

    def test_3_the_leaders_pod_is_labelled_and_no_other(self) -> None:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=swarmscale.dev/leader%3D{SERVICE_ACCOUNT}"
        eventually("the label", lambda: [pod["metadata"]["name"] for pod in self.cluster.must("GET", path)["items"]] == ["pod-1"])

    def test_4_only_the_aggregation_layer_is_answered(self) -> None:
        port = self.controllers[0].port("serving external metrics")
        self.assertEqual(self.directly(port, API)[0], 200)
        # None, and one of another authority than the aggregation layer's.
        for certificate in ("", "admin", "metrics"):
            with self.subTest(certificate=certificate), self.assertRaises((ssl.SSLError, OSError, http.client.HTTPException)):
                self.directly(port, API, certificate)
        status, answer = self.directly(port, f"{API}/namespaces/{FLEET}/other")
        self.assertEqual((status, answer["kind"]), (404, "Status"))

    def test_5_a_real_hpa_writes_what_was_decided(self) -> None:
        text = (REPOSITORY / "examples/hpa-bridge.yaml").read_text(encoding="utf-8")
        items = documents(text)
        if self.cluster.minor_version < 23:
            hpa = next(item for item in items if item["kind"] == "HorizontalPodAutoscaler")
            hpa["apiVersion"] = "autoscaling/v2beta2"
            for rules in hpa["spec"]["behavior"].values():
                del rules["tolerance"]
        self.cluster.install(items)
        eventually("the first decision", lambda: self.served() == [5])
        # 79 % of one core each is within the band of 70–85: up, up by one, and down again.
        for cpu, replicas in (("9300m", 12), ("10300m", 13), ("4650m", 6)):
            self.set_load(cpu)
            eventually(f"{replicas} replicas", lambda: self.replicas() == replicas and self.served() == [replicas])
            autoscaler = self.cluster.must("GET", f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/swarmautoscalers/reviewers")
            self.assertEqual(autoscaler["status"]["desiredReplicas"], replicas)
        events = self.cluster.must("GET", f"/api/v1/namespaces/{FLEET}/events")["items"]
        writers = {event["involvedObject"]["kind"] for event in events if event["reason"] == "SuccessfulRescale"}
        self.assertEqual(writers, {"HorizontalPodAutoscaler"}, "Swarmscale itself writes nothing in a dry run")

    def test_6_keda_is_told_the_same(self) -> None:
        keda = self.keda(self.controllers[0])
        reference = self.reference(autoscaler="reviewers")
        specs = keda.GetMetricSpec(reference, timeout=10).metricSpecs
        self.assertEqual([(spec.metricName, spec.targetSize, spec.targetSizeFloat) for spec in specs], [("swarmscale-desired-replicas", 1, 1.0)])
        request = self.messages.GetMetricsRequest(scaledObjectRef=reference, metricName="s0-swarmscale-desired-replicas")
        values = keda.GetMetrics(request, timeout=10).metricValues
        self.assertEqual([(value.metricName, value.metricValue, value.metricValueFloat) for value in values], [("s0-swarmscale-desired-replicas", 6, 6.0)])
        self.assertTrue(keda.IsActive(reference, timeout=10).result)
        stream = keda.StreamIsActive(reference, timeout=10)
        self.assertTrue(next(stream).result)
        stream.cancel()
        for settings, code in (({"autoscaler": "nobody"}, grpc.StatusCode.NOT_FOUND), ({}, grpc.StatusCode.INVALID_ARGUMENT)):
            with self.assertRaises(grpc.RpcError) as caught:
                keda.IsActive(self.reference(**settings), timeout=10)
            self.assertEqual(caught.exception.code(), code)

    def test_6_headroom_of_a_budget_is_told_to_both(self) -> None:
        budget = {
            "apiVersion": "swarmscale.dev/v1alpha1", "kind": "APIBudget", "metadata": {"name": "claude"},
            "spec": {"limits": {"requestsPerMinute": 4000, "outputTokensPerMinute": "400k"}, "target": {"lower": 85, "upper": 95}},
        }  # fmt: skip
        self.cluster.must("POST", f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/apibudgets", budget)
        path = f"{API}/namespaces/{FLEET}/swarmscale-api-headroom?labelSelector=budget%3Dclaude"

        def headroom() -> dict[str, str]:
            status, answer = self.cluster.send("GET", path)
            return {item["metricLabels"]["dimension"]: item["value"] for item in answer["items"]} if status == 200 else {}

        # 95 % of the requests, 90 % of the output; nobody draws yet. A new coordinator learns for a lease of 15 s.
        eventually("the headroom", lambda: headroom() == {"requests": "3800", "outputTokens": "360k"})
        reference = self.reference(budget="claude", dimension="outputTokens", unitsPerReplica="20000")
        keda = self.keda(self.controllers[0])
        self.assertEqual(keda.GetMetricSpec(reference, timeout=10).metricSpecs[0].targetSizeFloat, 20000)
        request = self.messages.GetMetricsRequest(scaledObjectRef=reference, metricName="swarmscale-api-headroom")
        self.assertEqual(keda.GetMetrics(request, timeout=10).metricValues[0].metricValue, 360_000)

    def test_7_an_autoscaler_in_trouble_has_no_number_and_the_hpa_holds(self) -> None:
        path = f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/swarmautoscalers/reviewers"
        target = {"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"}}}
        merge = "application/merge-patch+json"
        self.cluster.must("PATCH", path, target, content_type=merge)
        eventually("503", lambda: self.served() is None)
        status, answer = self.cluster.send("GET", DESIRED)
        self.assertEqual((status, answer["reason"]), (503, "ServiceUnavailable"))
        self.assertIn("gone", answer["message"])
        with self.assertRaises(grpc.RpcError) as caught:
            self.keda(self.controllers[0]).IsActive(self.reference(autoscaler="reviewers"), timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        hpa = f"/apis/autoscaling/v2beta2/namespaces/{FLEET}/horizontalpodautoscalers/reviewers"
        if self.cluster.minor_version >= 23:
            hpa = hpa.replace("v2beta2", "v2")

        def inactive() -> bool:
            conditions = self.cluster.must("GET", hpa)["status"]["conditions"]
            return any(item["type"] == "ScalingActive" and item["status"] == "False" for item in conditions)

        eventually("the HPA to know nothing", inactive)
        self.assertEqual(self.replicas(), 6)
        target["spec"]["scaleTargetRef"]["name"] = "reviewers"
        self.cluster.must("PATCH", path, target, content_type=merge)
        eventually("a number again", lambda: self.served() == [6])

    def test_8_another_replica_knows_nothing_and_takes_over(self) -> None:
        second = Controller(self.cluster, "pod-2", self.folder, "--keda-tls")
        self.controllers.append(second)
        port = second.port("serving external metrics")
        eventually("the authorities of the aggregation layer", lambda: self.answers(port))
        status, answer = self.directly(port, DESIRED)
        self.assertEqual(status, 503)
        self.assertIn("doesn't lead", answer["message"])
        # What comes from the settings alone any replica says.
        self.assertEqual(self.keda(second).GetMetricSpec(self.reference(autoscaler="reviewers"), timeout=10).metricSpecs[0].targetSize, 1)
        stream = self.keda(self.controllers[0]).StreamIsActive(self.reference(autoscaler="reviewers"))
        self.assertTrue(next(stream).result)
        self.controllers[0].end()
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        eventually("503 or the second", lambda: self.served() is None)
        self.assertEqual(self.replicas(), 6)
        self.lead_api_service_to(second)
        self.set_load("9300m")
        eventually("the HPA to follow the second", lambda: self.replicas() == 12 and self.served() == [12])
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=swarmscale.dev/leader%3D{SERVICE_ACCOUNT}"
        eventually("the label", lambda: [pod["metadata"]["name"] for pod in self.cluster.must("GET", path)["items"]] == ["pod-2"])
        second.end()
        for controller in self.controllers:
            self.assertNotIn("forbidden", controller.log.read_text().lower())

    def answers(self, port: int) -> bool:
        try:
            return self.directly(port, API)[0] == 200
        except (ssl.SSLError, OSError, http.client.HTTPException):
            return False
