"""kubectl against the local cluster: the versions that SWARMSCALE_KUBECTLS names."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import unittest

from process import LocalCluster
from server import STRATEGIC

MANIFEST = """
apiVersion: v1
kind: Node
metadata: {name: local}
status: {allocatable: {pods: "20"}, capacity: {pods: "20"}, conditions: [{type: Ready, status: "True"}], nodeInfo: {kubeletVersion: v1.36.0}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "web:1", env: [{name: A, value: "1"}], ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: hunter2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: lease}
spec: {holderIdentity: me, leaseDurationSeconds: 15}
---
apiVersion: swarmscale.dev/v1alpha1
kind: SwarmAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 10}
---
apiVersion: swarmscale.dev/v1alpha1
kind: APIBudget
metadata: {name: claude}
spec: {limits: {requestsPerMinute: 4000}}
"""
KINDS = ["nodes", "deployments", "replicasets", "pods", "configmaps", "secrets", "services", "serviceaccounts", "leases", "swarmautoscalers", "apibudgets", "events", "namespaces"]


class Node(threading.Thread):
    """Runs pods on paper, so that rollouts end."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(daemon=True)
        self.server = cluster.server
        self.ended = threading.Event()

    def run(self) -> None:
        path = "/api/v1/namespaces/default/pods"
        while not self.ended.wait(0.05):
            for pod in self.server.send("GET", path)[1].get("items", []):
                name = pod["metadata"]["name"]
                if pod["metadata"].get("deletionTimestamp"):
                    self.server.send("DELETE", f"{path}/{name}", {"gracePeriodSeconds": 0})
                elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
                    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                              "containerStatuses": [{"name": "web", "image": "web", "imageID": "", "ready": True, "started": True, "restartCount": 0, "state": {"running": {"startedAt": now}}}]}  # fmt: skip
                    self.server.send("PATCH", f"{path}/{name}/status", {"status": status}, type=STRATEGIC)


class KubectlTests(unittest.TestCase):
    """What a user does by hand."""

    def kubectl(self, *arguments: str, succeeds: bool = True, text: str | None = None) -> str:
        """Runs kubectl; its output, errors included."""
        result = subprocess.run(
            [self.program, "--kubeconfig", str(self.cluster.kubeconfig), "--cache-dir", str(self.cluster.folder / "cache"), *arguments],
            input=text, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        output = result.stdout + result.stderr
        self.assertEqual(result.returncode == 0, succeeds, f"{self.program} {' '.join(arguments)}: {output}")
        return output

    def test_all_versions(self) -> None:
        for program in os.environ["SWARMSCALE_KUBECTLS"].split(":"):
            with self.subTest(kubectl=program), LocalCluster() as cluster:
                self.program, self.cluster = program, cluster
                node = Node(cluster)
                node.start()
                try:
                    for step in (self.applies, self.gets, self.describes, self.explains, self.scales, self.rolls, self.patches, self.applies_on_the_server, self.logs, self.deletes):
                        step()
                finally:
                    node.ended.set()
                    node.join()

    def applies(self) -> None:
        """apply, twice, with a change, and with a mistake."""
        self.assertIn("deployment.apps/web created", self.kubectl("apply", "-f", "-", text=MANIFEST))
        self.assertIn("deployment.apps/web unchanged", self.kubectl("apply", "-f", "-", text=MANIFEST))
        changed = MANIFEST.replace("name: A, value: \"1\"", "name: B, value: \"2\"")
        self.assertIn("deployment.apps/web configured", self.kubectl("apply", "-f", "-", text=changed))
        env = json.loads(self.kubectl("get", "deploy", "web", "-o", "json"))["spec"]["template"]["spec"]["containers"][0]["env"]
        self.assertEqual(env, [{"name": "B", "value": "2"}])
        self.assertIn("unknown field \"spec.replcas\"", self.kubectl("apply", "-f", "-", text=MANIFEST.replace("replicas: 3", "replcas: 3"), succeeds=False))
        bad = MANIFEST.replace("maxReplicas: 10", "maxReplicas: 0")
        self.assertIn("spec.maxReplicas", self.kubectl("apply", "-f", "-", text=bad, succeeds=False))
        self.assertIn("conf", self.kubectl("diff", "-f", "-", text=MANIFEST.replace("a: b", "a: c"), succeeds=False))

    def gets(self) -> None:
        """get of everything, in all forms."""
        self.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertRegex(self.kubectl("get", "deploy"), r"web +3/3 +3 +3 ")
        self.assertRegex(self.kubectl("get", "pods"), r"web-\S+ +1/1 +Running +0 ")
        self.assertEqual(len(self.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()), 3)
        self.assertEqual(len(self.kubectl("get", "pods", "--field-selector", "spec.nodeName=local", "-o", "name").split()), 3)
        for kind in KINDS:
            self.assertIn("NAME", self.kubectl("get", kind, "-A", "-o", "wide"), kind)
            self.kubectl("get", kind, "-A", "-o", "yaml")
        self.assertIn("swarmautoscaler.swarmscale.dev/web", self.kubectl("get", "all"))
        self.assertIn("web", self.kubectl("get", "swa"))
        self.assertEqual(self.kubectl("get", "secret", "secret", "-o", "jsonpath={.data.password}"), "aHVudGVyMg==")
        self.assertIn("Scaled up", self.kubectl("events"))
        self.assertIn("NotFound", self.kubectl("get", "pod", "none", succeeds=False))
        # Sent as protobuf, which isn't read; the answer says what to do instead.
        self.assertIn("--dry-run=client -o yaml", self.kubectl("create", "configmap", "x", succeeds=False))
        made = self.kubectl("create", "configmap", "x", "--from-literal=a=b", "--dry-run=client", "-o", "yaml")
        self.assertIn("created", self.kubectl("create", "-f", "-", text=made))
        for name in ("swarmautoscalers", "deployments", "leases"):
            self.assertIn(name, self.kubectl("api-resources"))
        self.kubectl("version")

    def describes(self) -> None:
        """describe of everything."""
        for kind in KINDS:
            self.kubectl("describe", kind, "-A")
        self.assertIn("ScalingReplicaSet", self.kubectl("describe", "deploy", "web"))

    def explains(self) -> None:
        """explain of everything, and of fields."""
        for kind in KINDS:
            self.assertIn("KIND:", self.kubectl("explain", kind), kind)
        self.assertIn("maxSurge", self.kubectl("explain", "deployment.spec.strategy.rollingUpdate"))
        self.assertIn("maxReplicas", self.kubectl("explain", "swarmautoscaler.spec", "--recursive"))

    def scales(self) -> None:
        """scale, with and without a precondition."""
        self.kubectl("scale", "deploy", "web", "--replicas=5")
        self.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=5", "deployment/web", "--timeout=60s")
        self.assertIn("expected replicas", self.kubectl("scale", "deploy", "web", "--replicas=6", "--current-replicas=3", succeeds=False).lower())

    def rolls(self) -> None:
        """set image, rollout status, history and undo."""
        self.kubectl("set", "image", "deploy/web", "web=web:2")
        self.assertIn("successfully rolled out", self.kubectl("rollout", "status", "deploy/web", "--timeout=60s"))
        self.assertIn("REVISION", self.kubectl("rollout", "history", "deploy/web"))
        self.kubectl("rollout", "undo", "deploy/web")
        self.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        self.assertEqual(self.kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"), "web:1")
        self.kubectl("rollout", "restart", "deploy/web")
        self.kubectl("rollout", "status", "deploy/web", "--timeout=60s")

    def patches(self) -> None:
        """patch of three kinds, label and annotate."""
        self.kubectl("patch", "deploy", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","tty":true}]}}}}')
        self.kubectl("patch", "swa", "web", "--type=merge", "-p", '{"spec":{"maxReplicas":20}}')
        self.kubectl("patch", "cm", "conf", "--type=json", "-p", '[{"op":"add","path":"/data/x","value":"y"}]')
        self.kubectl("label", "cm", "conf", "a=b")
        self.kubectl("annotate", "deploy", "web", "a=b")
        self.kubectl("replace", "-f", "-", text='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":{"z":"1"}}')
        self.assertEqual(self.kubectl("get", "cm", "conf", "-o", "jsonpath={.data}"), '{"z":"1"}')

    def applies_on_the_server(self) -> None:
        """apply --server-side, with a conflict."""
        self.assertIn("conflict", self.kubectl("apply", "--server-side", "-f", "-", text=MANIFEST, succeeds=False))
        self.assertIn("serverside-applied", self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=MANIFEST))

    def logs(self) -> None:
        """logs say why there are none."""
        self.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        self.assertIn("no node that could run", self.kubectl("logs", "deploy/web", succeeds=False))

    def deletes(self) -> None:
        """delete waits until all of it has gone."""
        self.kubectl("delete", "pod", "-l", "app=web", "--timeout=60s")
        self.kubectl("delete", "-f", "-", text=MANIFEST.split("---", 1)[1])
        self.kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
        self.assertIn("No resources found", self.kubectl("get", "pods,rs,deploy,swa"))


if __name__ == "__main__":
    unittest.main()
