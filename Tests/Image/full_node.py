#!/usr/bin/env python3
"""The image on a full node: the Deployment of manifests/default, unchanged, runs from it and scales a fleet.

Started by Tests/Image/run --full-node, which starts and ends the cluster. Ends with the line `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import atexit
import json
import signal
import sys
import unittest
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Cluster"))

import e2e_node  # noqa: E402
from e2e_node import SYSTEM, Cluster, is_ready, say  # noqa: E402
from selftest import ROOT, main  # noqa: E402

SIDECAR = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sidecar", "namespace": e2e_node.NAMESPACE, "labels": {"app": "sidecar"}},
    "spec": {
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "swarmscale-sidecar", "imagePullPolicy": "Never", "command": ["swarmscale-sidecar"], "args": ["--listen=0.0.0.0:8787"],
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8787}, "periodSeconds": 2},
        }],
    },
}  # fmt: skip


class ImageOnANodeTests(e2e_node.InsideTheClusterTests):
    """As the story of the controller inside the cluster, with the image that is shipped: both replicas, nothing adapted."""

    archive: Path
    image: str = ""

    @classmethod
    def setUpClass(cls) -> None:
        say("giving the image to containerd")
        e2e_node.cluster._run("import", str(cls.archive))
        say("installing manifests/default")
        rendered = e2e_node.cluster.kubectl("kustomize", str(ROOT / "manifests/default"))
        # policy/v1 came with Kubernetes 1.21. The custom resources are there already.
        documents = [part for part in rendered.split("\n---\n") if "kind: PodDisruptionBudget" not in part]
        text = e2e_node.cluster.kubectl("apply", "-f", "-", "--dry-run=client", "-o", "json", content="\n---\n".join(documents))
        objects: list[dict[str, Any]] = json.loads(text)["items"]
        (deployment,) = (item for item in objects if item["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        cls.image = container["image"]
        e2e_node.cluster.apply(*(item for item in objects if item["kind"] != "CustomResourceDefinition"))

    def test_1_becomes_ready_and_leads(self) -> None:
        def ready() -> list[dict[str, Any]]:
            return [pod for pod in e2e_node.cluster.pods(SYSTEM) if is_ready(pod)]

        pods = self.wait("two ready controllers", lambda: found if len(found := ready()) == 2 else None, 90)
        for pod in pods:
            (status,) = pod["status"]["containerStatuses"]
            self.assertIn(self.image, status["image"])
            self.assertEqual(pod["spec"]["containers"][0]["command"], ["swarmscale-controller"])

        def leader() -> str:
            holder = e2e_node.cluster.kubectl("-n", SYSTEM, "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}")
            return next((pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] in holder), "")

        type(self).pod = self.wait("a lease", leader, 30)

    def test_4_its_sidecar_serves_as_a_restricted_pod(self) -> None:
        pod = json.loads(json.dumps(SIDECAR))
        pod["spec"]["containers"][0]["image"] = self.image
        e2e_node.cluster.apply(pod)
        self.wait("a ready sidecar", lambda: any(is_ready(pod) for pod in e2e_node.cluster.pods() if pod["metadata"]["name"] == "sidecar"), 60)

    def test_5_a_new_leader_takes_over(self) -> None:
        before = self.pod
        e2e_node.cluster.kubectl("-n", SYSTEM, "delete", "pod", before, "--wait=false")

        def leader() -> str:
            holder = e2e_node.cluster.kubectl("-n", SYSTEM, "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}")
            return holder if holder and before not in holder else ""

        self.wait("another leader", leader, 60)


def setUpModule() -> None:
    """Workers and their autoscaler."""
    e2e_node.setUpModule()


def tearDownModule() -> None:
    """Our own processes."""
    e2e_node.tearDownModule()


def load_tests(loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None) -> unittest.TestSuite:
    """Ours alone; the classes that were imported have their own run."""
    return unittest.TestSuite([loader.loadTestsFromTestCase(ImageOnANodeTests)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder of a cluster that scripts/cluster has started")
    parser.add_argument("--archive", type=Path, required=True, help="the image")
    arguments, rest = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ImageOnANodeTests.archive = arguments.archive.resolve()
    e2e_node.cluster = Cluster(arguments.dir)
    atexit.register(e2e_node.cluster.end_load)
    # The steps build on each other: after a failure the rest would only fail slowly.
    sys.argv = [sys.argv[0], "--failfast", *rest]
    sys.exit(main(verbosity=0))
