#!/usr/bin/env python3
"""Tests of scripts/cluster: a node with real containers. Needs root. Prints `N passed, N failed` at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from selftest import ROOT, eventually, main  # noqa: E402
from swarmcluster.api import Connection, Endpoint, query  # noqa: E402
from swarmcluster.node import BRIDGE, BURNER_IMAGE, RealNode, _cgroups, _chains, _container_processes, _shims  # noqa: E402
from swarmcluster.plane import ControlPlane  # noqa: E402

PROGRAM = str(ROOT / "scripts/cluster")
PODS = "/api/v1/namespaces/default/pods"


@unittest.skipUnless(os.geteuid() == 0, "a real node needs root")
class NodeTests(unittest.TestCase):
    """One cluster for all."""

    folder: Path
    state: dict[str, Any]
    api: Connection

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(tempfile.mkdtemp(prefix="swarmscale-selftest."))
        cls.cluster("up", "--watch-pid", str(os.getpid()))
        cls.state = json.loads((cls.folder / "state.json").read_text())
        cls.api = Connection(Endpoint.from_state(cls.state))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cluster("down")

    @classmethod
    def cluster(cls, *arguments: str) -> str:
        """One command of scripts/cluster."""
        return subprocess.run([PROGRAM, "--dir", str(cls.folder), *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def burners(self, name: str, replicas: int) -> None:
        """A deployment of burners, ready."""
        container = {
            "name": "burner",
            "image": BURNER_IMAGE,
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        }
        template = {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 3, "containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        path = "/apis/apps/v1/namespaces/default/deployments"
        self.api.json("POST", path, {"metadata": {"name": name}, "spec": spec})
        self.addCleanup(self.api.request, "DELETE", f"{path}/{name}")
        eventually("ready burners", lambda: self.api.json("GET", f"{path}/{name}")["status"].get("readyReplicas") == replicas)

    def cores(self, selector: str) -> list[float]:
        """What metrics.k8s.io says that each pod uses."""
        items = self.api.json("GET", query("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", labelSelector=selector))["items"]
        return [int(item["containers"][0]["usage"]["cpu"].removesuffix("n")) / 10**9 for item in items]

    def test_load_is_measured(self) -> None:
        self.burners("load", 3)
        self.assertEqual(self.cluster("load", "default", "app=load", "--total", "300", "--memory", "64"), "3 pods told")
        # Other work on the machine can keep burners below what they are told, never above.
        eventually(
            "about 0.1 cores each",
            lambda: len(self.cores("app=load")) == 3 and all(0.07 < cpu < 0.12 for cpu in self.cores("app=load")),
            90,
        )
        items = self.api.json("GET", query("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", labelSelector="app=load"))["items"]
        for item in items:
            self.assertGreater(int(item["containers"][0]["usage"]["memory"].removesuffix("Ki")), 64 * 1024)
        nodes = self.api.json("GET", "/apis/metrics.k8s.io/v1beta1/nodes")["items"]
        self.assertEqual(len(nodes), 1)

    def test_services_reach_pods_and_pods_reach_the_api(self) -> None:
        self.burners("served", 2)
        service = {"metadata": {"name": "served"}, "spec": {"selector": {"app": "served"}, "ports": [{"port": 80, "targetPort": 8080}]}}
        address = self.api.json("POST", "/api/v1/namespaces/default/services", service)["spec"]["clusterIP"]
        self.addCleanup(self.api.request, "DELETE", "/api/v1/namespaces/default/services/served")

        def answer() -> Any:
            try:
                return urllib.request.urlopen(f"http://{address}/state", timeout=1).read()
            except OSError:
                return None

        self.assertIn(b"millicores", eventually("an answer of the service", answer, 30))
        curl = shutil.which("curl")
        if curl is None:
            self.skipTest("no curl to run in a pod")
        self.cluster("image", "swarmscale.test/curl:1", f"{curl}:/usr/bin/curl")
        container = {
            "name": "curl", "image": "swarmscale.test/curl:1",
            "args": ["--silent", "--insecure", "--max-time", "10", "--retry", "5", "--retry-connrefused", "https://$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)/version"],
        }  # fmt: skip
        self.api.json("POST", PODS, {"metadata": {"name": "curl"}, "spec": {"restartPolicy": "Never", "containers": [container]}})
        self.addCleanup(self.api.request, "DELETE", f"{PODS}/curl")
        eventually("the end of curl", lambda: self.api.json("GET", f"{PODS}/curl")["status"]["phase"] in ("Succeeded", "Failed"))
        self.assertIn(b'"gitVersion"', self.api.request("GET", f"{PODS}/curl/log")[1])

    def test_unready_and_crashed_containers_show(self) -> None:
        self.burners("fragile", 1)
        pod = self.api.json("GET", query(PODS, labelSelector="app=fragile"))["items"][0]
        path, address = f"{PODS}/{pod['metadata']['name']}", pod["status"]["podIP"]
        urllib.request.urlopen(f"http://{address}:8080/unready", timeout=5).close()

        def ready() -> str:
            return next(str(c["status"]) for c in self.api.json("GET", path)["status"]["conditions"] if c["type"] == "Ready")

        eventually("an unready pod", lambda: ready() == "False", 30)
        try:
            urllib.request.urlopen(f"http://{address}:8080/exit?code=3", timeout=5).close()
        except OSError:
            pass
        eventually("a restarted container", lambda: self.api.json("GET", path)["status"]["containerStatuses"][0]["restartCount"] == 1, 30)


@unittest.skipUnless(os.geteuid() == 0, "a real node needs root")
class AftermathTests(unittest.TestCase):
    """What is left when everything was killed the hard way."""

    def test_down_cleans_up_after_a_crash(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="swarmscale-selftest."))
        forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
        command = [PROGRAM, "--dir", str(folder)]
        try:
            subprocess.run([*command, "up"], check=True, stdout=subprocess.DEVNULL)
            plane = ControlPlane(folder).load()
            api = plane.connection()
            container = {"name": "burner", "image": BURNER_IMAGE}
            eventually("a service account", lambda: api.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200)
            api.json("POST", PODS, {"metadata": {"name": "orphan"}, "spec": {"containers": [container]}})
            eventually("a running pod", lambda: api.json("GET", f"{PODS}/orphan")["status"]["phase"] == "Running")
            socket_path = str(RealNode(plane).folder / "containerd.sock")
            self.assertTrue(_shims(socket_path))
            processes = [plane.identity(name) for name in plane.state["components"]]
            for process in processes:
                assert process is not None
                process.kill()
            time.sleep(0.5)
            orphans = _container_processes()
            self.assertEqual(len(orphans), 2)
            self.assertTrue(_shims(socket_path), "shims outlive containerd: that is the point of this test")
        finally:
            subprocess.run([*command, "down"], check=True)
        self.assertEqual(_shims(socket_path), [])
        self.assertFalse(any(process.is_alive for process in orphans))
        self.assertEqual(_cgroups(), [])
        self.assertEqual(_chains(), [])
        self.assertNotIn(BRIDGE, os.listdir("/sys/class/net"))
        self.assertNotIn(str(folder), Path("/proc/self/mountinfo").read_text())
        self.assertEqual(Path("/proc/sys/net/ipv4/ip_forward").read_text(), forwarding)
        self.assertFalse(folder.exists())


if __name__ == "__main__":
    sys.exit(main())
