"""manifests/ renders, is safe by the "restricted" standard, and a real API server takes it."""

from __future__ import annotations

import json
import unittest
from typing import Any

from support import NAMESPACE, Cluster, identity, kustomize, needs_cluster


class RenderedManifests(unittest.TestCase):
    """What `kubectl kustomize manifests/default` gives."""

    items: list[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.items = kustomize("manifests/default")

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """The only object of a kind, or of that name."""
        found = [item for item in self.items if item["kind"] == kind and name in ("", item["metadata"]["name"])]
        self.assertEqual(len(found), 1, kind)
        return found[0]

    def test_everything_is_there_once(self) -> None:
        names = [identity(item) for item in self.items]
        self.assertEqual(len(names), len(set(names)))
        expected = {
            "Namespace /swarmscale-system",
            "CustomResourceDefinition /swarmautoscalers.swarmscale.dev",
            "CustomResourceDefinition /apibudgets.swarmscale.dev",
            "ServiceAccount swarmscale-system/swarmscale-controller",
            "ClusterRole /swarmscale-controller",
            "ClusterRoleBinding /swarmscale-controller",
            "ClusterRole /swarmscale-view",
            "ClusterRole /swarmscale-edit",
            "Role swarmscale-system/swarmscale-controller-leader-election",
            "RoleBinding swarmscale-system/swarmscale-controller-leader-election",
            "Role swarmscale-system/swarmscale-controller-certificates",
            "RoleBinding swarmscale-system/swarmscale-controller-certificates",
            "ClusterRole /swarmscale-coordinator",
            "ClusterRoleBinding /swarmscale-coordinator",
            "ClusterRole /swarmscale-webhook",
            "ClusterRoleBinding /swarmscale-webhook",
            "MutatingWebhookConfiguration /swarmscale-webhook",
            "ValidatingWebhookConfiguration /swarmscale-webhook",
            "Deployment swarmscale-system/swarmscale-controller",
            "Service swarmscale-system/swarmscale-controller",
            "Service swarmscale-system/swarmscale-coordinator",
            "Service swarmscale-system/swarmscale-webhook",
            "PodDisruptionBudget swarmscale-system/swarmscale-controller",
            "NetworkPolicy swarmscale-system/swarmscale-controller",
            "PriorityClass /swarmscale-controller",
        }
        self.assertEqual(set(names), expected)

    def test_selectors_match_the_pods(self) -> None:
        labels = self.one("Deployment")["spec"]["template"]["metadata"]["labels"]
        for selector in (
            self.one("Deployment")["spec"]["selector"]["matchLabels"],
            *(item["spec"]["selector"] for item in self.items if item["kind"] == "Service"),
            self.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            self.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            *(spread["labelSelector"]["matchLabels"] for spread in self.one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]),
        ):
            self.assertLessEqual(selector.items(), labels.items())

    def test_bindings_name_existing_roles_and_the_account_of_the_pods(self) -> None:
        account = self.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
        names = {identity(item) for item in self.items}
        for item in self.items:
            if not item["kind"].endswith("Binding"):
                continue
            namespace = item["metadata"].get("namespace", "")
            self.assertIn(f"{item['roleRef']['kind']} {namespace}/{item['roleRef']['name']}", names)
            self.assertEqual(item["subjects"], [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}])

    def test_pods_meet_pod_security_restricted(self) -> None:
        """https://kubernetes.io/docs/concepts/security/pod-security-standards/, each rule that applies to this pod."""
        pod = self.one("Deployment")["spec"]["template"]["spec"]
        self.assertEqual(self.one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        for forbidden in ("hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"):
            self.assertNotIn(forbidden, pod)
        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
        self.assertGreater(pod["securityContext"]["runAsUser"], 0)
        self.assertEqual(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
        for container in pod["containers"]:
            context = container["securityContext"]
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertIs(context["readOnlyRootFilesystem"], True)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            self.assertNotIn("hostPort", json.dumps(container["ports"]))

    def test_probes_and_service_use_a_port_that_the_controller_listens_on(self) -> None:
        container = self.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
        port = next(port for port in container["ports"] if port["name"] == "http")["containerPort"]
        self.assertIn(f"--listen=0.0.0.0:{port}", container["args"])
        self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/healthz", "port": "http"})
        self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "http"})
        self.assertEqual(self.one("Service", "swarmscale-controller")["spec"]["ports"][0]["targetPort"], "http")
        self.assertEqual(self.one("Service", "swarmscale-controller")["metadata"]["annotations"]["prometheus.io/port"], str(port))

    def test_webhooks_lead_to_ports_that_the_controller_listens_on_and_spare_its_own_namespace(self) -> None:
        container = self.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
        for name in ("webhook", "coordinator"):
            service = self.one("Service", f"swarmscale-{name}")
            port = next(port for port in container["ports"] if port["name"] == service["spec"]["ports"][0]["targetPort"])
            self.assertIn(f"--{name}-listen=0.0.0.0:{port['containerPort']}", container["args"])
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            for webhook in self.one(kind)["webhooks"]:
                target = webhook["clientConfig"]["service"]
                self.one("Service", target["name"])
                self.assertEqual(target["namespace"], NAMESPACE)
                self.assertEqual(webhook["failurePolicy"], "Ignore")
        namespaces = self.one("MutatingWebhookConfiguration")["webhooks"][0]["namespaceSelector"]["matchExpressions"]
        self.assertEqual(namespaces[0]["values"], ["kube-system", NAMESPACE])

    def test_network_policy_lets_in_at_each_port_of_the_pods(self) -> None:
        for folder in ("manifests/default", "manifests/bridges/hpa", "manifests/bridges/keda"):
            items = kustomize(folder)
            container = next(item for item in items if item["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]
            policy = next(item for item in items if item["kind"] == "NetworkPolicy")["spec"]
            open_ports = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
            self.assertEqual(sorted(open_ports), sorted(port["name"] for port in container["ports"]), folder)

    def test_priority_is_that_of_the_class(self) -> None:
        self.assertEqual(self.one("Deployment")["spec"]["template"]["spec"]["priorityClassName"], self.one("PriorityClass")["metadata"]["name"])
        self.assertGreater(self.one("PriorityClass")["value"], 0)

    def test_lease_is_the_one_that_the_role_allows(self) -> None:
        args = self.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
        name = next(arg.split("=", 1)[1] for arg in args if arg.startswith("--leader-election-name="))
        role = self.one("Role", "swarmscale-controller-leader-election")
        self.assertEqual([rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule], [[name]])


@needs_cluster
class AppliedManifests(unittest.TestCase):
    """A real API server's word."""

    def test_a_server_side_dry_run_and_an_apply_succeed(self) -> None:
        cluster = Cluster()
        items = kustomize("manifests/default")
        cluster.install([item for item in items if item["kind"] in ("Namespace", "CustomResourceDefinition")])
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": cluster.fitted(items)})
        answer = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=text)
        self.assertEqual(len(answer.strip().splitlines()), len(items), answer)
        cluster.install(items)
        deployment = cluster.must("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/swarmscale-controller")
        sent = next(item for item in items if item["kind"] == "Deployment")
        self.assert_kept(sent["spec"], deployment["spec"], "spec")

    def assert_kept(self, sent: Any, stored: Any, path: str) -> None:
        """Every field that was sent is stored: an unknown or misplaced field would have been dropped silently."""
        if isinstance(sent, dict):
            for key, value in sent.items():
                self.assertIn(key, stored, f"{path}.{key} was dropped by the server")
                self.assert_kept(value, stored[key], f"{path}.{key}")
        elif isinstance(sent, list):
            self.assertEqual(len(sent), len(stored), path)
            for index, (one, other) in enumerate(zip(sent, stored)):
                self.assert_kept(one, other, f"{path}[{index}]")
        else:
            self.assertEqual(sent, stored, path)
