#!/usr/bin/env python3
"""A fleet on a full node: the webhook embeds the sidecar, a real client works through it, and a shrink costs nobody its work.

Started by scripts/lib/test-full-node and Tests/Image/run --full-node. By hand, beside a cluster that runs:

  Tests/Cluster/e2e_fleet.py --dir DIR-OF-THE-CLUSTER --programs .build/debug

manifests/default is installed as it is, with both replicas. The workers are containers of their own that know nothing but ANTHROPIC_BASE_URL:
fleet_worker.py with the anthropic SDK from a virtual environment of this machine, against mock-claude. Ends with the line `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import atexit
import calendar
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import e2e_node  # noqa: E402
from e2e_node import SYSTEM, Cluster, condition, is_ready, say  # noqa: E402
from selftest import ROOT, main  # noqa: E402
from swarmcluster.node import BURNER_IMAGE, GATEWAY  # noqa: E402

NAMESPACE = "fleet"
NAME = "agents"
IMAGE = "swarmscale/swarmscale:0.1.0"
"""What the manifests name, and what the webhook embeds."""
SIDECAR = "swarmscale-sidecar"
FEW, MANY = 3, 8
METRIC = "open-tasks"
TURNS = (3, 6)
"""Fewest and most turns of a task: 5 to 13 s of work."""
WHEREABOUTS = f"swarmscale-coordinator.{SYSTEM}.svc"

AUTOSCALER = {
    "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": {"name": NAME, "namespace": NAMESPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
        "minReplicas": 1, "maxReplicas": MANY, "syncPeriodSeconds": 3,
        "metrics": [{"type": "External", "external": {"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": "1"}}}],
        "embed": {}, "drain": {"timeout": "5m"},
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 1000, "periodSeconds": 5}]},
            "scaleDown": {"stabilizationWindowSeconds": 0, "tolerance": "0"},
        },
    },
}  # fmt: skip

BUDGET = {
    "apiVersion": "swarmscale.dev/v1alpha1", "kind": "APIBudget", "metadata": {"name": "sonnet", "namespace": NAMESPACE},
    "spec": {"models": ["claude-sonnet-*"], "limits": {"requestsPerMinute": 4000, "inputTokensPerMinute": "2M", "outputTokensPerMinute": "400k"}},
}  # fmt: skip


class Queue:
    """Tasks without end, each given to one worker; who had which when, by this machine's clock, which is the cluster's as well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: dict[int, dict[str, Any]] = {}
        queue = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(queue.take(body) if self.path == "/take" else queue.end(body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((GATEWAY, 0), Handler)
        self.url = f"http://{GATEWAY}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next task."""
        with self._lock:
            number = len(self._given)
            self._given[number] = {"worker": body["worker"], "begin": time.time(), "end": None, "failures": []}
        least, most = TURNS
        return {"task": {"id": number, "turns": least + number % (most - least + 1), "tokens": 50, "tool": 1}}

    def end(self, body: dict[str, Any]) -> dict[str, Any]:
        """Takes in what came of a task."""
        with self._lock:
            task = self._given[body["id"]]
            if task["end"] is not None or task["worker"] != body["worker"]:
                body["failures"].append("done twice, or by another worker")
            task["end"], task["failures"] = time.time(), body["failures"]
        return {}

    def tasks(self, worker: str | None = None) -> list[dict[str, Any]]:
        """All tasks that were given, or those of one worker."""
        with self._lock:
            return [dict(task) for task in self._given.values() if worker in (None, task["worker"])]

    def workers_at_work(self) -> set[str]:
        """Who has a task now."""
        return {task["worker"] for task in self.tasks() if task["end"] is None}

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


class Upstream:
    """mock-claude, and a way to it from the pods: it listens on loopback alone."""

    def __init__(self, program: Path, folder: Path) -> None:
        ready = folder / "mock-claude.url"
        ready.unlink(missing_ok=True)
        with (folder / "mock-claude.log").open("wb") as log:
            self._process = subprocess.Popen([str(program), "--ready-file", str(ready)], stdout=log, stderr=log)
        while not ready.exists():
            if self._process.poll() is not None:
                raise AssertionError(f"mock-claude has ended: {(folder / 'mock-claude.log').read_text()}")
            time.sleep(0.05)
        self.admin = ready.read_text().strip()
        self._port = int(self.admin.rpartition(":")[2])
        self._listener = socket.create_server((GATEWAY, 0))
        self.url = f"http://{GATEWAY}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def oracle(self) -> dict[str, Any]:
        """What was truly asked and charged."""
        with urllib.request.urlopen(f"{self.admin}/admin/oracle?seconds=600", timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def close(self) -> None:
        """Ends it."""
        self._listener.close()
        self._process.terminate()
        self._process.wait()


class Witness:
    """Sees each pod until it is gone: when its end was asked for, and how its containers ended."""

    def __init__(self, cluster: Cluster) -> None:
        self._connection = cluster.plane.connection()
        self._lock = threading.Lock()
        self._pods: dict[str, dict[str, Any]] = {}
        self._present: set[str] = set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ends.wait(0.2):
            items = self._connection.json("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
            with self._lock:
                self._present = {pod["metadata"]["name"] for pod in items}
                self._pods.update({pod["metadata"]["name"]: pod for pod in items})

    def pods(self) -> list[dict[str, Any]]:
        """Each pod as it was last."""
        with self._lock:
            return list(self._pods.values())

    def removed(self) -> dict[str, float]:
        """When the end of pods was asked for, in whole seconds, as the API server writes them."""
        asked = {}
        for pod in self.pods():
            if stamp := pod["metadata"].get("deletionTimestamp"):
                moment = calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
                asked[pod["metadata"]["name"]] = moment - pod["metadata"]["deletionGracePeriodSeconds"]
        return asked

    def has_ended(self, name: str) -> bool:
        """Whether a pod is gone, or all its containers have ended."""
        with self._lock:
            pod, is_present = self._pods[name], name in self._present
        states = [status["state"] for status in pod["status"].get("containerStatuses") or ()]
        return not is_present or bool(states) and all("terminated" in state for state in states)

    def close(self) -> None:
        """Stops to look."""
        self._ends.set()
        self._thread.join()


def workers(queue: Queue, upstream: Upstream, coordinator: str, python: Path) -> dict[str, Any]:
    """The Deployment of the agents: this machine's Python in an image that has none, and nothing of ours."""
    prefix = subprocess.run([str(python), "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True).stdout.strip()
    folders = {"/usr": "/usr", "/lib": "/usr/lib", "/lib64": "/usr/lib64", str(python.parents[1]): str(python.parents[1])}
    folders |= {"/agent": str(ROOT / "Tests/Cluster")}
    if not prefix.startswith("/usr"):
        folders[prefix] = prefix
    present = {there: here for there, here in folders.items() if Path(here).is_dir()}
    names = {there: f"folder-{number}" for number, there in enumerate(present)}
    container = {
        "name": "agent", "image": BURNER_IMAGE, "imagePullPolicy": "Never", "command": [str(python), "/agent/fleet_worker.py"],
        "env": [
            {"name": "QUEUE", "value": queue.url}, {"name": "ANTHROPIC_UPSTREAM", "value": upstream.url},
            {"name": "ANTHROPIC_API_KEY", "value": "no-key"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "volumeMounts": [{"name": names[there], "mountPath": there, "readOnly": True} for there in present],
    }  # fmt: skip
    pod = {
        # The node has no DNS: where the webhook's address of the coordinator leads is told by hand.
        "hostAliases": [{"ip": coordinator, "hostnames": [WHEREABOUTS]}],
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": names[there], "hostPath": {"path": here}} for there, here in present.items()],
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
        },
    }  # fmt: skip


class FleetTests(e2e_node.FullNodeTests):
    """One story: installed, embedded, grown, at work, shrunk, and a worker taken away by hand."""

    programs: ClassVar[Path]
    python: ClassVar[Path]
    archive: ClassVar[Path | None] = None
    queue: ClassVar[Queue]
    upstream: ClassVar[Upstream]
    witness: ClassVar[Witness]

    @classmethod
    def setUpClass(cls) -> None:
        cluster = e2e_node.cluster
        cls.queue = Queue()
        cls.upstream = Upstream(cls.programs / "mock-claude", cluster.logs)
        atexit.register(cls.upstream.close)
        say("giving the image to containerd")
        if cls.archive:
            cluster._run("import", str(cls.archive))
        else:
            files = [f"{cls.programs / name}:/usr/local/bin/{name}" for name in ("swarmscale-controller", SIDECAR)]
            cluster._run("image", IMAGE, *files)
        cls.install()
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cls.witness = Witness(cluster)

    @classmethod
    def install(cls) -> None:
        """Installs the controller."""
        say("installing manifests/default")
        e2e_node.cluster.kubectl("apply", "-f", "-", content=cls.manifests())

    @staticmethod
    def manifests() -> str:
        """manifests/default; before Kubernetes 1.21 a PodDisruptionBudget is policy/v1beta1."""
        rendered = e2e_node.cluster.kubectl("kustomize", str(ROOT / "manifests/default"))
        minor = int(json.loads(e2e_node.cluster.kubectl("get", "--raw", "/version"))["minor"].rstrip("+"))
        return rendered if minor >= 21 else rendered.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.witness.close()
        cls.upstream.close()
        cls.queue.close()

    @classmethod
    def controllers(cls) -> list[dict[str, Any]]:
        """The controller's pods that run."""
        return [pod for pod in e2e_node.cluster.pods(SYSTEM) if is_ready(pod)]

    @classmethod
    def log(cls) -> str:
        return "\n".join(e2e_node.cluster.kubectl("-n", SYSTEM, "logs", pod["metadata"]["name"]) for pod in cls.controllers())

    @classmethod
    def check_alive(cls) -> None:
        for pod in (*e2e_node.cluster.pods(SYSTEM), *cls.witness.pods()):
            for container in pod["status"].get("containerStatuses") or ():
                if container["restartCount"] or ("terminated" in container["state"] and "deletionTimestamp" not in pod["metadata"]):
                    raise AssertionError(f"a container of {pod['metadata']['name']} has ended: {json.dumps(container)}")

    @classmethod
    def diagnose(cls) -> None:
        cluster = e2e_node.cluster
        for arguments in (("describe", "swa"), ("get", "pods", "-o", "wide"), ("get", "events")):
            print("\n".join(cluster.kubectl("-n", NAMESPACE, *arguments).splitlines()[-60:]))
        print("\n".join(cls.log().splitlines()[-60:]))
        for pod in cluster.pods(NAMESPACE)[:2]:
            print(cluster.kubectl("-n", NAMESPACE, "logs", pod["metadata"]["name"], "--all-containers", "--tail=15"), flush=True)

    # -- What is looked at

    @classmethod
    def demand(cls, tasks: int) -> None:
        """So many open tasks from now on, as a queue's exporter would say."""
        body = {"namespace": NAMESPACE, "metric": METRIC, "values": [{"value": str(tasks), "labels": {}}]}
        url = f"{e2e_node.cluster.plane.state['controlURL']}/external"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT")
        urllib.request.urlopen(request, timeout=10).read()

    @staticmethod
    def leader() -> str:
        """The pod of the controller that leads; empty: none."""
        leases = e2e_node.cluster.kubectl("-n", SYSTEM, "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}")
        return leases.partition("_")[0]

    @staticmethod
    def autoscaler() -> dict[str, Any]:
        """The fleet's autoscaler."""
        found: dict[str, Any] = json.loads(e2e_node.cluster.kubectl("-n", NAMESPACE, "get", "swa", NAME, "-o", "json"))
        return found

    @staticmethod
    def replicas() -> int:
        """What the Deployment asks for."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}/scale"
        return int(e2e_node.cluster.connection.json("GET", path)["spec"]["replicas"])

    @staticmethod
    def standing() -> list[dict[str, Any]]:
        """The fleet's pods that aren't on their way out."""
        return e2e_node.cluster.pods(NAMESPACE)

    @staticmethod
    def metric(pod: dict[str, Any], port: int, name: str) -> float:
        """The sum of a metric's series of one pod; 0 where it has none."""
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def status(self, output: str) -> str:
        """What `swarmscale drain --status` says of the fleet."""
        command = [str(self.programs / "swarmscale"), "drain", "--status", "-n", NAMESPACE, NAME, "-o", output]
        environment = {**os.environ, "KUBECONFIG": str(e2e_node.cluster.plane.state["kubeconfig"])}
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def check_status(self) -> dict[str, Any] | None:
        """The tool's word, once nothing has changed around it and it is what the API server says; nil: something has changed."""

        def truth() -> tuple[list[tuple[str, str]], list[Any]]:
            rows = []
            for pod in e2e_node.cluster.connection.json("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]:
                metadata, cost = pod["metadata"], int(pod["metadata"].get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", 0))
                state = "terminating" if "deletionTimestamp" in metadata else "marked" if cost <= -1000 else "ready" if is_ready(pod) else "unready"
                if pod["status"]["phase"] not in ("Succeeded", "Failed"):
                    rows.append((metadata["name"], state))
            status = self.autoscaler()["status"]
            said = condition({"status": status}, "Draining")
            return sorted(rows), [status.get("currentReplicas"), status.get("desiredReplicas"), said.get("status") == "True", said.get("message")]

        before = truth()
        (fleet,) = json.loads(self.status("json"))
        if truth() != before:
            return None
        rows, (current, desired, is_draining, message) = before
        self.assertEqual(sorted((pod["name"], pod["state"]) for pod in fleet["pods"]), rows)
        self.assertEqual((fleet["replicas"], fleet["desired"], fleet["isDraining"]), (current, desired, is_draining))
        self.assertTrue(not is_draining or fleet["message"].endswith(message), f"{fleet['message']} / {message}")
        found: dict[str, Any] = fleet
        return found

    # -- The story

    def test_1_the_webhook_embeds_the_sidecar_in_each_pod(self) -> None:
        cluster = e2e_node.cluster
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/swarmscale-controller", "--timeout=50s")
        self.wait("two ready controllers", lambda: len(self.controllers()) == 2)
        service = json.loads(cluster.kubectl("-n", SYSTEM, "get", "service", "swarmscale-coordinator", "-o", "json"))
        self.demand(1)
        cluster.apply(BUDGET, AUTOSCALER)
        probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": NAMESPACE, "labels": {"swarmscale.dev/embed": "enabled"}},
                 "spec": {"containers": [{"name": "agent", "image": BURNER_IMAGE}]}}  # fmt: skip
        # The API server learns the webhook's authorities from the controller.
        self.wait("the webhook", lambda: SIDECAR in cluster.kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", content=probe), 60)
        self.wait("the autoscaler's status", lambda: self.autoscaler().get("status", {}).get("conditions"), 30)
        cluster.apply(workers(self.queue, self.upstream, service["spec"]["clusterIP"], self.python))
        self.demand(MANY)
        self.wait(f"{MANY} ready workers", lambda: len([pod for pod in self.standing() if is_ready(pod)]) == MANY)
        for pod in self.standing():
            names = [container["name"] for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])]
            self.assertEqual(names, [SIDECAR, "agent"])
            self.assertEqual(pod["metadata"]["annotations"]["swarmscale.dev/embedded"], "sidecar")
            self.assertEqual(pod["spec"]["terminationGracePeriodSeconds"], 300)
        self.assertNotEqual(condition(self.autoscaler(), "EmbedMissing").get("status"), "True")

    def test_2_the_client_is_served_through_the_sidecar_within_the_coordinators_budget(self) -> None:
        def served() -> bool:
            return all(
                self.metric(pod, 8788, "swarmscale_sidecar_coordinator_connected") == 1
                and self.metric(pod, 8788, "swarmscale_sidecar_admissions_total") > 0
                for pod in self.standing()
            )

        self.wait("each sidecar to be admitted by the coordinator", served, 60)
        self.wait("everybody at work", lambda: len(self.queue.workers_at_work()) == MANY, 60)

        def known() -> float:
            return sum(self.metric(pod, 8080, "swarmscale_coordinator_workers") for pod in self.controllers())

        self.wait("the coordinator to know them all", lambda: known() == MANY, 30)

    def test_3_a_shrink_waits_for_work_and_kills_none_while_the_leader_changes(self) -> None:
        self.wait("everybody at work", lambda: len(self.queue.workers_at_work()) == MANY, 60)
        first = self.leader()
        self.demand(FEW)
        seen: list[dict[str, Any]] = []

        def shrunk() -> bool:
            if fleet := self.check_status():
                if fleet["isDraining"] and not any(other["isDraining"] for other in seen):
                    say(f"  the fleet drains; {first} is deleted, which has ordered it")
                    e2e_node.cluster.kubectl("-n", SYSTEM, "delete", "pod", first, "--wait=false")
                seen.append(fleet)
            return self.replicas() == FEW and len(self.witness.removed()) == MANY - FEW

        self.wait(f"{FEW} workers", shrunk, 2 * e2e_node.WAIT_SECONDS)
        draining = [fleet for fleet in seen if fleet["isDraining"]]
        self.assertTrue(draining, "swarmscale drain --status has never seen the drain")
        self.assertTrue(all(fleet["desired"] == FEW for fleet in draining), draining)
        self.assertNotEqual(self.leader(), first)
        self.check_that_nobody_was_removed_at_work()
        self.wait("nobody to drain any more", lambda: (fleet := self.check_status()) and not fleet["isDraining"], 60)
        table = self.status("table")
        self.assertRegex(table, rf"(?m)^{NAMESPACE} +{NAME} +{FEW} +{FEW} +False +0 +\d+$")
        self.assertEqual(sum(line.endswith("ready") or " ready " in line for line in table.splitlines()), FEW, table)

    def check_that_nobody_was_removed_at_work(self) -> None:
        """By the queue's word, each removed worker had nothing to do; and by the controllers' counters."""
        removed = self.witness.removed()
        for name, asked in removed.items():
            tasks = self.queue.tasks(name)
            self.assertTrue(tasks, f"{name} has never worked")
            # Whole seconds, so one of grace: a task that was going on would have taken several.
            late = [task for task in tasks if task["end"] is None or task["end"] > asked + 1]
            self.assertEqual(late, [], f"{name} had work when it was told to end at {asked}")
        self.wait("the removed workers' end", lambda: all(self.witness.has_ended(name) for name in removed), 90)
        for kind in ("swarmscale_workers_removed_busy_total", "swarmscale_work_lost_total"):
            self.assertEqual(sum(self.metric(pod, 8080, kind) for pod in self.controllers()), 0, kind)

    def test_4_a_pod_that_is_deleted_at_work_finishes_it_first(self) -> None:

        def beginner() -> str:
            removed, now = self.witness.removed(), time.time()
            # One that has much before it, so that it is at work when its end is asked for.
            fresh = [task["worker"] for task in self.queue.tasks() if task["end"] is None and now - task["begin"] < 2]
            return next((worker for worker in fresh if worker not in removed), "")

        name = self.wait("a worker that has just begun", beginner, 60)
        number = len(self.queue.tasks(name))
        e2e_node.cluster.kubectl("-n", NAMESPACE, "delete", "pod", name, "--wait=false")
        self.wait("its end", lambda: name in self.witness.removed() and self.witness.has_ended(name), 90)
        tasks = self.queue.tasks(name)
        self.assertIsNotNone(tasks[-1]["end"], "it was killed at work")
        self.assertGreater(tasks[number - 1]["end"], self.witness.removed()[name], "its work was over before: nothing was tried")
        self.wait("another one in its place", lambda: len([pod for pod in self.standing() if is_ready(pod)]) == FEW, 60)

    def test_5_all_requests_have_succeeded_and_no_task_was_lost(self) -> None:
        living = {pod["metadata"]["name"] for pod in self.standing()}
        tasks = self.queue.tasks()
        self.assertGreater(len([task for task in tasks if task["end"]]), MANY)
        self.assertEqual([task for task in tasks if task["failures"]], [])
        self.assertEqual([task for task in tasks if task["end"] is None and task["worker"] not in living], [])
        oracle = self.upstream.oracle()
        refused = sum(sum(pool["refused"].values()) for pool in oracle["pools"])
        say(f"  {len(tasks)} tasks; the API has refused {refused}, and seen {oracle['retryCount']} requests a second time")
        self.assertEqual((refused, oracle["retryCount"]), (0, 0))
        exits = {
            (pod["metadata"]["name"], status["name"]): status["state"]["terminated"]["exitCode"]
            for pod in self.witness.pods() for status in pod["status"].get("containerStatuses") or () if "terminated" in status["state"]
        }  # fmt: skip
        self.assertEqual({key: code for key, code in exits.items() if key[1] == SIDECAR and code != 0}, {})


def load_tests(loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None) -> unittest.TestSuite:
    """Ours alone; the classes that were imported have their own run."""
    return unittest.TestSuite([loader.loadTestsFromTestCase(FleetTests)])


def setUpModule() -> None:
    """Nothing but what the class sets up."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder of a cluster that scripts/cluster has started")
    parser.add_argument("--programs", type=Path, required=True, help="folder of swarmscale, swarmscale-controller, swarmscale-sidecar and mock-claude")
    parser.add_argument("--archive", type=Path, help="the image as it is shipped; default: one made of the programs")
    parser.add_argument("--python", type=Path, required=True, help="python3 of a virtual environment with the package anthropic")
    arguments, rest = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    FleetTests.programs, FleetTests.python = arguments.programs.resolve(), arguments.python.absolute()
    FleetTests.archive = arguments.archive and arguments.archive.resolve()
    e2e_node.cluster = Cluster(arguments.dir)
    # The steps build on each other: after a failure the rest would only fail slowly.
    sys.argv = [sys.argv[0], "--failfast", *rest]
    sys.exit(main(verbosity=0))
