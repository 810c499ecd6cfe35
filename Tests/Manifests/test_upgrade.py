"""From the previous chart to this one and back, by Helm's own code on a real API server: what changes, what stays, what is left behind.

charts/ has the charts that were released, as `helm package` made them: add the old one when Chart.yaml gets another version.
"""

from __future__ import annotations

import re
import tempfile
import unittest
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml
from support import REPOSITORY, Cluster, kustomize, needs_cluster
from test_chart import CHART

NAMESPACE = "upgrade-test"
PREVIOUS = Path(__file__).parent / "charts/swarmscale-0.1.0.tgz"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = f"/apis/swarmscale.dev/v1alpha1/namespaces/{NAMESPACE}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/swarmscale-controller"


class Fixture(unittest.TestCase):
    """What needs no cluster."""

    def test_the_chart_has_another_version_than_those_that_were_released(self) -> None:
        versions = [re.sub(r"^swarmscale-|\.tgz$", "", file.name) for file in (Path(__file__).parent / "charts").iterdir()]
        with helm.Chart.load(CHART) as chart, helm.Chart.load(PREVIOUS) as previous:
            self.assertNotIn(chart.version, versions)
            self.assertEqual(len(previous.crds), 2)


@needs_cluster
class FromThePreviousChart(unittest.TestCase):
    """The first chart had its definitions in `crds/`, which Helm never upgrades, and nobody owned them."""

    cluster: Cluster

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.remove(kustomize("manifests/default"))
        names = [item["metadata"]["name"] for item in kustomize("manifests/crd")]
        self.cluster.kubectl("delete", "crd", *names, "--ignore-not-found", "--wait", "--timeout=60s")

    def previous_chart(self, folder: str) -> Path:
        """The previous chart, with a definition as an older release may have had it: one field fewer, another description."""
        helm.expand(folder, PREVIOUS)
        file = Path(folder) / "swarmscale/crds/apibudgets.yaml"
        definition = yaml.safe_load(file.read_text())
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["description"] = "Words of before."
        del schema["properties"]["spec"]["properties"]["reserve"]
        file.write_text(yaml.safe_dump(definition))
        return file.parents[1]

    def schema(self) -> dict[str, Any]:
        found = self.cluster.must("GET", f"{DEFINITIONS}/apibudgets.swarmscale.dev")
        schema: dict[str, Any] = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        return schema

    def identities(self) -> dict[str, str]:
        """The uid of each definition and object: another one would be a new object, and what was in it lost."""
        paths = [f"{DEFINITIONS}/{name}.swarmscale.dev" for name in ("swarmautoscalers", "apibudgets")]
        paths += [f"{GROUP}/swarmautoscalers/web", f"{GROUP}/apibudgets/shared"]
        return {path: self.cluster.must("GET", path)["metadata"]["uid"] for path in paths}

    def make_objects(self) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        for kind, name, spec in (("SwarmAutoscaler", "web", {"scaleTargetRef": target}), ("APIBudget", "shared", {"limits": {"requestsPerMinute": 60}})):
            item = {"apiVersion": "swarmscale.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            self.cluster.must("POST", f"{GROUP}/{kind.lower()}s", item)

    def args(self) -> list[str]:
        """The flags of the controller that is installed."""
        return list(self.cluster.must("GET", DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["args"])

    def left(self) -> set[str]:
        """Whatever the release has made and is still there, of any kind and in any namespace: `resource/name`."""
        groups = [group["preferredVersion"]["groupVersion"] for group in self.cluster.must("GET", "/apis")["groups"]]
        # Metrics aren't objects.
        paths = ["/api/v1", *(f"/apis/{group}" for group in groups if ".metrics.k8s.io/" not in f".{group}")]
        found = set()
        for path in paths:
            for resource in self.cluster.must("GET", path)["resources"]:
                if "list" in resource["verbs"] and "/" not in resource["name"]:
                    items = self.cluster.must("GET", f"{path}/{resource['name']}?labelSelector=app.kubernetes.io/instance=swarmscale")["items"]
                    found |= {f"{resource['name']}/{item['metadata']['name']}" for item in items}
        return found

    def test_upgrade_rollback_and_uninstall(self) -> None:
        with tempfile.TemporaryDirectory() as folder, helm.Config(kubeconfig_path=self.cluster.state["kubeconfig"], namespace=NAMESPACE) as config:
            values: dict[str, Any] = {"commonLabels": {"team": "tools"}, "controller": {"syncPeriod": "20s"}}
            config.install(self.previous_chart(folder), "swarmscale", values, namespace=NAMESPACE, create_namespace=True, wait="watcher", timeout=60)
            before = self.args()
            self.make_objects()
            identities = self.identities()

            # Nobody's definitions: Helm refuses, in the words that docs/upgrade.md and docs/troubleshooting.md repeat.
            changed = {"replicaCount": 3, "controller": {"syncPeriod": "30s", "logFormat": "json"}, "networkPolicy": {"metricsFrom": [{"namespaceSelector": {}}]}}
            with self.assertRaisesRegex(helm.HelmError, "invalid ownership metadata"):
                config.upgrade(CHART, "swarmscale", changed, namespace=NAMESPACE, wait="watcher", timeout=60)
            self.assertEqual(self.args(), before)
            for page in ("upgrade", "troubleshooting"):
                self.assertIn("invalid ownership metadata", (REPOSITORY / f"docs/{page}.md").read_text())

            self.cluster.adopt_definitions("swarmscale", NAMESPACE)
            config.upgrade(CHART, "swarmscale", changed, namespace=NAMESPACE, wait="watcher", timeout=60)
            deployment = self.cluster.must("GET", DEPLOYMENT)
            self.assertEqual((deployment["status"]["readyReplicas"], deployment["metadata"]["labels"].get("team")), (3, None))
            self.assertLessEqual({"--sync-period=30s", "--log-format=json"}, set(self.args()))
            self.assertEqual(deployment["spec"]["template"]["spec"]["priorityClassName"], "swarmscale-controller")
            # The definitions are this chart's now.
            self.assertNotEqual(self.schema().get("description"), "Words of before.")
            self.assertIn("reserve", self.schema()["properties"]["spec"]["properties"])
            self.assertEqual(self.identities(), identities)

            # Back: Helm would delete what the first chart's templates haven't, were it not to be kept.
            config.rollback("swarmscale", version=1, wait="watcher", timeout=60)
            self.assertEqual(self.args(), before)
            self.assertEqual(self.cluster.must("GET", DEPLOYMENT)["metadata"]["labels"]["team"], "tools")
            self.assertIn("reserve", self.schema()["properties"]["spec"]["properties"])
            self.assertEqual(self.identities(), identities)
            self.assertEqual([name for name in self.left() if name.startswith(("priorityclasses/", "networkpolicies/"))], [])

            # And forward again, now without a further word.
            config.upgrade(CHART, "swarmscale", changed, namespace=NAMESPACE, wait="watcher", timeout=60)
            self.assertIn("priorityclasses/swarmscale-controller", self.left())
            config.uninstall("swarmscale", wait="watcher", timeout=60)
            self.check_what_is_left(identities)
            # Who installs again under the same name finds all as it was.
            config.install(CHART, "swarmscale", namespace=NAMESPACE, wait="watcher", timeout=60)
            self.assertEqual(self.identities(), identities)
            config.uninstall("swarmscale", wait="watcher", timeout=60)
            self.check_what_is_left(identities)

    def check_what_is_left(self, identities: dict[str, str]) -> None:
        """What NOTES.txt says; Lease and Secret are the controller's, which didn't run in these pods."""
        definitions = {f"customresourcedefinitions/{name}.swarmscale.dev" for name in ("swarmautoscalers", "apibudgets")}
        self.assertEqual(self.left(), definitions)
        self.assertEqual(self.identities(), identities)

    def test_definitions_that_arent_kept_go_with_the_release(self) -> None:
        with helm.Config(kubeconfig_path=self.cluster.state["kubeconfig"], namespace=NAMESPACE) as config:
            config.install(CHART, "swarmscale", {"crds": {"keep": False}}, namespace=NAMESPACE, create_namespace=True, wait="watcher", timeout=60)
            self.make_objects()
            config.uninstall("swarmscale", wait="watcher", timeout=60)
        self.assertEqual(self.left(), set())
        self.assertEqual(self.cluster.send("GET", f"{DEFINITIONS}/apibudgets.swarmscale.dev")[0], 404)
