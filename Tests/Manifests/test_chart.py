"""The chart, by Helm's own code: lint, values, and equality with manifests/default."""

from __future__ import annotations

import filecmp
import json
import re
import tempfile
import threading
import unittest
from typing import Any

import helm_python as helm
import yaml
from support import NAMESPACE, REPOSITORY, Cluster, documents, identity, kustomize, needs_cluster

CHART = REPOSITORY / "Helm/swarmscale"

#: Labels that Helm adds and kustomize has no use for.
HELM_LABELS = {"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}

#: Values within a group that only hold others.
SUBGROUPS = {"externalMetrics", "keda", "leaderElection", "serviceMonitor", "podMonitor", "prometheusRule", "dashboard"}

#: Values that are parts of Kubernetes objects: documented as a whole.
KUBERNETES_OBJECTS = {"resources", "podSecurityContext", "securityContext"}


def render(values: dict[str, Any] | None = None, name: str = "swarmscale", namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """The chart's objects, NOTES.txt and tests left out."""
    return [item for item in render_all(values, name, namespace) if "helm.sh/hook" not in item["metadata"].get("annotations", {})]


def render_all(values: dict[str, Any] | None = None, name: str = "swarmscale", namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """The chart's objects with the pods of `helm test`."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values or {})
        files = chart.render(values, name=name, namespace=namespace)
    return [item for file in sorted(files) if file.endswith(".yaml") for item in documents(files[file])]


def normalised(value: Any) -> Any:
    """Without Helm's own labels."""
    if isinstance(value, dict):
        return {key: normalised(item) for key, item in value.items() if key not in HELM_LABELS}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    return value


class RenderedChart(unittest.TestCase):
    """What needs no cluster."""

    def container(self, values: dict[str, Any]) -> dict[str, Any]:
        return next(item for item in render(values) if item["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]

    def test_lint_is_clean(self) -> None:
        report = helm.lint(CHART, strict=True)
        self.assertEqual(report["errors"], [])
        self.assertEqual([message for message in report["messages"] if message["severity"] > 1], [])

    def test_default_values_render_what_manifests_hold(self) -> None:
        chart = {identity(item): normalised(item) for item in render()}
        plain = {
            identity(item): normalised(item)
            for item in kustomize("manifests/default")
            if item["kind"] not in ("Namespace", "CustomResourceDefinition")
        }
        self.assertEqual(set(chart), set(plain))
        for name, item in plain.items():
            self.assertEqual(chart[name], item, name)

    def test_bridges_render_what_manifests_hold(self) -> None:
        for folder, bridge in (("hpa", "externalMetrics"), ("keda", "keda")):
            chart = {identity(item): normalised(item) for item in render({"bridges": {bridge: {"enabled": True}}})}
            plain = {identity(item): normalised(item) for item in kustomize(f"manifests/bridges/{folder}")}
            for name in [name for name in plain if name.split()[0] in ("Namespace", "CustomResourceDefinition")]:
                del plain[name]
            self.assertEqual(chart, plain, folder)
        both = {"externalMetrics": {"enabled": True}, "keda": {"enabled": True, "tls": True}}
        service = next(item for item in render({"bridges": both}) if identity(item).endswith("/swarmscale-bridges"))
        self.assertEqual([port["name"] for port in service["spec"]["ports"]], ["ext-metrics", "keda"])
        alone = render({"bridges": both, "watchNamespace": "fleet"})
        self.assertFalse([item for item in alone if "bridges" in item["metadata"]["name"] or item["kind"] == "APIService"])
        role = [item for item in render({"bridges": both, "coordinator": {"enabled": False}}) if identity(item) == f"Role {NAMESPACE}/swarmscale-bridges"]
        self.assertEqual(role[0]["rules"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}])
        with self.assertRaisesRegex(helm.HelmRenderError, "leaderElection"):
            render({"replicaCount": 1, "bridges": both, "controller": {"leaderElection": {"enabled": False}}})

    def test_custom_resource_definitions_are_the_same_files(self) -> None:
        names = sorted(file.name for file in (CHART / "crds").iterdir())
        expected = sorted(file.name for file in (REPOSITORY / "manifests/crd").iterdir() if file.name != "kustomization.yaml")
        self.assertEqual(names, expected)
        for name in names:
            same = filecmp.cmp(CHART / "crds" / name, REPOSITORY / "manifests/crd" / name, shallow=False)
            self.assertTrue(same, f"cp manifests/crd/{name} Helm/swarmscale/crds/")

    def test_monitoring_is_that_of_manifests(self) -> None:
        for name in ("prometheus-rule.yaml", "dashboard.json"):
            same = filecmp.cmp(CHART / "files" / name, REPOSITORY / "manifests/monitoring" / name, shallow=False)
            self.assertTrue(same, f"cp manifests/monitoring/{name} Helm/swarmscale/files/")
        values = {"monitoring": {kind: {"enabled": True, "labels": {"team": "ml"}} for kind in ("serviceMonitor", "prometheusRule", "dashboard")}}
        chart = {item["kind"]: item for item in render(values) if item["metadata"]["labels"].get("team") == "ml"}
        self.assertEqual(set(chart), {"ServiceMonitor", "PrometheusRule", "ConfigMap"})
        for item in kustomize("manifests/monitoring"):
            if item["kind"] == "ServiceMonitor":
                # The chart's selector names the release as well.
                self.assertEqual(chart[item["kind"]]["spec"]["endpoints"], item["spec"]["endpoints"])
            else:
                self.assertEqual(chart[item["kind"]]["spec"], item["spec"])
        dashboard = json.loads(chart["ConfigMap"]["data"]["swarmscale.json"])
        self.assertEqual(dashboard, json.loads((REPOSITORY / "manifests/monitoring/dashboard.json").read_text(encoding="utf-8")))

    def test_versions_are_those_of_the_program(self) -> None:
        source = (REPOSITORY / "Sources/ControllerCommand/Version.swift").read_text()
        match = re.search(r'swarmscaleVersion = "([^"]+)"', source)
        assert match
        metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(str(metadata["appVersion"]), match[1])
        image = next(item for item in kustomize("manifests/controller") if item["kind"] == "Deployment")
        embedded = (REPOSITORY / "Sources/WorkerEmbedding/EmbeddingSettings.swift").read_text()
        self.assertIn(f'defaultImage = "swarmscale/swarmscale:{match[1]}"', embedded)
        self.assertTrue(image["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":{match[1]}"))

    def test_each_value_is_documented(self) -> None:
        """Each key that isn't a group, or part of a Kubernetes object, has a comment that begins with `--` above it."""
        lines = (CHART / "values.yaml").read_text().splitlines()
        values = yaml.safe_load("\n".join(lines))
        groups = {key for key, value in values.items() if isinstance(value, dict) and value} - KUBERNETES_OBJECTS
        undocumented, group = [], ""
        for number, line in enumerate(lines):
            match = re.match(r"^(?P<indent> {0,4})(?P<key>[a-zA-Z]+):", line)
            if not match or lines[number - 1].lstrip().startswith("- "):
                continue
            if not match["indent"]:
                group = match["key"]
            if match["indent"] and (group in KUBERNETES_OBJECTS or group not in groups):
                continue
            is_group = (not match["indent"] and group in groups) or match["key"] in SUBGROUPS
            above = [text for text in lines[:number] if not text.lstrip().startswith("# ") or "# --" in text]
            if not is_group and "# --" not in above[-1]:
                undocumented.append(line)
        self.assertEqual(undocumented, [])

    def test_schema_knows_each_value_and_no_other(self) -> None:
        with helm.Chart.load(CHART) as chart:
            values, schema = chart.values, chart.schema
            assert schema is not None
            self.assertEqual(self.schema_gaps(values, schema), [])
            for wrong in (
                {"replicas": 3},
                {"commonAnnotations": {"a": 1}},
                {"webhook": {"timeoutSeconds": 31}},
                {"webhook": {"namespaceExpressions": [{"key": "a", "operator": "Equals"}]}},
                {"extraVolumeMounts": [{"name": "a"}]},
                {"monitoring": {"podMonitor": {"enable": True}}},
                {"controller": {"syncperiod": "15s"}},
                {"controller": {"syncPeriod": "15"}},
                {"controller": {"logLevel": "loud"}},
                {"replicaCount": "two"},
                {"image": {"digest": "sha256:1"}},
                {"rbac": {"scaleTargets": [{"apiGroups": ["apps"], "resources": ["deployments"]}]}},
            ):
                with self.subTest(wrong=wrong), self.assertRaises(helm.HelmValuesError):
                    chart.validate_schema(wrong)

    def schema_gaps(self, values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> list[str]:
        """Values that the schema doesn't know, and the other way round."""
        if "properties" not in schema:
            return []
        known = set(schema["properties"]) - {"global"}
        gaps = [f"{prefix}{key}" for key in known ^ (set(values) - {"global"})]
        for key in known & set(values):
            if isinstance(values[key], dict):
                gaps += self.schema_gaps(values[key], schema["properties"][key], f"{prefix}{key}.")
        return gaps

    def test_flags_reach_the_controller_and_are_its_own(self) -> None:
        controller = {
            "syncPeriod": "30s",
            "concurrentSyncs": 4,
            "tolerance": "50m",
            "downscaleStabilization": "10m",
            "cpuInitializationPeriod": "1m",
            "initialReadinessDelay": "10s",
            "logFormat": "json",
            "logLevel": "debug",
            "leaderElection": {"leaseDuration": "30s", "renewDeadline": "20s", "retryPeriod": "4s"},
            "extraArgs": ["--context=a b"],
        }
        args = self.container({"controller": controller, "watchNamespace": "fleet"})["args"]
        self.assertIn("--sync-period=30s", args)
        self.assertIn("--namespace=fleet", args)
        self.assertIn("--lease-duration=30s", args)
        self.assertEqual(args[-1], "--context=a b")
        source = (REPOSITORY / "Sources/ControllerCommand/ControllerOptions.swift").read_text()
        properties = re.findall(r"package var (\w+)", source)
        flags = {"--" + re.sub(r"([A-Z])", lambda match: "-" + match[1].lower(), name) for name in properties}
        self.assertEqual({arg.split("=")[0] for arg in args} - flags, set())

    def test_several_replicas_need_a_leader(self) -> None:
        with self.assertRaisesRegex(helm.HelmRenderError, "leaderElection"):
            render({"controller": {"leaderElection": {"enabled": False}}})
        alone = render({"replicaCount": 1, "controller": {"leaderElection": {"enabled": False}}})
        self.assertNotIn("Role swarmscale-system/swarmscale-controller-leader-election", {identity(item) for item in alone})
        self.assertNotIn("PodDisruptionBudget", {item["kind"] for item in alone})

    def test_one_namespace_needs_no_cluster_wide_rights_of_the_controller(self) -> None:
        items = render({"watchNamespace": "fleet", "rbac": {"aggregateUserRoles": False}})
        self.assertFalse([item for item in items if item["kind"].startswith("ClusterRole")])
        role = next(item for item in items if item["kind"] == "Role" and item["metadata"]["namespace"] == "fleet")
        whole = next(item for item in render() if identity(item) == "ClusterRole /swarmscale-controller")
        self.assertEqual(role["rules"], whole["rules"])

    def test_names_and_switches(self) -> None:
        names = {identity(item) for item in render(name="prod", namespace="tools")}
        self.assertIn("Deployment tools/prod-swarmscale-controller", names)
        long = render({"fullnameOverride": "a" * 36})
        self.assertTrue(all(len(item["metadata"]["name"]) <= 63 for item in long))
        off = {"enabled": False}
        values = {"coordinator": off, "webhook": off, "service": off, "podDisruptionBudget": off, "rbac": {"create": False, "aggregateUserRoles": False}, "serviceAccount": {"create": False, "name": "mine"}}
        items = render(values)
        self.assertEqual([item["kind"] for item in items], ["Deployment"])
        self.assertEqual(items[0]["spec"]["template"]["spec"]["serviceAccountName"], "mine")
        files = render({"webhook": {"certificateSecret": "mine"}, "coordinator": off})
        self.assertNotIn("Role swarmscale-system/swarmscale-controller-certificates", {identity(item) for item in files})
        pod = next(item for item in files if item["kind"] == "Deployment")["spec"]["template"]["spec"]
        self.assertEqual(pod["volumes"][0]["secret"]["secretName"], "mine")
        self.assertIn("--webhook-key=/var/run/swarmscale/webhook/tls.key", pod["containers"][0]["args"])
        digest = "sha256:" + "0" * 64
        image = self.container({"image": {"digest": digest, "tag": "x", "repository": "r/s"}})["image"]
        self.assertEqual(image, f"r/s@{digest}")

    def test_annotations_and_labels_of_ones_own_are_on_every_object(self) -> None:
        on = {"enabled": True}
        values = {
            "commonAnnotations": {"example.com/owner": "platform"},
            "commonLabels": {"team": "tools"},
            "serviceAccount": {"annotations": {"example.com/role": "r"}},
            "networkPolicy": on,
            "monitoring": {"serviceMonitor": on, "podMonitor": on, "prometheusRule": on, "dashboard": on},
        }
        items = render(values)
        self.assertGreater(len(items), 20)
        for item in items:
            self.assertEqual(item["metadata"].get("annotations", {}).get("example.com/owner"), "platform", identity(item))
            self.assertEqual(item["metadata"]["labels"]["team"], "tools", identity(item))
        account = next(item for item in items if item["kind"] == "ServiceAccount")
        self.assertEqual(account["metadata"]["annotations"]["example.com/role"], "r")
        service = next(item for item in items if identity(item) == "Service swarmscale-system/swarmscale-controller")
        self.assertEqual(service["metadata"]["annotations"]["prometheus.io/scrape"], "true")

    def test_certificates_from_secrets_volumes_and_variables_reach_the_pod(self) -> None:
        values = {
            "coordinator": {"certificateSecret": "theirs"},
            "webhook": {"certificateSecret": "mine", "timeoutSeconds": 5, "namespaceExpressions": [{"key": "team", "operator": "Exists"}]},
            "extraVolumes": [{"name": "log", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "log", "mountPath": "/log"}],
            "controller": {"page": False, "extraEnvFrom": [{"secretRef": {"name": "proxy"}}], "extraArgs": ["--decision-log=/log/decisions.jsonl"]},
        }
        items = render(values)
        pod = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        self.assertEqual([volume["name"] for volume in pod["volumes"]], ["webhook-certificate", "coordinator-certificate", "log"])
        self.assertEqual([mount["name"] for mount in container["volumeMounts"]], ["webhook-certificate", "coordinator-certificate", "log"])
        folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for flag, file in (("coordinator-certificate", "tls.crt"), ("coordinator-key", "tls.key"), ("worker-ca", "ca.crt")):
            self.assertIn(f"--{flag}={folders['coordinator-certificate']}/{file}", container["args"])
        self.assertIn("--no-page", container["args"])
        self.assertEqual(container["envFrom"], [{"secretRef": {"name": "proxy"}}])
        # Nothing is left for which the controller would need certificates of its own.
        self.assertNotIn("Role swarmscale-system/swarmscale-controller-certificates", {identity(item) for item in items})
        for item in items:
            for webhook in item.get("webhooks", []):
                self.assertEqual(webhook["timeoutSeconds"], 5)
        pods = next(item for item in items if item["kind"] == "MutatingWebhookConfiguration")["webhooks"][0]
        self.assertEqual([expression["key"] for expression in pods["namespaceSelector"]["matchExpressions"]], ["kubernetes.io/metadata.name", "team"])

    def test_network_policy_lets_in_who_is_needed_and_named(self) -> None:
        peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
        items = render({"networkPolicy": {"enabled": True, "metricsFrom": peers}})
        policy = next(item for item in items if item["kind"] == "NetworkPolicy")["spec"]
        pod = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]
        self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), pod["metadata"]["labels"].items())
        rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
        own, *others = rules["http"]
        (test,) = [item for item in render_all() if item["kind"] == "Pod"]
        self.assertLessEqual(own["podSelector"]["matchLabels"].items(), test["metadata"]["labels"].items())
        self.assertEqual(rules | {"http": others}, {"http": peers, "coordinator": [{"namespaceSelector": {}}], "webhook": None})
        self.assertEqual(set(rules), {port["name"] for port in pod["spec"]["containers"][0]["ports"]})

    def test_pod_of_helm_test_asks_the_service_and_is_restricted(self) -> None:
        items = render_all()
        (pod,) = [item for item in items if item["kind"] == "Pod"]
        (container,) = pod["spec"]["containers"]
        service = next(item for item in items if identity(item) == "Service swarmscale-system/swarmscale-controller")
        self.assertEqual(container["command"][-1], f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/readyz")
        # It isn't one of the pods that Services and budgets count.
        self.assertFalse(service["spec"]["selector"].items() <= pod["metadata"]["labels"].items())
        # The namespace enforces Pod Security "restricted".
        self.assertIs(pod["spec"]["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(pod["spec"]["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
        self.assertIs(container["securityContext"]["allowPrivilegeEscalation"], False)

    def test_notes_tell_the_next_step(self) -> None:
        with helm.Chart.load(CHART) as chart:
            notes = chart.render(None, name="prod", namespace="tools")["swarmscale/templates/NOTES.txt"]
        self.assertIn("deployment/prod-swarmscale-controller", notes)
        self.assertIn("kubectl get swa", notes)
        self.assertIn("port-forward deployment/prod-swarmscale-controller 8080", notes)
        self.assertIn("spec.embed", notes)

    def test_chart_can_be_packaged(self) -> None:
        with tempfile.TemporaryDirectory() as folder, helm.Chart.load(CHART) as chart:
            archive = chart.save(folder)
            with helm.Chart.load(archive) as packed:
                self.assertEqual(packed.version, chart.version)
                self.assertEqual(len(packed.crds), 2)


@needs_cluster
class InstalledChart(unittest.TestCase):
    """Installed by Helm's own code on a real API server, whose test node makes the pods Running and Ready."""

    NAMESPACE = "chart-test"

    def test_install_upgrade_rollback_uninstall(self) -> None:
        cluster = Cluster()
        deployment = f"/apis/apps/v1/namespaces/{self.NAMESPACE}/deployments/prod-swarmscale-controller"
        with helm.Config(kubeconfig_path=cluster.state["kubeconfig"], namespace=self.NAMESPACE) as config:
            values: dict[str, Any] = {"commonLabels": {"team": "tools"}}
            config.install(CHART, "prod", values, namespace=self.NAMESPACE, create_namespace=True, wait="watcher", timeout=60)
            installed = cluster.must("GET", deployment)
            self.assertEqual(installed["metadata"]["labels"]["team"], "tools")
            self.assertEqual(installed["status"].get("readyReplicas"), 2)
            cluster.must("GET", "/apis/swarmscale.dev/v1alpha1/swarmautoscalers")

            self.run_tests(cluster, config)

            changed = {"controller": {"logFormat": "json", "syncPeriod": "30s"}, "replicaCount": 3}
            config.upgrade(CHART, "prod", changed, namespace=self.NAMESPACE, wait="watcher", timeout=60)
            self.assertIn("--sync-period=30s", self.args(cluster.must("GET", deployment)))
            config.rollback("prod", version=1, wait="watcher", timeout=60)
            self.assertEqual(self.args(cluster.must("GET", deployment)), self.args(installed))

            config.uninstall("prod", wait="watcher", timeout=60)
        # Nothing is left but what NOTES.txt says: the custom resource definitions.
        self.assertEqual(cluster.send("GET", deployment)[0], 404)
        for kind in ("clusterroles", "clusterrolebindings"):
            items = cluster.must("GET", f"/apis/rbac.authorization.k8s.io/v1/{kind}")["items"]
            self.assertEqual([item["metadata"]["name"] for item in items if item["metadata"]["name"].startswith("prod-")], [])
        cluster.must("GET", "/apis/swarmscale.dev/v1alpha1/swarmautoscalers")

    def run_tests(self, cluster: Cluster, config: helm.Config) -> None:
        """`helm test`, whose pod the test node runs as little as any other: that its container has ended is said here."""
        pod, over = f"/api/v1/namespaces/{self.NAMESPACE}/pods/prod-swarmscale-test", threading.Event()

        def end() -> None:
            while not over.wait(0.2):
                cluster.send("PATCH", f"{pod}/status", {"status": {"phase": "Succeeded"}}, content_type="application/merge-patch+json")

        ending = threading.Thread(target=end)
        ending.start()
        try:
            config.test("prod", timeout=60)
        finally:
            over.set()
            ending.join()
        self.assertEqual(cluster.send("GET", pod)[0], 404, "the test's pod is left behind")

    @staticmethod
    def args(deployment: dict[str, Any]) -> list[str]:
        return list(deployment["spec"]["template"]["spec"]["containers"][0]["args"])

    def test_one_namespace_alone_is_taken_too(self) -> None:
        cluster = Cluster()
        cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": "fleet"}})
        cluster.install(render({"watchNamespace": "fleet"}, name="solo", namespace="fleet"))
