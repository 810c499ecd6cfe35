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
SUBGROUPS = {"externalMetrics", "issuerRef", "keda", "leaderElection", "serviceMonitor", "podMonitor", "prometheusRule", "dashboard"}

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
    """Without Helm's own labels, and without the annotation by which it keeps definitions."""
    if isinstance(value, dict):
        kept = {key: normalised(item) for key, item in value.items() if key not in HELM_LABELS and key != "helm.sh/resource-policy"}
        return {key: item for key, item in kept.items() if key != "annotations" or item}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    return value


def certified(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The objects of cert-manager, by kind and name."""
    return {f"{item['kind']} {item['metadata']['name']}": item["spec"] for item in items if item["apiVersion"] == "cert-manager.io/v1"}


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
            if item["kind"] != "Namespace"
        }
        self.assertEqual(set(chart), set(plain))
        for name, item in plain.items():
            self.assertEqual(chart[name], item, name)

    def test_bridges_render_what_manifests_hold(self) -> None:
        for folder, bridge in (("hpa", "externalMetrics"), ("keda", "keda")):
            chart = {identity(item): normalised(item) for item in render({"bridges": {bridge: {"enabled": True}}})}
            plain = {identity(item): normalised(item) for item in kustomize(f"manifests/bridges/{folder}")}
            for name in [name for name in plain if name.split()[0] == "Namespace"]:
                del plain[name]
            self.assertEqual(chart, plain, folder)
        both = {"externalMetrics": {"enabled": True}, "keda": {"enabled": True, "tls": True}}
        service = next(item for item in render({"bridges": both}) if identity(item).endswith("/swarmscale-bridges"))
        self.assertEqual([port["name"] for port in service["spec"]["ports"]], ["ext-metrics", "keda"])
        role = [item for item in render({"bridges": both, "coordinator": {"enabled": False}}) if identity(item) == f"Role {NAMESPACE}/swarmscale-bridges"]
        self.assertEqual(role[0]["rules"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}])
        with self.assertRaisesRegex(helm.HelmRenderError, "leaderElection"):
            render({"replicaCount": 1, "bridges": both, "controller": {"leaderElection": {"enabled": False}}})

    def test_custom_resource_definitions_are_the_same_files(self) -> None:
        # Helm never upgrades what is in a folder of this name.
        self.assertFalse((CHART / "crds").exists())
        names = sorted(file.name for file in (CHART / "files/crds").iterdir())
        expected = sorted(file.name for file in (REPOSITORY / "manifests/crd").iterdir() if file.name != "kustomization.yaml")
        self.assertEqual(names, expected)
        for name in names:
            same = filecmp.cmp(CHART / "files/crds" / name, REPOSITORY / "manifests/crd" / name, shallow=False)
            self.assertTrue(same, f"cp manifests/crd/{name} Helm/swarmscale/files/crds/")

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
        source = (REPOSITORY / "Sources/Observability/Version.swift").read_text()
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

    def test_one_namespace_needs_only_what_belongs_to_no_namespace(self) -> None:
        on = {"enabled": True}
        values = {"watchNamespace": "fleet", "bridges": {"externalMetrics": on, "keda": on}}
        whole = {identity(item): item for item in render({"bridges": values["bridges"]})}
        alone = {identity(item): item for item in render(values, namespace="tools")}
        rights = {name: item["rules"] for name, item in alone.items() if item["kind"] in ("Role", "ClusterRole") and not name.endswith(("-view", "-edit"))}
        review = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
        # What the whole cluster's roles grant, in the one namespace; but for reviews of tokens, which belong to none.
        self.assertEqual(rights["Role fleet/swarmscale-controller"], whole["ClusterRole /swarmscale-controller"]["rules"])
        coordinator = whole["ClusterRole /swarmscale-coordinator"]["rules"]
        self.assertEqual(rights["Role fleet/swarmscale-coordinator"], [rule for rule in coordinator if rule != review])
        self.assertIn(review, coordinator)
        self.assertEqual(
            {name: rules for name, rules in rights.items() if name.startswith("ClusterRole")},
            {
                "ClusterRole /swarmscale-tools-coordinator": [review],
                "ClusterRole /swarmscale-tools-webhook": [{**whole["ClusterRole /swarmscale-webhook"]["rules"][0], "resourceNames": ["swarmscale-tools-webhook"]}],
                "ClusterRole /swarmscale-tools-bridges": whole["ClusterRole /swarmscale-bridges"]["rules"],
            },
        )
        # The leader labels its own pod, which is elsewhere than the fleet.
        self.assertEqual(rights["Role tools/swarmscale-bridges"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch"]}])
        for item in alone.values():
            if item["kind"].endswith("Binding"):
                namespace = item["metadata"].get("namespace", "")
                if item["roleRef"]["name"] != "extension-apiserver-authentication-reader":
                    self.assertIn(f"{item['roleRef']['kind']} {namespace}/{item['roleRef']['name']}", alone)
                self.assertEqual(item["subjects"][0]["namespace"], "tools")

    def test_one_namespace_can_do_without_anything_of_the_cluster(self) -> None:
        off = {"enabled": False}
        values = {"watchNamespace": "fleet", "crds": {"install": False}, "rbac": {"aggregateUserRoles": False}, "coordinator": off, "webhook": off, "bridges": {"keda": {"enabled": True}}}
        self.assertEqual({item["metadata"].get("namespace") for item in render(values, namespace="fleet")}, {"fleet"})

    def test_webhook_of_one_namespace_asks_about_that_namespace(self) -> None:
        for namespace in ("fleet", "tools"):
            items = render({"watchNamespace": "fleet"}, namespace=namespace)
            hooks = [item for item in items if item["kind"].endswith("WebhookConfiguration")]
            self.assertEqual(len(hooks), 2)
            for hook in hooks:
                self.assertEqual(hook["metadata"]["name"], f"swarmscale-{namespace}-webhook")
                selector = hook["webhooks"][0]["namespaceSelector"]["matchExpressions"]
                self.assertEqual(selector, [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["fleet"]}])
            deployment = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]
            self.assertIn(f"--webhook-configuration=swarmscale-{namespace}-webhook", deployment["spec"]["containers"][0]["args"])
            # In the fleet's own namespace the webhook's pods must start without it.
            self.assertEqual(deployment["metadata"]["labels"].get("swarmscale.dev/embed"), "disabled" if namespace == "fleet" else None)
            excluded = next(item for item in hooks if item["kind"].startswith("Mutating"))["webhooks"][0]["objectSelector"]["matchExpressions"]
            self.assertEqual(excluded, [{"key": "swarmscale.dev/embed", "operator": "NotIn", "values": ["disabled"]}])

    def test_names_and_switches(self) -> None:
        names = {identity(item) for item in render(name="prod", namespace="tools")}
        self.assertIn("Deployment tools/prod-swarmscale-controller", names)
        long = render({"fullnameOverride": "a" * 36})
        self.assertTrue(all(len(item["metadata"]["name"]) <= 63 for item in long))
        off = {"enabled": False}
        values = {"coordinator": off, "webhook": off, "service": off, "podDisruptionBudget": off, "networkPolicy": off, "priorityClass": {"create": False}, "crds": {"install": False}, "rbac": {"create": False, "aggregateUserRoles": False}, "serviceAccount": {"create": False, "name": "mine"}}
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
            "certManager": on,
            "bridges": {"externalMetrics": on},
            "monitoring": {"serviceMonitor": on, "podMonitor": on, "prometheusRule": on, "dashboard": on},
        }
        items = render(values)
        self.assertGreater(len(items), 30)
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
        items = render({"networkPolicy": {"metricsFrom": peers}})
        policy = next(item for item in items if item["kind"] == "NetworkPolicy")["spec"]
        pod = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]
        self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), pod["metadata"]["labels"].items())
        rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
        own, *others = rules["http"]
        (test,) = [item for item in render_all() if item["kind"] == "Pod"]
        self.assertLessEqual(own["podSelector"]["matchLabels"].items(), test["metadata"]["labels"].items())
        self.assertEqual(rules | {"http": others}, {"http": peers, "coordinator": [{"namespaceSelector": {}}], "webhook": None})
        self.assertEqual(set(rules), {port["name"] for port in pod["spec"]["containers"][0]["ports"]})

        everybody = next(item for item in render({"networkPolicy": {"workersFrom": []}}) if item["kind"] == "NetworkPolicy")["spec"]
        self.assertNotIn("from", next(rule for rule in everybody["ingress"] if rule["ports"][0]["port"] == "coordinator"))

    def test_definitions_are_kept_unless_told_otherwise(self) -> None:
        for values, policy in (({}, "keep"), ({"crds": {"keep": False}}, None)):
            definitions = [item for item in render(values) if item["kind"] == "CustomResourceDefinition"]
            self.assertEqual([item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for item in definitions], [policy] * 2)
        self.assertNotIn("CustomResourceDefinition", {item["kind"] for item in render({"crds": {"install": False}})})

    def test_pods_have_the_priority_of_the_class_that_there_is(self) -> None:
        for values, name, made in (
            ({}, "swarmscale-controller", True),
            ({"priorityClassName": "high"}, "high", False),
            ({"priorityClass": {"create": False}}, None, False),
            ({"watchNamespace": "fleet"}, None, False),
        ):
            with self.subTest(values=values):
                items = render(values)
                pod = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]["spec"]
                self.assertEqual(pod.get("priorityClassName"), name)
                self.assertEqual("PriorityClass swarmscale-controller" in {f"{item['kind']} {item['metadata']['name']}" for item in items}, made)

    def test_cert_manager_makes_the_certificate_of_every_server(self) -> None:
        on = {"enabled": True}
        bridges = {"externalMetrics": on, "keda": {"enabled": True, "tls": True}}
        items = render({"certManager": on, "bridges": bridges}, name="prod")
        made = certified(items)
        serving = made["Certificate prod-swarmscale-serving"]
        # An authority of the release's own: self-signed, then it signs.
        authority = made["Certificate prod-swarmscale-authority"]
        self.assertEqual(made[f"Issuer {authority['issuerRef']['name']}"], {"selfSigned": {}})
        self.assertEqual(made[f"Issuer {serving['issuerRef']['name']}"], {"ca": {"secretName": authority["secretName"]}})
        self.assertIs(authority["isCA"], True)
        # Every Service over TLS, by the names that API servers, workers and KEDA use.
        for service in ("webhook", "coordinator", "bridges"):
            self.assertIn(f"prod-swarmscale-{service}.{NAMESPACE}.svc", serving["dnsNames"])
        pod = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]["spec"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        (volume,) = pod["volumes"]
        self.assertEqual((volume["name"], volume["secret"]["secretName"]), (mount["name"], serving["secretName"]))
        self.assertIn(f"--certificate-folder={mount['mountPath']}", pod["containers"][0]["args"])
        # cert-manager's cainjector tells API servers, and the controller has no right to.
        for item in items:
            if item["kind"].endswith("WebhookConfiguration") or item["kind"] == "APIService":
                self.assertEqual(item["metadata"]["annotations"], {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/prod-swarmscale-serving"})
        granted = {resource for item in items if item["kind"].endswith("Role") for rule in item["rules"] for resource in rule["resources"]}
        self.assertFalse(granted & {"secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "apiservices"})

    def test_cert_manager_with_an_issuer_of_ones_own(self) -> None:
        issuer = {"name": "corporate", "kind": "ClusterIssuer"}
        made = certified(render({"certManager": {"enabled": True, "issuerRef": issuer, "duration": "48h", "renewBefore": "16h"}}))
        self.assertEqual(list(made), ["Certificate swarmscale-serving"])
        serving = made["Certificate swarmscale-serving"]
        self.assertEqual(serving["issuerRef"], {**issuer, "group": "cert-manager.io"})
        self.assertEqual((serving["duration"], serving["renewBefore"]), ("48h", "16h"))

    def test_cert_manager_leaves_secrets_that_are_named_alone(self) -> None:
        named = {"webhook": {"certificateSecret": "mine", "annotations": {"cert-manager.io/inject-ca-from": "a/b"}}}
        items = render({"certManager": {"enabled": True}, **named})
        self.assertEqual({name.split(".")[0] for name in certified(items)["Certificate swarmscale-serving"]["dnsNames"]}, {"swarmscale-coordinator"})
        hook = next(item for item in items if item["kind"] == "MutatingWebhookConfiguration")
        self.assertEqual(hook["metadata"]["annotations"], {"cert-manager.io/inject-ca-from": "a/b"})
        self.assertFalse(certified(render({"certManager": {"enabled": True}, **named, "coordinator": {"certificateSecret": "theirs"}})))

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
                self.assertEqual([file["name"] for file in packed.files if file["name"].startswith("files/crds/")], ["files/crds/apibudgets.yaml", "files/crds/swarmautoscalers.yaml"])


@needs_cluster
class InstalledChart(unittest.TestCase):
    """Installed by Helm's own code on a real API server, whose test node makes the pods Running and Ready."""

    NAMESPACE = "chart-test"

    def test_install_upgrade_rollback_uninstall(self) -> None:
        cluster = Cluster()
        deployment = f"/apis/apps/v1/namespaces/{self.NAMESPACE}/deployments/prod-swarmscale-controller"
        with helm.Config(kubeconfig_path=cluster.state["kubeconfig"], namespace=self.NAMESPACE) as config:
            values: dict[str, Any] = {"commonLabels": {"team": "tools"}}
            # Other tests may have applied them by kubectl.
            cluster.adopt_definitions("prod", self.NAMESPACE)
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
