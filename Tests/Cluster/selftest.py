#!/usr/bin/env python3
"""Tests of the test infrastructure itself, against a real control plane. Prints `N passed, N failed` at the end.

Tests/Cluster/selftest.py              all
Tests/Cluster/selftest.py -k faults    those whose name has `faults`
"""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Tests/Cluster"), str(ROOT / "scripts/lib")]

from swarmcluster.api import APIStatusError, Connection, Endpoint, list_all, query  # noqa: E402
from swarmcluster.plane import ControlPlane  # noqa: E402
from swarmcluster.processes import ProcessIdentity  # noqa: E402
from testnode.quantities import cpu_text, memory_text, parse, value_text  # noqa: E402
from testnode.selectors import compile_selector  # noqa: E402

PROGRAM = str(ROOT / "scripts/control-plane")


def control(url: str, method: str = "GET", body: Any = None) -> Any:
    """One request to a control endpoint."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)


def eventually(what: str, attempt: Callable[[], Any], seconds: float = 60) -> Any:
    """Polls until there is something true."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def deployment(name: str, replicas: int, **annotations: str) -> dict[str, Any]:
    """A deployment of pods with two containers."""
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [{"name": "main", "image": "none"}, {"name": "side", "image": "none"}]},
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }  # fmt: skip


class PureTests(unittest.TestCase):
    """What needs no cluster."""

    def test_quantities_are_exact(self) -> None:
        self.assertEqual(cpu_text(parse("12") / 7), "1714285714n")
        self.assertEqual(cpu_text(parse("850m")), "850000000n")
        self.assertEqual(memory_text(parse("1.5Gi")), "1572864Ki")
        self.assertEqual(parse("1e3"), parse("1k"))
        self.assertEqual(value_text(parse("1500m")), "1500m")
        self.assertEqual(value_text(parse("2000m")), "2")
        for wrong in ("", "m", "1.2.3", "1Q", "--1"):
            self.assertRaises(ValueError, parse, wrong)

    def test_selectors_follow_the_api(self) -> None:
        labels = {"a": "1", "b": "2", "x.io/y": "z"}
        for text in ("", "a=1", "a==1,b!=3", "a in (1,2)", "c notin (1)", "!c", "a", "x.io/y=z,a in (0, 1)", "c!=1"):
            self.assertTrue(compile_selector(text)(labels), text)
        for text in ("a=2", "!a", "c", "a notin (1)", "a=1,b=3", "c in (1)"):
            self.assertFalse(compile_selector(text)(labels), text)
        for wrong in ("a in 1", "=1", "a=1;b=2"):
            self.assertRaises(ValueError, compile_selector, wrong)


class ClusterTests(unittest.TestCase):
    """One control plane for all."""

    folder: Path
    state: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(tempfile.mkdtemp(prefix="swarmscale-selftest."))
        subprocess.run(
            [PROGRAM, "up", str(cls.folder), "--fault-proxy", "--watch-pid", str(os.getpid())], check=True, stdout=subprocess.DEVNULL
        )
        cls.state = json.loads((cls.folder / "state.json").read_text())

    @classmethod
    def tearDownClass(cls) -> None:
        subprocess.run([PROGRAM, "down", str(cls.folder)], check=True)

    def setUp(self) -> None:
        self.api = Connection(Endpoint.from_state(self.state))
        self.namespace = re.sub("[^a-z0-9]+", "-", self._testMethodName.removeprefix("test_"))[:50].strip("-")
        self.api.json("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.addCleanup(self._clean)
        self.node, self.faults = self.state["controlURL"], self.state["faultControlURL"]

    def _clean(self) -> None:
        control(f"{self.node}/", "DELETE")
        control(f"{self.faults}/rules", "DELETE")
        control(f"{self.faults}/counters", "DELETE")
        self.api.request("DELETE", f"/api/v1/namespaces/{self.namespace}")
        self.api.close()

    def deploy(self, name: str, replicas: int, **annotations: str) -> None:
        """Creates a deployment."""
        self.api.json("POST", f"/apis/apps/v1/namespaces/{self.namespace}/deployments", deployment(name, replicas, **annotations))

    def ready(self, name: str, replicas: int) -> None:
        """Waits for its pods."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"
        eventually(f"{replicas} ready pods", lambda: self.api.json("GET", path)["status"].get("readyReplicas", 0) == replicas)

    def pods(self) -> list[dict[str, Any]]:
        """All pods of the test."""
        return list_all(self.api, f"/api/v1/namespaces/{self.namespace}/pods")[0]

    def usage(self, selector: str) -> dict[str, str]:
        """CPU of the container `main` by pod, through the aggregation layer."""
        path = query(f"/apis/metrics.k8s.io/v1beta1/namespaces/{self.namespace}/pods", labelSelector=selector)
        items = self.api.json("GET", path)["items"]
        return {item["metadata"]["name"]: {c["name"]: c["usage"]["cpu"] for c in item["containers"]}["main"] for item in items}

    def raw(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of any path, unaffected by status."""
        status, body = self.api.request("GET", path)
        return status, json.loads(body)

    # -- Node and metrics

    def test_thirty_pods_run_and_share_a_load(self) -> None:
        self.deploy("x", 30)
        self.ready("x", 30)
        control(f"{self.node}/load", "PUT", {"namespace": self.namespace, "selector": "app=x", "cpu": {"total": "12"}})
        self.assertEqual(set(self.usage("app=x").values()), {"400000000n"})
        self.assertEqual(self.usage("app=y"), {})
        name = self.pods()[0]["metadata"]["name"]
        control(f"{self.node}/pods", "POST", {"namespace": self.namespace, "name": name, "action": "unready"})
        eventually("the share of 29", lambda: sorted(set(self.usage("app=x").values())) == ["0n", "413793103n"])
        control(f"{self.node}/pod-load", "PUT", {"namespace": self.namespace, "name": name, "missing": True})
        self.assertNotIn(name, self.usage("app=x"))
        status, one = self.raw(f"/apis/metrics.k8s.io/v1beta1/namespaces/{self.namespace}/pods/{name}")
        self.assertEqual((status, one["reason"]), (404, "NotFound"))

    def test_annotations_delay_ready_and_termination(self) -> None:
        self.deploy("slow", 1, **{"test-node/ready-delay-seconds": "1", "test-node/terminate-delay-seconds": "1"})
        running = eventually("a running pod", lambda: [p for p in self.pods() if p["status"]["phase"] == "Running"])[0]
        self.assertIn("False", [c["status"] for c in running["status"]["conditions"] if c["type"] == "Ready"])
        self.ready("slow", 1)
        begin = time.monotonic()
        self.api.json(
            "PATCH",
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments/slow",
            {"spec": {"replicas": 0}},
            "application/merge-patch+json",
        )
        eventually("no pods", lambda: not self.pods())
        self.assertGreater(time.monotonic() - begin, 0.9)

    def test_behaviours_hold_pods_pending(self) -> None:
        control(f"{self.node}/behaviour", "PUT", {"namespace": self.namespace, "selector": "app=p", "stayPending": True})
        self.deploy("p", 2)
        eventually("bound pods", lambda: [bool(p["spec"].get("nodeName")) for p in self.pods()] == [True, True])
        self.assertEqual({p["status"]["phase"] for p in self.pods()}, {"Pending"})
        control(f"{self.node}/behaviour", "DELETE")
        self.ready("p", 2)

    def test_pods_fail_and_are_replaced(self) -> None:
        self.deploy("f", 3)
        self.ready("f", 3)
        failed = control(f"{self.node}/pods", "POST", {"namespace": self.namespace, "selector": "app=f", "count": 1, "action": "fail"})[
            "pods"
        ]
        self.assertEqual(len(failed), 1)
        eventually("a fourth pod", lambda: len(self.pods()) == 4)
        self.ready("f", 3)

    def test_custom_and_external_metrics(self) -> None:
        self.deploy("m", 4)
        self.ready("m", 4)
        control(
            f"{self.node}/custom", "PUT", {"namespace": self.namespace, "metric": "jobs", "selector": "app=m", "value": {"total": "10"}}
        )
        control(
            f"{self.node}/custom",
            "PUT",
            {"namespace": self.namespace, "metric": "backlog", "resource": "services", "name": "q", "value": "77"},
        )
        control(
            f"{self.node}/external",
            "PUT",
            {
                "namespace": self.namespace,
                "metric": "queue",
                "values": [
                    {"value": "30", "labels": {"q": "a"}},
                    {"value": {"total": "8", "dividedByPods": "app=m"}, "labels": {"q": "b"}},
                ],
            },
        )
        base = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{self.namespace}"
        values = self.raw(query(f"{base}/pods/*/jobs", labelSelector="app=m"))[1]["items"]
        self.assertEqual([value["value"] for value in values], ["2500m"] * 4)
        self.assertEqual(self.raw(f"{base}/services/q/backlog")[1]["items"][0]["value"], "77")
        self.assertEqual(self.raw(f"{base}/services/q/other")[0], 404)
        old = self.raw(f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{self.namespace}/services/q/backlog")[1]["items"][0]
        self.assertEqual(old["metricName"], "backlog")
        base = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{self.namespace}/queue"
        self.assertEqual([item["value"] for item in self.raw(base)[1]["items"]], ["30", "2"])
        self.assertEqual([item["value"] for item in self.raw(query(base, labelSelector="q=b"))[1]["items"]], ["2"])

    def test_metrics_faults(self) -> None:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self.namespace}/pods"
        control(f"{self.node}/faults", "PUT", {"metrics": {"status": 503, "times": 1}})
        self.assertEqual(self.raw(path)[0], 503)
        self.assertEqual(self.raw(path)[0], 200)
        self.deploy("x", 1)
        self.ready("x", 1)
        control(f"{self.node}/faults", "PUT", {"metrics": {"timestampAgeSeconds": 600}})
        stamp = self.raw(path)[1]["items"][0]["timestamp"]
        self.assertAlmostEqual(time.time() - _seconds(stamp), 600, delta=5)
        control(f"{self.node}/faults", "PUT", {"metrics": {"empty": True}})
        self.assertEqual(self.raw(path)[1]["items"], [])
        control(f"{self.node}/faults", "PUT", {"metrics": {"hang": True}})
        hanging = Connection(Endpoint.from_state(self.state), timeout=0.5)
        self.assertRaises(OSError, hanging.request, "GET", path)
        control(f"{self.node}/faults", "DELETE")
        self.assertEqual(len(self.raw(path)[1]["items"]), 1)

    def test_wrong_control_requests_are_refused(self) -> None:
        for method, path, body in (
            ("PUT", "/load", {"selector": "a=b"}), ("PUT", "/load", {"namespace": "n", "cpu": {"totla": "1"}}), ("PUT", "/faults", {"metric": {}}),
            ("PUT", "/behaviour", {"namespace": "n", "selector": "a in"}), ("POST", "/pods", {"namespace": "n", "action": "explode", "name": "no"}),
        ):  # fmt: skip
            with self.assertRaises(urllib.error.HTTPError) as raised:
                control(self.node + path, method, body)
            self.assertEqual(raised.exception.code, 400)
            self.assertTrue(json.load(raised.exception)["error"])

    def test_custom_resources_are_served(self) -> None:
        schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"plural": "things", "singular": "thing", "kind": "Thing"}
        spec = {"group": "swarmscale.test", "scope": "Namespaced", "names": names, "versions": [version]}
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.api.json("POST", definitions, {"metadata": {"name": "things.swarmscale.test"}, "spec": spec})
        self.addCleanup(self.api.request, "DELETE", f"{definitions}/things.swarmscale.test")
        path = f"/apis/swarmscale.test/v1/namespaces/{self.namespace}/things"
        eventually("the new resource", lambda: self.api.request("GET", path)[0] == 200)
        thing = {"apiVersion": "swarmscale.test/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"replicas": 3}}
        applied = self.api.json("PATCH", f"{path}/a?fieldManager=test&force=true", thing, "application/apply-patch+yaml")
        self.assertEqual(applied["spec"], {"replicas": 3})
        self.assertEqual(self.api.request("POST", path, {**thing, "metadata": {"name": "b"}, "spec": {"replicas": "x"}})[0], 422)
        first = next(Connection(Endpoint.from_state(self.state)).lines(query(path, watch=1), 10))
        self.assertEqual(json.loads(first)["object"]["metadata"]["name"], "a")

    # -- Credentials

    def test_credentials_work_and_fail_as_documented(self) -> None:
        endpoint = Endpoint.from_state(self.state)
        for token, expected in (("admin", 200), ("adminSecond", 200), ("nobody", 403), ("invalid", 401)):
            connection = Connection(Endpoint("127.0.0.1", endpoint.port, endpoint.ca_file, self.state["tokens"][token]))
            self.assertEqual(connection.request("GET", "/api/v1/pods?limit=1")[0], expected, token)
        pair = (Path(self.state["clientCertificateFile"]), Path(self.state["clientKeyFile"]))
        certified = Connection(Endpoint("127.0.0.1", endpoint.port, endpoint.ca_file, client_certificate=pair))
        self.assertEqual(certified.request("GET", "/api/v1/pods?limit=1")[0], 200)

    # -- Fault proxy

    def proxied(self, timeout: float = 10) -> Connection:
        """A connection through the fault proxy."""
        return Connection(
            Endpoint("127.0.0.1", self.state["ports"]["fault-proxy"], Path(self.state["faultCAFile"]), self.state["tokens"]["admin"]),
            timeout,
        )

    def rule(self, **fields: Any) -> None:
        """The one rule from now on, for the paths of this test."""
        control(f"{self.faults}/rules", "PUT", [{"path": f"namespaces/{self.namespace}/", **fields}])

    def watch_lines(self, limit: int = 100, timeout: float = 5) -> list[dict[str, Any]]:
        """Events of a watch over this test's config maps from the beginning, until the stream ends."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps?watch=1&fieldSelector=metadata.name!%3Dkube-root-ca.crt"
        events = []
        for line in self.proxied(timeout).lines(path, timeout):
            events.append(json.loads(line))
            if len(events) == limit:
                break
        return events

    def make_maps(self, count: int) -> None:
        """Config maps, for something to watch."""
        for index in range(count):
            self.api.json(
                "POST", f"/api/v1/namespaces/{self.namespace}/configmaps", {"metadata": {"name": f"map-{index}"}, "data": {"x": "y" * 1000}}
            )

    def test_faults_answer_in_place_of_the_server(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        self.rule(name="busy", method="GET", times=2, skip=1, do={"status": 429, "headers": {"Retry-After": "2"}})
        connection = self.proxied()
        self.assertEqual([connection.request("GET", path)[0] for _ in range(5)], [200, 429, 429, 200, 200])
        counters = control(f"{self.faults}/counters")
        self.assertEqual((counters["rules"], counters["byKind"]["list configmaps"]), ({"busy": 2}, 5))
        log = control(f"{self.faults}/log?match={self.namespace}")
        self.assertEqual([entry["status"] for entry in log], [200, 429, 429, 200, 200])
        self.assertEqual({entry["userAgent"] for entry in log}, {"swarmscale-test-cluster"})
        self.assertEqual(connection.json("POST", path, {"metadata": {"name": "written"}})["metadata"]["name"], "written")

    def test_faults_delay_drop_and_garble(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        self.rule(do={"delaySeconds": 0.5})
        begin = time.monotonic()
        self.assertEqual(self.proxied().request("GET", path)[0], 200)
        self.assertGreaterEqual(time.monotonic() - begin, 0.5)
        self.rule(do={"drop": "before"})
        self.assertRaises(ConnectionResetError, self.proxied().request, "GET", path)
        self.rule(do={"drop": "afterForward"})
        self.assertRaises(ConnectionResetError, self.proxied().request, "POST", path, {"metadata": {"name": "ambiguous"}})
        self.assertEqual(self.api.request("GET", f"{path}/ambiguous")[0], 200)
        self.rule(do={"replaceBody": "{not json"})
        self.assertRaises(ValueError, self.proxied().json, "GET", path)
        self.make_maps(3)
        for action in ("dropAfterBytes", "truncateAfterBytes"):
            self.rule(do={action: 50})
            self.assertRaises(OSError, self.proxied().request, "GET", path)
        self.rule(do={"stall": True})
        self.assertRaises(TimeoutError, self.proxied(timeout=0.5).request, "GET", path)

    def test_faults_inside_a_watch(self) -> None:
        self.make_maps(4)
        self.rule(watch=True, do={"watchError": {"afterEvents": 2, "code": 410}})
        events = self.watch_lines()
        self.assertEqual([event["type"] for event in events], ["ADDED", "ADDED", "ERROR"])
        self.assertEqual((events[-1]["object"]["code"], events[-1]["object"]["reason"]), (410, "Expired"))
        self.rule(watch=True, do={"endAfterEvents": 3})
        self.assertEqual(len(self.watch_lines()), 3)
        self.rule(watch=True, do={"watchGarbage": {"afterEvents": 1}})
        self.assertRaises(ValueError, self.watch_lines)
        self.rule(watch=True, do={"dropAfterEvents": 1})
        self.assertRaises(ConnectionResetError, self.watch_lines)
        self.rule(watch=True, do={"stallAfterEvents": 2})
        self.assertRaises(TimeoutError, self.watch_lines, timeout=0.5)
        eventually("the stalled watch noticed", lambda: control(f"{self.faults}/counters")["openWatches"] == 0, 5)

    def test_faults_drop_open_watches_at_once(self) -> None:
        ended = threading.Event()

        def follow() -> None:
            try:
                self.watch_lines(timeout=20)
            except OSError:
                ended.set()

        self.make_maps(1)
        thread = threading.Thread(target=follow)
        thread.start()
        eventually("an open watch", lambda: control(f"{self.faults}/counters")["openWatches"] == 1)
        self.assertEqual(control(f"{self.faults}/drop", "POST", {"watch": True})["connections"], 1)
        self.assertTrue(ended.wait(10))
        thread.join()

    def test_faults_wrong_rules_are_refused(self) -> None:
        for rule in (
            {"do": {"stats": 1}},
            {"do": {"drop": "later"}},
            {"path": "(", "do": {}},
            {"do": {"status": 500, "drop": "before"}},
            {},
        ):
            with self.assertRaises(urllib.error.HTTPError) as raised:
                control(f"{self.faults}/rules", "POST", rule)
            self.assertEqual(raised.exception.code, 400)

    # -- Components

    def test_compaction_expires_old_versions(self) -> None:
        self.make_maps(3)
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        page = self.api.json("GET", query(path, limit=1))
        version = page["metadata"]["resourceVersion"]
        subprocess.run([PROGRAM, "compact", str(self.folder)], check=True, stderr=subprocess.DEVNULL)
        with self.assertRaises(APIStatusError) as raised:
            self.api.json("GET", query(path, **{"limit": 1, "continue": page["metadata"]["continue"]}))
        self.assertEqual(raised.exception.status, 410)
        subprocess.run([PROGRAM, "compact", str(self.folder), "--restart"], check=True, stderr=subprocess.DEVNULL)
        first = next(Connection(Endpoint.from_state(self.state)).lines(query(path, watch=1, resourceVersion=version), 10))
        self.assertEqual(json.loads(first)["object"]["code"], 410)

    def test_components_restart_pause_and_come_back(self) -> None:
        self.deploy("x", 2)
        self.ready("x", 2)
        before = ControlPlane(self.folder).load().identity("kube-apiserver")
        for command in ("kill", "start"):
            subprocess.run([PROGRAM, command, str(self.folder), "kube-apiserver"], check=True)
        self.assertNotEqual(before, ControlPlane(self.folder).load().identity("kube-apiserver"))
        self.api.close()
        self.deploy("y", 2)
        self.ready("y", 2)
        subprocess.run([PROGRAM, "pause", str(self.folder), "kube-apiserver"], check=True)
        silent = Connection(Endpoint.from_state(self.state), timeout=0.5)
        self.assertRaises(OSError, silent.request, "GET", "/version")
        self.assertEqual(ControlPlane(self.folder).load().status()["kube-apiserver"], "paused")
        subprocess.run([PROGRAM, "resume", str(self.folder), "kube-apiserver"], check=True)
        self.assertEqual(self.api.request("GET", "/version")[0], 200)


class AutoscalerTests(unittest.TestCase):
    """Kubernetes' own autoscaler believes the metrics: the proof that they are what a real controller expects."""

    def test_the_horizontal_pod_autoscaler_follows_the_load(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="swarmscale-selftest."))
        self.addCleanup(subprocess.run, [PROGRAM, "down", str(folder)], check=True)
        flags = ["sync-period=1s", "downscale-stabilization=1s", "initial-readiness-delay=0s", "cpu-initialization-period=0s"]
        arguments = [f"--controller-manager-flag=--horizontal-pod-autoscaler-{flag}" for flag in flags]
        command = [PROGRAM, "up", str(folder), "--controllers", "+horizontalpodautoscaling", "--watch-pid", str(os.getpid()), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        state = json.loads((folder / "state.json").read_text())
        api = Connection(Endpoint.from_state(state))
        body = deployment("x", 1)
        for container, cpu in zip(body["spec"]["template"]["spec"]["containers"], ("900m", "100m"), strict=True):
            container["resources"] = {"requests": {"cpu": cpu}}
        api.json("POST", "/apis/apps/v1/namespaces/default/deployments", body)
        metrics = [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "Pods", "pods": {"metric": {"name": "jobs"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
        ]
        minor = int(state["kubernetesVersion"].split(".")[1])
        version = "v2" if minor >= 23 else "v2beta2"
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}
        spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 20, "metrics": metrics}
        scaler = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}, "spec": spec}
        where = {"namespace": "default", "selector": "app=x"}

        def set_all(cpu: str, jobs: str, queue: str) -> None:
            control(f"{state['controlURL']}/load", "PUT", {**where, "cpu": {"total": cpu}})
            control(f"{state['controlURL']}/custom", "PUT", {**where, "metric": "jobs", "value": {"total": jobs}})
            control(f"{state['controlURL']}/external", "PUT", {"namespace": "default", "metric": "queue", "value": queue})

        def has(expected: int) -> bool:
            return expected == int(api.json("GET", "/apis/apps/v1/namespaces/default/deployments/x")["status"].get("readyReplicas", 0))

        set_all("500m", "10", "10")
        eventually("one pod", functools.partial(has, 1))
        api.json("POST", f"/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers", scaler)
        for loads, expected in ((("2", "10", "10"), 4), (("500m", "70", "10"), 7), (("500m", "10", "90"), 9), (("1", "10", "10"), 2)):
            set_all(*loads)
            eventually(f"{expected} pods for {loads}", functools.partial(has, expected))


class LifecycleTests(unittest.TestCase):
    """What is left when a control plane goes."""

    def test_nothing_is_left_when_the_watched_process_dies(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="swarmscale-selftest."))
        owner = subprocess.Popen(["sleep", "300"])
        try:
            subprocess.run([PROGRAM, "up", str(folder), "--watch-pid", str(owner.pid)], check=True, stdout=subprocess.DEVNULL)
            plane = ControlPlane(folder).load()
            processes = [plane.identity(name) for name in plane.state["components"]]
            self.assertEqual(len(processes), 4)
            self.assertTrue(all(process and process.is_alive for process in processes))
            ports = [plane.state["ports"][name] for name in ("etcd", "kube-apiserver", "metrics", "control")]
        finally:
            owner.kill()
            owner.wait()
        eventually("the end of all", lambda: not any(process and process.is_alive for process in processes), 20)
        eventually("an empty place", lambda: not folder.exists(), 20)
        for port in ports:
            with socket.socket() as probe:
                self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)

    def test_a_reused_process_id_is_never_signalled(self) -> None:
        own = ProcessIdentity.of(os.getpid())
        assert own is not None
        stranger = ProcessIdentity(own.pid, own.start_time - 1)
        self.assertFalse(stranger.is_alive)
        self.assertFalse(stranger.signal(0))


def _seconds(timestamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def main() -> int:
    """Runs all, and ends with the line that counts."""
    program = unittest.main(exit=False, verbosity=2, warnings="ignore")
    result = program.result
    # A test can fail twice, in its body and in its cleanup, and a class can fail before its tests: count names.
    failed = len({str(test) for test, _ in (*result.failures, *result.errors)}) + len(result.unexpectedSuccesses)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{max(0, result.testsRun - failed - len(result.skipped))} passed, {failed} failed{skipped}")
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
