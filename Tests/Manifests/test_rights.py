"""The controller's rights are enough for each request that it sends, and nothing more is granted."""

from __future__ import annotations

import copy
import time
import unittest
from dataclasses import dataclass
from typing import Any

from support import NAMESPACE, SERVICE_ACCOUNT, Cluster, kustomize, needs_cluster

FLEET = "rights-test"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MERGE = "application/merge-patch+json"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"


@dataclass(frozen=True)
class Request:
    """A request of the controller, and where its sources send it."""

    purpose: str
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"


def requests(cluster: Cluster) -> list[Request]:
    """Every kind of request that the controller sends, on objects that `FLEET` holds."""
    swarm = f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/swarmautoscalers"
    apps = f"/apis/apps/v1/namespaces/{FLEET}"
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
    secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    hooks = "/apis/admissionregistration.k8s.io/v1"
    event = {
        "metadata": {"name": "web.1", "namespace": FLEET},
        "involvedObject": {"apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "name": "web", "namespace": FLEET},
        "reason": "SuccessfulRescale",
        "message": "New size: 12",
        "type": "Normal",
    }
    lease = {"metadata": {"name": SERVICE_ACCOUNT}, "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15}}
    scale = cluster.must("GET", f"{apps}/deployments/web/scale")
    return [
        # Informer.swift, ScalingControllerService.swift
        Request("list autoscalers", "GET", "/apis/swarmscale.dev/v1alpha1/swarmautoscalers?limit=500"),
        Request("watch autoscalers", "GET", "/apis/swarmscale.dev/v1alpha1/swarmautoscalers?watch=1"),
        Request("list pods", "GET", "/api/v1/pods?limit=500"),
        Request("watch pods", "GET", "/api/v1/pods?watch=1"),
        # PassReporter.swift
        Request("patch status", "PATCH", f"{swarm}/web/status?fieldManager=swarmscale-controller", {"status": {"reason": "x"}}, MERGE),
        # ScaleTargets.swift, Discovery.swift
        Request("discover a group", "GET", "/apis/apps/v1"),
        Request("read a scale", "GET", f"{apps}/deployments/web/scale"),
        Request("write a scale", "PUT", f"{apps}/deployments/web/scale?fieldManager=swarmscale-controller", scale),
        Request("name a Deployment's writer", "GET", f"{apps}/deployments/web"),
        Request("name a ReplicaSet's writer", "GET", f"{apps}/replicasets/none"),
        Request("name a StatefulSet's writer", "GET", f"{apps}/statefulsets/none"),
        # PodMetricsSource.swift, MetricsAdapters.swift
        Request("read pod metrics", "GET", f"/apis/metrics.k8s.io/v1beta1/namespaces/{FLEET}/pods?labelSelector=app%3Dweb"),
        Request("read a Pods metric", "GET", f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{FLEET}/pods/*/depth?labelSelector=app%3Dweb"),
        Request("read an Object metric", "GET", f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{FLEET}/deployments.apps/web/depth"),
        Request("read a Namespace's metric", "GET", f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{FLEET}/metrics/depth"),
        Request("read an External metric", "GET", f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{FLEET}/depth"),
        # EventRecorder.swift
        Request("create an event", "POST", f"/api/v1/namespaces/{FLEET}/events", event),
        Request("count an event up", "PATCH", f"/api/v1/namespaces/{FLEET}/events/web.1", {"count": 2}, MERGE),
        # LeaderElector.swift
        Request("create the lease", "POST", leases, lease),
        Request("read the lease", "GET", f"{leases}/{SERVICE_ACCOUNT}"),
        Request("renew the lease", "PUT", f"{leases}/{SERVICE_ACCOUNT}", lease),
        # CertificateKeeper.swift
        Request("create the certificates", "POST", secrets, {"metadata": {"name": "swarmscale-certificates"}}),
        Request("read the certificates", "GET", f"{secrets}/swarmscale-certificates"),
        Request("renew the certificates", "PUT", f"{secrets}/swarmscale-certificates", {"metadata": {"name": "swarmscale-certificates"}}),
        *(
            Request(f"{verb} {kind}", method, f"{hooks}/{kind}/swarmscale-webhook", body, "application/strategic-merge-patch+json")
            for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
            for verb, method, body in (("read", "GET", None), ("patch", "PATCH", {"webhooks": []}))
        ),
        # CertificateKeeper.swift, FrontProxyAuthority.swift, LeaderLabel.swift
        Request("read the APIService", "GET", API_SERVICE),
        Request("patch the APIService", "PATCH", API_SERVICE, {"spec": {}}, MERGE),
        Request("read whom API servers trust", "GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"),
        Request("find the leader's pod of before", "GET", f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=swarmscale.dev/leader%3D{SERVICE_ACCOUNT}"),
        Request("label the leader's pod", "PATCH", f"/api/v1/namespaces/{NAMESPACE}/pods/none", {"metadata": {"labels": {}}}, MERGE),
        # FleetCoordinator.swift, TokenReviewAuthenticator.swift, FleetOrderCarrier.swift
        Request("list budgets", "GET", "/apis/swarmscale.dev/v1alpha1/apibudgets?limit=500"),
        Request("watch budgets", "GET", "/apis/swarmscale.dev/v1alpha1/apibudgets?watch=1"),
        Request("patch a budget's status", "PATCH", f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/apibudgets/none/status", {"status": {}}, MERGE),
        Request("review a token", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}}),
        Request("mark a pod", "PATCH", f"/api/v1/namespaces/{FLEET}/pods/none", {"metadata": {"annotations": {}}}, MERGE),
    ]


#: What the controller must never be able to do: (verb, group, resource, subresource, name, namespace).
DANGEROUS = [
    ("get", "", "secrets", "", "", FLEET),
    ("list", "", "secrets", "", "", ""),
    ("get", "", "secrets", "", "", NAMESPACE),
    ("get", "", "configmaps", "", "", FLEET),
    ("create", "", "serviceaccounts", "token", "", NAMESPACE),
    ("create", "", "pods", "", "", FLEET),
    ("delete", "", "pods", "", "", FLEET),
    ("update", "", "pods", "", "", FLEET),
    ("update", "", "secrets", "", "", NAMESPACE),
    ("get", "", "secrets", "", "another", NAMESPACE),
    ("get", "", "secrets", "", "swarmscale-certificates", FLEET),
    ("create", "", "secrets", "", "", FLEET),
    ("delete", "", "secrets", "", "swarmscale-certificates", NAMESPACE),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "another", ""),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", ""),
    ("delete", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "swarmscale-webhook", ""),
    ("patch", "apiregistration.k8s.io", "apiservices", "", "v1beta1.metrics.k8s.io", ""),
    ("update", "apiregistration.k8s.io", "apiservices", "", "v1beta1.external.metrics.k8s.io", ""),
    ("create", "apiregistration.k8s.io", "apiservices", "", "", ""),
    ("get", "", "configmaps", "", "another", "kube-system"),
    ("update", "", "configmaps", "", "extension-apiserver-authentication", "kube-system"),
    ("update", "swarmscale.dev", "apibudgets", "", "", FLEET),
    ("create", "", "pods", "exec", "", FLEET),
    ("get", "", "pods", "log", "", FLEET),
    ("create", "", "pods", "eviction", "", FLEET),
    ("delete", "", "events", "", "", FLEET),
    ("delete", "", "namespaces", "", "", FLEET),
    ("get", "", "nodes", "proxy", "", ""),
    ("list", "apps", "deployments", "", "", FLEET),
    ("update", "apps", "deployments", "", "", FLEET),
    ("patch", "apps", "deployments", "", "", FLEET),
    ("delete", "apps", "deployments", "", "", FLEET),
    ("update", "apps", "deployments", "status", "", FLEET),
    ("create", "swarmscale.dev", "swarmautoscalers", "", "", FLEET),
    ("update", "swarmscale.dev", "swarmautoscalers", "", "", FLEET),
    ("patch", "swarmscale.dev", "swarmautoscalers", "", "", FLEET),
    ("delete", "swarmscale.dev", "swarmautoscalers", "", "", FLEET),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles", "", "", ""),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", "", "", ""),
    ("update", "rbac.authorization.k8s.io", "clusterroles", "", "", ""),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", ""),
    ("impersonate", "", "users", "", "", ""),
    ("update", "coordination.k8s.io", "leases", "", "another", NAMESPACE),
    ("update", "coordination.k8s.io", "leases", "", SERVICE_ACCOUNT, "kube-system"),
    ("delete", "coordination.k8s.io", "leases", "", SERVICE_ACCOUNT, NAMESPACE),
    ("*", "*", "*", "", "", ""),
]


@needs_cluster
class ControllerRights(unittest.TestCase):
    """manifests/rbac on a real API server with RBAC."""

    cluster: Cluster
    requests: list[Request]

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster()
        # The APIService stays the test node's, whose external metrics others of these tests read.
        cls.cluster.install([item for item in kustomize("manifests/bridges/hpa") if item["kind"] != "APIService"])
        cls.cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": FLEET}})
        container = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "1"}}}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        cls.cluster.send("POST", f"/apis/apps/v1/namespaces/{FLEET}/deployments", {"metadata": {"name": "web"}, "spec": spec})
        autoscaler = {
            "apiVersion": "swarmscale.dev/v1alpha1",
            "kind": "SwarmAutoscaler",
            "metadata": {"name": "web"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
        }
        cls.cluster.send("POST", f"/apis/swarmscale.dev/v1alpha1/namespaces/{FLEET}/swarmautoscalers", autoscaler)
        cls.requests = requests(cls.cluster)

    def forbidden(self) -> list[str]:
        """The purposes of the requests that the server forbids; any other answer means that RBAC let it pass."""
        refused = []
        for request in self.requests:
            status, answer = self.cluster.send(
                request.method, request.path, request.body, service_account=SERVICE_ACCOUNT, content_type=request.content_type
            )
            self.assertNotEqual(status, 401, f"{request.purpose}: {answer}")
            if status == 403:
                refused.append(request.purpose)
        return refused

    def wait_until_forbidden(self, expected: bool) -> list[str]:
        """Asks until some request (or none) is forbidden: the authorizer learns of a role's change by a watch."""
        refused: list[str] = []
        for _ in range(40):
            refused = self.forbidden()
            if bool(refused) == expected:
                break
            time.sleep(0.1)
        return refused

    def test_a_stranger_is_forbidden(self) -> None:
        """So that the tests below can fail at all."""
        status, _ = self.cluster.send("GET", "/api/v1/pods", service_account="somebody-else")
        self.assertEqual(status, 403)

    def test_each_request_of_the_controller_is_allowed(self) -> None:
        self.assertEqual(self.wait_until_forbidden(False), [])

    def test_each_verb_is_needed(self) -> None:
        self.assertEqual(self.wait_until_forbidden(False), [])
        for path in (
            f"{RBAC}/clusterroles/swarmscale-controller",
            f"{RBAC}/clusterroles/swarmscale-coordinator",
            f"{RBAC}/clusterroles/swarmscale-webhook",
            f"{RBAC}/clusterroles/swarmscale-bridges",
            f"{RBAC}/namespaces/{NAMESPACE}/roles/swarmscale-controller-leader-election",
            f"{RBAC}/namespaces/{NAMESPACE}/roles/swarmscale-controller-certificates",
        ):
            role = self.cluster.must("GET", path)
            for index, rule in enumerate(role["rules"]):
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        with self.subTest(role=role["metadata"]["name"], resource=resource, verb=verb):
                            self.check_needed(path, role, index, resource, verb)

    def check_needed(self, path: str, role: dict[str, Any], index: int, resource: str, verb: str) -> None:
        """Takes one verb on one resource away: a request must fail then, and pass again afterwards."""
        rules = copy.deepcopy(role["rules"])
        rule = rules[index]
        others = {**rule, "resources": [other for other in rule["resources"] if other != resource]}
        rule["resources"] = [resource]
        rule["verbs"] = [other for other in rule["verbs"] if other != verb]
        kept = [*rules, others]
        self.set_rules(path, [rule for rule in kept if rule["verbs"] and rule["resources"]])
        try:
            self.assertTrue(self.wait_until_forbidden(True), f"no request needs {verb} on {resource}: remove it")
        finally:
            self.set_rules(path, role["rules"])
        self.assertEqual(self.wait_until_forbidden(False), [])

    def set_rules(self, path: str, rules: list[dict[str, Any]]) -> None:
        self.cluster.must("PATCH", path, {"rules": rules}, content_type=MERGE)

    def test_nothing_dangerous_is_allowed(self) -> None:
        for verb, group, resource, subresource, name, namespace in DANGEROUS:
            attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name, "namespace": namespace}
            with self.subTest(**attributes):
                self.assertFalse(self.may(attributes), "the controller must not be allowed this")

    def test_any_kind_with_a_scale_is_allowed(self) -> None:
        for verb in ("get", "update"):
            attributes = {"verb": verb, "group": "example.com", "resource": "fleets", "subresource": "scale", "namespace": FLEET}
            self.assertTrue(self.may(attributes), verb)

    def may(self, attributes: dict[str, str]) -> bool:
        """The API server's own answer about the controller's account."""
        user = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
        review = self.cluster.must(
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}},
        )
        return bool(review["status"]["allowed"])
