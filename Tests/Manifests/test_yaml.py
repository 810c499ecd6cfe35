"""Every YAML file of the repository, and every YAML block of README and docs, is what somebody accepts: the API server, Helm, or the program that reads it.

A new file of a kind that isn't known here fails: say who reads it.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import helm_python as helm
from code_blocks import Block, blocks, pages
from cloudcoil.models.cert_manager import v1 as certificate_kinds
from cloudcoil.models.prometheus_operator import v1 as operator_kinds
from support import REPOSITORY, Cluster, documents, identity, kustomize, needs_cluster

CONTROLLER = os.environ.get("SWARMSCALE_CONTROLLER", "")
CHART = REPOSITORY / "Helm/swarmscale"

#: Kinds of other projects, whose definitions no server of ours has; what checks them instead.
FOREIGN = {
    "PrometheusRule": "test_objects_of_the_prometheus_operator; promtool reads its rules in test_alerts",
    "ServiceMonitor": "test_objects_of_the_prometheus_operator",
    "PodMonitor": "test_objects_of_the_prometheus_operator",
    "Certificate": "test_objects_of_cert_manager",
    "Issuer": "test_objects_of_cert_manager",
    "ScaledObject": "KEDA's, shown as what one comes from",
}

#: Files that aren't Kubernetes objects, and the test that has somebody read them.
READ_ELSEWHERE = {
    "Helm/swarmscale/Chart.yaml": "test_chart (helm lint)",
    "Helm/swarmscale/values.yaml": "test_chart (schema)",
    "Tests/Manifests/alerts/rules-test.yaml": "test_alerts (promtool)",
    "examples/local/mock.yaml": "test_settings_of_mock_claude",
    "docs/api/coordination.yaml": "Tests/TaskAPI (schemathesis)",
}

#: What stands where in a fragment: the object that it becomes a part of.
SPECS: dict[str, dict[str, Any]] = {
    "SwarmAutoscaler": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "fragment"}},
    "APIBudget": {},
}


def files() -> list[str]:
    """The repository's YAML files, without what builds leave behind."""
    found = []
    for folder, names, entries in os.walk(REPOSITORY):
        names[:] = [name for name in names if name == ".github" or not name.startswith(".")]
        found += [str((Path(folder) / entry).relative_to(REPOSITORY)) for entry in entries if entry.endswith((".yaml", ".yml"))]
    return sorted(found)


def reader(file: str) -> str:
    """Who reads a file: `objects`, `kustomize`, `template`, `form`, `values`, or what READ_ELSEWHERE says."""
    if file in READ_ELSEWHERE:
        return "elsewhere"
    if file.startswith("Helm/swarmscale/templates/"):
        return "template"
    if file.startswith(".github/ISSUE_TEMPLATE/"):
        return "form"
    if file.endswith("values.yaml") and file.startswith("examples/"):
        return "values"
    found = documents((REPOSITORY / file).read_text())
    if all(item.get("kind") == "Kustomization" for item in found):
        return "kustomize"
    if file.startswith("Tests/WorkerEmbeddingTests/Golden/") and all("skipped" in item for item in found):
        # Why nothing was embedded: no object.
        return "elsewhere"
    if found and all({"apiVersion", "kind", "metadata"} <= item.keys() for item in found):
        return "objects"
    return "unknown"


def schema(kind: str) -> dict[str, Any]:
    """The schema of a resource's spec."""
    (definition,) = documents((REPOSITORY / f"manifests/crd/{kind.lower()}s.yaml").read_text())
    spec: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def objects_of(block: Block) -> list[dict[str, Any]] | None:
    """A block's objects, a fragment completed by what is around it; nil: it isn't about Kubernetes objects."""
    found = documents(block.text)
    if all("apiVersion" in item for item in found if isinstance(item, dict)) and all(isinstance(item, dict) for item in found):
        return found
    (fragment,) = found
    if isinstance(fragment, list):
        fragment = {"metrics": fragment}
    if set(fragment) == {"spec"}:
        fragment = fragment["spec"]
    for kind, base in SPECS.items():
        if fragment.keys() <= schema(kind)["properties"].keys():
            return [{"apiVersion": "swarmscale.dev/v1alpha1", "kind": kind, "metadata": {"name": "fragment"}, "spec": base | fragment}]
    return None


def assert_kept(case: unittest.TestCase, sent: Any, stored: Any, path: str) -> None:
    """Every field that was sent is stored: an unknown or misplaced field would have been dropped silently."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            if value in ({}, [], None):
                continue
            case.assertIn(key, stored, f"{path}.{key} was dropped")
            assert_kept(case, value, stored[key], f"{path}.{key}")
    elif isinstance(sent, list):
        case.assertGreaterEqual(len(stored), len(sent), path)
        for index, (one, other) in enumerate(zip(sent, stored)):
            assert_kept(case, one, other, f"{path}[{index}]")


class Files(unittest.TestCase):
    """What needs no cluster."""

    def test_each_file_has_a_reader(self) -> None:
        found = files()
        self.assertGreater(len(found), 90)
        self.assertEqual([file for file in found if reader(file) == "unknown"], [])
        self.assertEqual(set(READ_ELSEWHERE) - set(found), set())

    def test_kustomizations_render(self) -> None:
        folders = [str(Path(file).parent) for file in files() if reader(file) == "kustomize"]
        self.assertGreater(len(folders), 5)
        for folder in folders:
            with self.subTest(folder=folder):
                self.assertTrue(kustomize(folder))

    def test_objects_of_the_prometheus_operator(self) -> None:
        """By models that are made from its definitions: types, patterns, required fields; and every field that is sent is one that they know."""
        on = {"enabled": True, "labels": {"release": "prometheus"}}
        with helm.Chart.load(CHART) as chart:
            rendered = chart.render({"monitoring": {"serviceMonitor": on, "podMonitor": on, "prometheusRule": on}}, name="swarmscale", namespace="a")
        items = [item for text in rendered.values() for item in documents(text if "kind:" in text and "apiVersion: monitoring" in text else "")]
        items += kustomize("manifests/monitoring")
        items = [item for item in items if item["apiVersion"].startswith("monitoring.coreos.com/")]
        self.assertEqual(sorted(item["kind"] for item in items), ["PodMonitor", *["PrometheusRule"] * 2, *["ServiceMonitor"] * 2])
        for item in items:
            with self.subTest(item=identity(item)):
                assert_kept(self, item, self.as_read_by(operator_kinds, item), identity(item))
        broken = copy.deepcopy(next(item for item in items if item["kind"] == "ServiceMonitor"))
        for change in ({"interval": "15"}, {"port": 8080}, {"pathh": "/metrics"}):
            broken["spec"]["endpoints"] = [{"port": "http"} | change]
            with self.subTest(change=change), self.assertRaises((ValueError, AssertionError)):
                assert_kept(self, broken, self.as_read_by(operator_kinds, broken), "")

    def test_objects_of_cert_manager(self) -> None:
        """By models that are made from its definitions, as above."""
        items = []
        for issuer in ({}, {"name": "corporate", "kind": "ClusterIssuer"}):
            values = {"certManager": {"enabled": True, "issuerRef": issuer}, "bridges": {"externalMetrics": {"enabled": True}}}
            with helm.Chart.load(CHART) as chart:
                text = chart.render(values, name="swarmscale", namespace="a")["swarmscale/templates/certmanager.yaml"]
            items += documents(text)
        self.assertEqual(sorted(item["kind"] for item in items), [*["Certificate"] * 3, *["Issuer"] * 2])
        for item in items:
            with self.subTest(item=identity(item)):
                assert_kept(self, item, self.as_read_by(certificate_kinds, item), identity(item))
        broken = copy.deepcopy(items[-1])
        for change in ({"usages": ["serve"]}, {"dnsNames": "name"}, {"renewBeforre": "1h"}, {"privateKey": {"rotationPolicy": "Often"}}):
            broken["spec"] = items[-1]["spec"] | change
            with self.subTest(change=change), self.assertRaises((ValueError, AssertionError)):
                assert_kept(self, broken, self.as_read_by(certificate_kinds, broken), "")

    @staticmethod
    def as_read_by(kinds: Any, item: dict[str, Any]) -> Any:
        """An object with the fields that its definition, one of `kinds`, knows; ValueError where it isn't valid."""
        model = getattr(kinds, item["kind"])
        return model.model_validate(item).model_dump(mode="json", by_alias=True, exclude_none=True)

    def test_values_of_examples_are_values_of_the_chart(self) -> None:
        for file in files():
            if reader(file) == "values":
                with self.subTest(file=file), helm.Chart.load(CHART) as chart:
                    (values,) = documents((REPOSITORY / file).read_text())
                    chart.validate_schema(values)
                    self.assertTrue(chart.render(values, name="swarmscale", namespace="swarmscale-system"))

    def test_values_in_the_documents_are_values_of_the_chart(self) -> None:
        count = 0
        with helm.Chart.load(CHART) as chart:
            for page in pages():
                for block in blocks(page):
                    found = documents(block.text) if block.language == "yaml" else []
                    if len(found) == 1 and isinstance(found[0], dict) and found[0].keys() <= chart.values.keys():
                        with self.subTest(block=str(block)):
                            chart.validate_schema(found[0])
                            count += 1
        self.assertGreater(count, 0)

    def test_forms_of_issues_have_what_github_asks_for(self) -> None:
        """https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-issue-forms"""
        for file in files():
            if reader(file) != "form":
                continue
            with self.subTest(file=file):
                (form,) = documents((REPOSITORY / file).read_text())
                if file.endswith("config.yml"):
                    self.assertLessEqual(form.keys(), {"blank_issues_enabled", "contact_links"})
                    continue
                self.assertLessEqual({"name", "description", "body"}, form.keys())
                named = [field["id"] for field in form["body"] if field["type"] != "markdown"]
                self.assertEqual(len(named), len(set(named)))
                for field in form["body"]:
                    self.assertIn(field["type"], {"markdown", "textarea", "input", "dropdown", "checkboxes"})
                    self.assertIn("value" if field["type"] == "markdown" else "label", field["attributes"])

    def test_each_block_of_the_documents_has_a_reader(self) -> None:
        unread = [
            str(block) for page in pages() for block in blocks(page)
            if block.language == "yaml" and objects_of(block) is None and block.page != "docs/mock-claude.md" and not self.is_values(block)
        ]
        self.assertEqual(unread, [])

    def is_values(self, block: Block) -> bool:
        """Whether a block is values of the chart, which then are valid."""
        (values,) = documents(block.text)
        with helm.Chart.load(CHART) as chart:
            if not values.keys() <= chart.values.keys():
                return False
            chart.validate_schema(values)
        return True

    def test_no_example_sets_replicas_of_what_it_scales(self) -> None:
        """`replicas` in a manifest that is applied again and again would contest the autoscaler's."""
        for file in files():
            if file.startswith("examples/") and not file.startswith("examples/local/") and reader(file) == "objects":
                for item in documents((REPOSITORY / file).read_text()):
                    if item["kind"] in ("Deployment", "StatefulSet"):
                        self.assertNotIn("replicas", item["spec"], file)

    @unittest.skipUnless(CONTROLLER, "needs the programs")
    def test_swarmscale_finds_nothing_to_say_about_examples_and_documents(self) -> None:
        program = Path(CONTROLLER).resolve().parent / "swarmscale"
        with tempfile.TemporaryDirectory() as folder:
            for page in pages():
                for block in blocks(page):
                    ours = [item for item in (objects_of(block) or [] if block.language == "yaml" else []) if item["apiVersion"].startswith("swarmscale.dev/")]
                    if ours:
                        name = str(block).replace("/", "-").replace(":", "-")
                        Path(folder, f"{name}.yaml").write_text("\n---\n".join(json.dumps(item) for item in ours))
            targets = [file for file in files() if file.startswith("examples/") and reader(file) == "objects"]
            for file in [*targets, *sorted(map(str, Path(folder).iterdir()))]:
                with self.subTest(file=file):
                    result = subprocess.run([program, "validate", "--strict", "-f", file], cwd=REPOSITORY, capture_output=True, text=True)
                    self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    @unittest.skipUnless(CONTROLLER, "needs the programs")
    def test_settings_of_mock_claude(self) -> None:
        program = Path(CONTROLLER).resolve().parent / "mock-claude"
        texts = {"examples/local/mock.yaml": (REPOSITORY / "examples/local/mock.yaml").read_text()}
        texts |= {str(block): block.text for block in blocks(REPOSITORY / "docs/mock-claude.md") if block.language == "yaml"}
        for name, text in texts.items():
            with self.subTest(settings=name), tempfile.TemporaryDirectory() as folder:
                for settings, accepted in ((text, True), (text + "\nunknownKey: 1\n", False)):
                    file = Path(folder, "settings.yaml")
                    file.write_text(settings)
                    ready = Path(folder, f"ready-{accepted}")
                    command = [program, "--port", "0", "--config", file, "--ready-file", ready]
                    with open(Path(folder, "output"), "wb") as output:
                        process = subprocess.Popen(command, stdout=output, stderr=output)
                        # It either serves or ends.
                        while process.poll() is None and not ready.exists():
                            time.sleep(0.05)
                        process.terminate()
                        process.wait()
                    self.assertEqual(ready.exists(), accepted, Path(folder, "output").read_text())


@needs_cluster
class AcceptedByTheServer(unittest.TestCase):
    """A server-side dry run of each object, in which every field that was sent is kept."""

    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster()
        crds = [item for item in kustomize("manifests/crd") if item["kind"] == "CustomResourceDefinition"]
        cls.cluster.install(crds)

    def fitted(self, item: dict[str, Any]) -> dict[str, Any]:
        """An object as this server can take it: older ones lack a version, or a field, that a current one has."""
        (item,) = self.cluster.fitted([copy.deepcopy(item)])
        minor = self.cluster.minor_version
        if prefix := item["metadata"].pop("generateName", None):
            item["metadata"].setdefault("name", f"{prefix}x")  # an apply needs a name
        if minor < 23 and item["apiVersion"] == "autoscaling/v2":
            item["apiVersion"] = "autoscaling/v2beta2"
        if minor < 33 and item["kind"] == "HorizontalPodAutoscaler":
            for rules in item["spec"].get("behavior", {}).values():
                rules.pop("tolerance", None)
        if minor < 29 and "spec" in item:
            pod = item["spec"].get("template", item).get("spec", {}) if item["kind"] != "CronJob" else item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            # Native sidecars (1.29) are plain containers before.
            sidecars = [container for container in pod.get("initContainers", []) if container.pop("restartPolicy", None)]
            if sidecars:
                pod["initContainers"] = [container for container in pod["initContainers"] if container not in sidecars]
                pod["containers"] = sidecars + pod["containers"]
        return item

    def check(self, items: list[dict[str, Any]]) -> int:
        """Has the server take the objects; how many there were to take."""
        items = [self.fitted(item) for item in items if item["kind"] not in FOREIGN]
        for item in items:
            if namespace := item["metadata"].get("namespace"):
                self.cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        # 1.20 breaks the connection at a server-side apply of an APIService.
        registrations = [item for item in items if item["kind"] == "APIService"]
        for item in registrations:
            path = f"/apis/{item['apiVersion']}/apiservices/{item['metadata']['name']}?dryRun=All"
            kept = self.cluster.must("PATCH", path, item, content_type="application/merge-patch+json")
            assert_kept(self, item, kept, identity(item))
        items = [item for item in items if item not in registrations]
        if not items:
            return len(registrations)
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        answer = json.loads(self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "json", "-f", "-", stdin=text))
        stored = answer["items"] if answer["kind"] == "List" else [answer]
        self.assertEqual(len(stored), len(items))
        for item, kept in zip(items, stored):
            assert_kept(self, item, kept, identity(item))
        return len(items) + len(registrations)

    def test_files(self) -> None:
        count = 0
        for file in files():
            if reader(file) == "objects":
                with self.subTest(file=file):
                    count += self.check(documents((REPOSITORY / file).read_text()))
        self.assertGreater(count, 100)

    def test_kustomizations(self) -> None:
        for file in files():
            if reader(file) == "kustomize":
                with self.subTest(folder=str(Path(file).parent)):
                    self.check(kustomize(str(Path(file).parent)))

    def test_blocks_of_the_documents(self) -> None:
        count = 0
        for page in pages():
            for block in blocks(page):
                if block.language == "yaml" and (items := objects_of(block)):
                    with self.subTest(block=str(block)):
                        count += self.check(items)
        self.assertGreater(count, 5)

    def test_the_chart_with_everything_on(self) -> None:
        on = {"enabled": True}
        values = {
            "monitoring": {"serviceMonitor": on, "podMonitor": on, "prometheusRule": on, "dashboard": on},
            "webhook": {"certificateSecret": "mine", "namespaceExpressions": [{"key": "team", "operator": "In", "values": ["agents"]}]},
            "coordinator": {"certificateSecret": "theirs"},
            "bridges": {"externalMetrics": on, "keda": {"enabled": True, "tls": True}},
            "networkPolicy": {"metricsFrom": [{"namespaceSelector": {}}], "workersFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
            "commonAnnotations": {"example.com/owner": "platform"},
            "extraVolumes": [{"name": "log", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "log", "mountPath": "/log"}],
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "high",
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
            "commonLabels": {"team": "tools"},
            "controller": {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}], "extraEnvFrom": [{"secretRef": {"name": "proxy"}}]},
        }
        managed = {"certManager": on, "bridges": {"externalMetrics": on}}
        for chosen in ({}, values, managed, {"watchNamespace": "fleet"}, {"watchNamespace": "chart-dry-run"}):
            with self.subTest(values=chosen), helm.Chart.load(CHART) as chart:
                rendered = chart.render(chosen, name="swarmscale", namespace="chart-dry-run")
                items = [item for file in sorted(rendered) if file.endswith(".yaml") for item in documents(rendered[file])]
                self.assertGreaterEqual(self.check(items), 10)

    def test_a_field_that_is_unknown_or_wrong_is_found(self) -> None:
        (budget,) = [item for item in documents((REPOSITORY / "examples/api-budget.yaml").read_text()) if item["kind"] == "APIBudget"]
        for change in ({"limit": {"requestsPerMinute": 1}}, {"provider": "Bedrock"}, {"reserve": 91}):
            with self.subTest(change=change), self.assertRaises(AssertionError):
                self.check([{**budget, "spec": budget["spec"] | change}])
