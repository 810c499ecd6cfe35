#!/usr/bin/env python3
"""The controller on a full node: real containers burn CPU on command, and their Deployment follows.

Usually started by scripts/lib/test-full-node. By hand, beside a cluster that runs:

  scripts/cluster up
  Tests/Cluster/e2e_node.py --dir DIR-OF-THE-CLUSTER --controller .build/debug/swarmscale-controller
  scripts/cluster down

First the controller runs beside the cluster with a kubeconfig, then inside it as a pod, from manifests/. Nothing in here is exact
to the last percent: use is measured by the kubelet. What is asserted is what a user relies on: the count settles where the measured
use lies inside the band, and stays. Ends with the line `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import atexit
import json
import re
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any, Callable, ClassVar

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from selftest import ROOT, main  # noqa: E402
from swarmcluster.node import BURNER_IMAGE  # noqa: E402
from swarmcluster.plane import ControlPlane  # noqa: E402
from swarmcluster.processes import ClusterError  # noqa: E402

NAMESPACE = "full-node"
NAME = "reviewers"
SYSTEM = "swarmscale-system"
CONTROLLER_IMAGE = "swarmscale.test/controller:1"
LOWER, UPPER = 70, 85
REQUEST = 50
"""Millicores that each worker requests: ten of them, loaded, take a fifth of a machine with two cores."""
FEW, MANY = 5, 10
SHARE = 39
"""Millicores of a worker when the count is right: 78 %, measured as about 77 %, the middle of the band."""
SETTLED_SECONDS = 15
"""How long a count must stand, measured inside the band: as long as the window that the use is averaged over."""
WAIT_SECONDS = 150
"""Longest wait for anything. A step takes about 40 s: the average fills in 15 s, and the windows below come on top."""

AUTOSCALER = {
    "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": {"name": NAME, "namespace": NAMESPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
        "minReplicas": FEW, "maxReplicas": 20, "syncPeriodSeconds": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Band", "lower": LOWER, "upper": UPPER}}}],
        "embed": {"mode": "None"},
        # The measured use is an average of 15 s: growth follows it up at once, a shrink waits until it has come down.
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]},
            "scaleDown": {"stabilizationWindowSeconds": 20, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]},
        },
    },
}  # fmt: skip

WORKERS = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": NAMESPACE},
    "spec": {
        "replicas": FEW, "selector": {"matchLabels": {"app": NAME}},
        "template": {
            "metadata": {"labels": {"app": NAME}},
            "spec": {
                "terminationGracePeriodSeconds": 3,
                "containers": [{
                    "name": "worker", "image": BURNER_IMAGE, "imagePullPolicy": "Never",
                    "resources": {"requests": {"cpu": f"{REQUEST}m"}},
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2},
                }],
            },
        },
    },
}  # fmt: skip

began = time.monotonic()


def say(text: str) -> None:
    """One line of progress."""
    print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)


class Cluster:
    """What the tests do with the cluster, as a user would: kubectl and scripts/cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plane = ControlPlane(folder).load()
        self.connection = self.plane.connection()
        self._kubectl = str(Path(self.plane.state["node"]["kubernetes"], "kubectl"))
        self.logs = folder / "node"
        """For what our own processes write: `scripts/cluster down` removes it, whoever calls that."""
        self._load: subprocess.Popen[bytes] | None = None

    def kubectl(self, *arguments: str, content: Any = None) -> str:
        """The output of one kubectl command; `content` goes to its standard input, as JSON unless it's text."""
        command = [self._kubectl, "--kubeconfig", self.plane.state["kubeconfig"], *arguments]
        text = content if content is None or isinstance(content, str) else json.dumps(content)
        result = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        if result.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """kubectl apply of objects."""
        self.kubectl("apply", "-f", "-", content={"apiVersion": "v1", "kind": "List", "items": objects})

    def image(self, reference: str, program: Path) -> None:
        """An image of one program with the libraries that it needs."""
        self._run("image", reference, f"{program}:/{program.name}")

    def set_total_load(self, millicores: int) -> None:
        """The workers share this much CPU from now on, however many they are."""
        self.end_load()
        command = [str(ROOT / "scripts/cluster"), "--dir", str(self.folder), "load", NAMESPACE, f"app={NAME}"]
        log = (self.logs / "load.log").open("ab")
        self._load = subprocess.Popen([*command, "--total", str(millicores), "--follow"], stdout=log, stderr=log)
        log.close()

    def end_load(self) -> None:
        """Nobody tells the workers what to use any more; they keep to what they heard last."""
        if self._load is not None:
            self._load.kill()
            self._load.wait()
            self._load = None

    def autoscaler(self) -> dict[str, Any]:
        """The SwarmAutoscaler as kubectl shows it."""
        found: dict[str, Any] = json.loads(self.kubectl("-n", NAMESPACE, "get", "swa", NAME, "-o", "json"))
        return found

    def pods(self, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """The pods that aren't on their way out."""
        items = self.connection.json("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def replicas(self) -> int:
        """What the Deployment asks for."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}/scale"
        return int(self.connection.json("GET", path)["spec"]["replicas"])

    def measured(self) -> dict[str, float]:
        """CPU of each measured pod in percent of its request, straight from the metrics API."""
        items = self.connection.json("GET", f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods")["items"]
        return {
            item["metadata"]["name"]: int(item["containers"][0]["usage"]["cpu"].removesuffix("n")) / REQUEST / 10**4 for item in items
        }

    def _run(self, *arguments: str) -> None:
        command = [str(ROOT / "scripts/cluster"), "--dir", str(self.folder), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise AssertionError(f"scripts/cluster {' '.join(arguments)}: {result.stderr.strip()}")


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Running and Ready."""
    conditions = pod["status"].get("conditions") or ()
    return pod["status"]["phase"] == "Running" and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def condition(autoscaler: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition of an autoscaler; empty where there is none of the kind."""
    found: list[dict[str, Any]] = autoscaler.get("status", {}).get("conditions") or []
    return next((entry for entry in found if entry["type"] == kind), {})


cluster: Cluster
controller_binary: Path


def setUpModule() -> None:
    """Custom resources, workers and their autoscaler; the workers busy in the middle of the band."""
    cluster.kubectl("apply", "-k", str(ROOT / "manifests/crd"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/swarmautoscalers.swarmscale.dev", "crd/apibudgets.swarmscale.dev")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, WORKERS, AUTOSCALER)
    cluster.set_total_load(FEW * SHARE)


def tearDownModule() -> None:
    """The cluster goes as a whole; only our own processes end here."""
    cluster.end_load()


class FullNodeTests(unittest.TestCase):
    """What both ways to run the controller have in common. The tests of a class are the steps of one story, in order."""

    @classmethod
    def log(cls) -> str:
        """The controller's log so far."""
        raise NotImplementedError

    @classmethod
    def check_alive(cls) -> None:
        """Fails when the controller has ended."""
        raise NotImplementedError

    @classmethod
    def diagnose(cls) -> None:
        """Prints what explains a failure."""
        say("what the cluster says:")
        for arguments in (("describe", "swa"), ("describe", "deployment"), ("get", "pods", "-o", "wide")):
            try:
                print("\n".join(cluster.kubectl("-n", NAMESPACE, *arguments).splitlines()[-60:]))
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                print(error)
        try:
            print(f"measured, in percent: {cluster.measured()}\nthe controller's log ends with:")
            print("\n".join(cls.log().splitlines()[-40:]), flush=True)
        except (AssertionError, ClusterError, OSError) as error:
            print(error)

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Runs one test; says what is known when it fails, while everything still stands."""
        before = len(result.failures) + len(result.errors) if result else 0
        name = self._testMethodName.removeprefix("test_").replace("_", " ")
        say(f"{type(self).__name__.removesuffix('Tests')} {name}")
        start = time.monotonic()
        ended = super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            say(f"FAILED: {(result.failures + result.errors)[-1][1].strip().splitlines()[-1]}")
            self.diagnose()
        else:
            say(f"passed after {time.monotonic() - start:.0f} s")
        return ended

    @classmethod
    def wait(cls, what: str, attempt: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
        """Polls once a second until there is something true, while the controller lives."""
        deadline = time.monotonic() + seconds
        while not (found := attempt()):
            cls.check_alive()
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {seconds:.0f} s")
            time.sleep(1)
        return found

    def settles(self, least: int, most: int) -> dict[str, Any]:
        """Waits until a count between the two stands for a while: every pod runs and is measured, their use inside the band.

        Returns the autoscaler at that time. Everything is looked at from outside; the controller's own word is compared after.
        """
        since: float | None = None
        seen = ""

        def standing() -> bool:
            nonlocal since, seen
            count, pods, measured = cluster.replicas(), cluster.pods(), cluster.measured()
            names = {pod["metadata"]["name"] for pod in pods if is_ready(pod)}
            percents = [percent for name, percent in measured.items() if name in names]
            mean = sum(percents) / len(percents) if percents else 0
            text = f"{count} workers, {len(names)} ready, {len(percents)} measured"
            if text != seen:
                say(f"  {text}, {mean:.0f} %")
            if text != seen or not (least <= count <= most and count == len(names) == len(pods) == len(percents) and LOWER <= mean <= UPPER):
                since = None
            elif since is None:
                since = time.monotonic()
            seen = text
            return since is not None and time.monotonic() - since >= SETTLED_SECONDS

        self.wait(f"{least} to {most} workers that run, measured inside {LOWER} to {UPPER} %", standing)
        # The status follows the decision by a moment.
        return self.wait("a status that agrees", lambda: self.agreeing(cluster.autoscaler()), 20)

    def agreeing(self, autoscaler: dict[str, Any]) -> dict[str, Any] | None:
        """The autoscaler, if its status says what the cluster looks like."""
        status = autoscaler.get("status", {})
        count = cluster.replicas()
        if not (status.get("currentReplicas") == status.get("desiredReplicas") == count):
            return None
        readings = [entry["resource"]["current"].get("averageUtilization") for entry in status.get("currentMetrics") or ()]
        return autoscaler if len(readings) == 1 and readings[0] is not None and LOWER <= readings[0] <= UPPER else None

    def scalings(self, since: int = 0) -> list[tuple[int, int]]:
        """The changes (from, to) that the controller has logged since that offset of its log; each must be reasoned with the CPU."""
        lines = [line for line in self.log()[since:].splitlines() if f"scaled {NAME} " in line]
        for line in lines:
            self.assertRegex(line, rf"scaled {NAME} \d+→\d+: .*cpu wants \d+ \(\d+ % of {LOWER}–{UPPER}\)")
        return [(int(a), int(b)) for line in lines for a, b in re.findall(rf"scaled {NAME} (\d+)→(\d+)", line)]

    def check_conditions(self, autoscaler: dict[str, Any]) -> None:
        """All is well, and the status is about the present spec."""
        for kind in ("Valid", "AbleToScale", "ScalingActive"):
            self.assertEqual(condition(autoscaler, kind).get("status"), "True", f"{kind}: {condition(autoscaler, kind)}")
        self.assertEqual(autoscaler["status"]["observedGeneration"], autoscaler["metadata"]["generation"])

    def grow(self) -> None:
        """Load for MANY workers: the count goes there without going beyond, and the status and an event tell it."""
        mark, before = len(self.log()), cluster.autoscaler()["status"].get("lastScaleTime", "")
        cluster.set_total_load(MANY * SHARE)
        autoscaler = self.settles(MANY - 1, MANY + 1)
        steps = self.scalings(mark)
        self.assertTrue(steps, "the count changed, but no line of the log says so")
        self.assertEqual((steps[0][0], steps[-1][1]), (FEW, cluster.replicas()))
        for start, end in steps:
            self.assertLess(start, end, f"growth only: {steps}")
            self.assertLessEqual(end, MANY + 1, f"never beyond the load: {steps}")
        self.check_conditions(autoscaler)
        self.assertGreater(autoscaler["status"]["lastScaleTime"], before)
        self.assertEqual(len([pod for pod in cluster.pods() if is_ready(pod)]), cluster.replicas())
        events = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "events", "-o", "json"))["items"]
        rescales = [event["message"] for event in events if event["reason"] == "SuccessfulRescale"]
        self.assertTrue(any(message.startswith(f"New size: {cluster.replicas()};") for message in rescales), rescales)

    def shrink(self) -> None:
        """Load for FEW workers again: the count goes back, not before its window has passed, and never below."""
        mark, count = len(self.log()), cluster.replicas()
        cluster.set_total_load(FEW * SHARE)
        changed = time.monotonic()
        self.wait("a smaller count", lambda: cluster.replicas() < count)
        window = AUTOSCALER["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"]  # type: ignore[index]
        self.assertGreater(time.monotonic() - changed, window)
        autoscaler = self.settles(FEW, FEW)
        steps = self.scalings(mark)
        self.assertEqual((steps[0][0], steps[-1][1]), (count, FEW))
        self.assertTrue(all(start > end for start, end in steps), f"shrinks only: {steps}")
        self.check_conditions(autoscaler)


class BesideTheClusterTests(FullNodeTests):
    """The controller as a process with a kubeconfig."""

    process: ClassVar[subprocess.Popen[bytes]]
    log_file: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        cls.log_file = cluster.logs / "controller.log"
        command = [str(controller_binary), "--kubeconfig", cluster.plane.state["kubeconfig"], "--listen", "127.0.0.1:0", "--no-leader-election"]
        with cls.log_file.open("wb") as log:
            cls.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        atexit.register(cls.end)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.end()

    @classmethod
    def end(cls) -> None:
        """Ends the controller, if it still runs."""
        if cls.process.poll() is None:
            cls.process.kill()
            cls.process.wait()

    @classmethod
    def log(cls) -> str:
        return cls.log_file.read_text(encoding="utf-8", errors="replace")

    @classmethod
    def check_alive(cls) -> None:
        if (code := cls.process.poll()) is not None:
            raise AssertionError(f"the controller has ended with {code}:\n{cls.log()[-2000:]}")

    def test_1_holds_while_the_load_is_inside_the_band(self) -> None:
        autoscaler = self.settles(FEW, FEW)
        self.check_conditions(autoscaler)
        self.assertEqual(self.scalings(), [])
        self.assertNotIn("lastScaleTime", autoscaler["status"])

    def test_2_grows_to_the_right_count(self) -> None:
        self.grow()

    def test_3_shrinks_back(self) -> None:
        self.shrink()

    def test_4_ends_in_good_order(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(timeout=30), 0)


class InsideTheClusterTests(FullNodeTests):
    """The controller as a pod, installed from manifests/: in-cluster configuration, token, rights and leader election."""

    pod: ClassVar[str] = ""

    @classmethod
    def setUpClass(cls) -> None:
        say("making the controller's image")
        cluster.image(CONTROLLER_IMAGE, controller_binary)
        say("installing manifests/default")
        # The manifests as they are, with what a cluster without a registry needs: another image, and no pulling.
        rendered = cluster.kubectl("kustomize", str(ROOT / "manifests/default"))
        # policy/v1 came with Kubernetes 1.21; the budget plays no part with one replica.
        documents = [part for part in rendered.split("\n---\n") if "kind: PodDisruptionBudget" not in part]
        text = cluster.kubectl("apply", "-f", "-", "--dry-run=client", "-o", "json", content="\n---\n".join(documents))
        objects: list[dict[str, Any]] = json.loads(text)["items"]
        for deployment in (item for item in objects if item["kind"] == "Deployment"):
            deployment["spec"]["replicas"] = 1
            for container in deployment["spec"]["template"]["spec"]["containers"]:
                container.update(image=CONTROLLER_IMAGE, imagePullPolicy="Never")
        cluster.apply(*(item for item in objects if item["kind"] != "CustomResourceDefinition"))

    @classmethod
    def diagnose(cls) -> None:
        super().diagnose()
        print("\n".join(cluster.kubectl("-n", SYSTEM, "describe", "pods").splitlines()[-60:]), flush=True)

    @classmethod
    def log(cls) -> str:
        return cluster.kubectl("-n", SYSTEM, "logs", cls.pod) if cls.pod else ""

    @classmethod
    def check_alive(cls) -> None:
        for pod in cluster.pods(SYSTEM):
            for container in pod["status"].get("containerStatuses") or ():
                if container["restartCount"] or "terminated" in container["state"]:
                    raise AssertionError(f"the controller's container has ended: {json.dumps(container)}")

    def test_1_becomes_ready_and_leads(self) -> None:
        ready = self.wait("a ready controller", lambda: [pod for pod in cluster.pods(SYSTEM) if is_ready(pod)], 90)
        type(self).pod = ready[0]["metadata"]["name"]

        def holder() -> str:
            found = cluster.kubectl("-n", SYSTEM, "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}")
            return found if self.pod in found else ""

        self.wait("a lease", holder, 30)

    def test_2_grows_to_the_right_count(self) -> None:
        self.grow()

    def test_3_has_all_the_rights_that_it_needs(self) -> None:
        log = self.log()
        self.assertNotRegex(log.lower(), r"forbidden|unauthorized|\b403\b|\b401\b")
        self.assertNotRegex(log, r"(?m)^.*level=(error|critical)")


def load_tests(loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None) -> unittest.TestSuite:
    """The two stories in their order; not the class that they share."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (BesideTheClusterTests, InsideTheClusterTests))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder of a cluster that scripts/cluster has started")
    parser.add_argument("--controller", type=Path, required=True, help="the controller's binary")
    arguments, rest = parser.parse_known_args()
    # As Ctrl-C: unittest stops, and what runs is ended on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    controller_binary = arguments.controller.resolve()
    cluster = Cluster(arguments.dir)
    atexit.register(cluster.end_load)
    # The steps build on each other: after a failure the rest would only fail slowly.
    sys.argv = [sys.argv[0], "--failfast", *rest]
    sys.exit(main(verbosity=0))
