"""The kubelet and the scheduler of pods that do not exist: binds them, marks them Running and Ready, lets them go."""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import queue
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Callable

from swarmcluster.api import APIStatusError, Connection, Endpoint, list_all, query

from .selectors import compile_selector
from .store import Pod, PodStore, pod_of

ANNOTATION = "test-node/"
PROTOBUF = "application/vnd.kubernetes.protobuf"  # the cheapest answer for the server to write; it is thrown away
MERGE_PATCH = "application/merge-patch+json"


def now_text() -> str:
    """The time as the API writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Behaviour:
    """How pods that match are treated from now on. Annotations `test-node/KEY` on a pod win over it."""

    namespace: str
    selector: str = ""
    readyDelaySeconds: float = 0
    terminateDelaySeconds: float = 0
    stayPending: bool = False
    unschedulable: bool = False
    neverReady: bool = False


class Timers:
    """Runs things later, in one thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        threading.Thread(target=self._run, name="timers", daemon=True).start()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Calls `action` after a time."""
        with self._condition:
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._sequence), action))
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    self._condition.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                action = heapq.heappop(self._heap)[2]
            action()


class TestNode:
    """Watches all pods, and plays the kubelet for those on its nodes (all of them: there is no scheduler beside it)."""

    def __init__(self, endpoint: Endpoint, store: PodStore, nodes: int, workers: int = 8) -> None:
        self._endpoint = endpoint
        self.store = store
        self.nodes = [f"test-node-{index}" for index in range(nodes)]
        self._next_node = itertools.cycle(self.nodes) if nodes else None
        self._work: queue.SimpleQueue[Callable[[Connection], None]] = queue.SimpleQueue()
        self._timers = Timers()
        self._lock = threading.Lock()
        self._handled: dict[str, str] = {}  # uid → the last step begun: bind, run, finish
        self._held: dict[str, Pod] = {}  # uid → a pod that a behaviour keeps Pending
        self._behaviours: list[Behaviour] = []
        self._address = itertools.count(2)
        self.synced = threading.Event()
        self.registered = threading.Event()
        self._workers = workers

    def run(self) -> None:
        """Starts all threads."""
        for index in range(self._workers):
            threading.Thread(target=self._worker, name=f"worker-{index}", daemon=True).start()
        threading.Thread(target=self._watch_for_ever, name="watch", daemon=True).start()
        if self.nodes:
            threading.Thread(target=self._heartbeat, name="heartbeat", daemon=True).start()
        else:
            self.registered.set()

    # -- Watch

    def _watch_for_ever(self) -> None:
        version = ""
        while True:
            connection = Connection(self._endpoint, timeout=60)
            try:
                if not version:
                    items, version = list_all(connection, "/api/v1/pods", limit=500)
                    pods = [pod_of(item) for item in items]
                    self.store.replace_all(pods)
                    for pod in pods:
                        self._consider(pod)
                    self.synced.set()
                version = self._watch(connection, version)
            except (OSError, APIStatusError, ValueError) as error:
                if isinstance(error, APIStatusError) and error.status == 410:
                    version = ""
                    continue
                print(f"watch: {error}; again soon", file=sys.stderr, flush=True)
                time.sleep(0.2)
            finally:
                connection.close()

    def _watch(self, connection: Connection, version: str) -> str:
        path = query("/api/v1/pods", watch=1, resourceVersion=version, allowWatchBookmarks=True, timeoutSeconds=600)
        for line in connection.lines(path, timeout=None):
            event = json.loads(line)
            item, kind = event["object"], event["type"]
            if kind == "ERROR":
                if item.get("code") == 410:
                    return ""
                raise ValueError(item.get("message"))
            version = item["metadata"]["resourceVersion"]
            if kind == "BOOKMARK":
                continue
            if kind == "DELETED":
                self.store.remove(item["metadata"]["namespace"], item["metadata"]["name"])
                with self._lock:
                    self._handled.pop(item["metadata"]["uid"], None)
                    self._held.pop(item["metadata"]["uid"], None)
                continue
            pod = pod_of(item)
            self.store.put(pod)
            self._consider(pod)
        return version

    # -- What a pod needs next

    def _consider(self, pod: Pod) -> None:
        if not self.nodes:
            return
        if pod.deleting:
            if pod.node in self.nodes and self._begin(pod, "finish"):
                delay = min(self._setting(pod, "terminateDelaySeconds"), float(pod.grace_seconds))
                self._schedule(delay, lambda connection: self._finish(connection, pod))
        elif pod.phase == "Pending" and pod.node == "":
            if self._is_on(pod, "unschedulable"):
                if self._begin(pod, "unschedulable"):
                    self._schedule(0, lambda connection: self._mark_unschedulable(connection, pod))
            elif self._begin(pod, "bind"):
                self._schedule(0, lambda connection: self._bind(connection, pod))
        elif pod.phase == "Pending" and pod.node in self.nodes and self._begin(pod, "run"):
            # Bound by somebody else, or before this process started.
            self._schedule(0, lambda connection: self._run_pod(connection, pod))

    def _begin(self, pod: Pod, step: str) -> bool:
        """Whether this step is new for the pod; each is taken once, however often the watch repeats the pod."""
        order = {"unschedulable": 0, "bind": 1, "run": 2, "finish": 3}
        with self._lock:
            done = self._handled.get(pod.uid)
            if done is not None and order[done] >= order[step]:
                return False
            self._handled[pod.uid] = step
            return True

    def _schedule(self, delay: float, action: Callable[[Connection], None]) -> None:
        if delay > 0:
            self._timers.after(delay, lambda: self._work.put(action))
        else:
            self._work.put(action)

    def _worker(self) -> None:
        connection = Connection(self._endpoint)
        while True:
            action = self._work.get()
            try:
                action(connection)
            except APIStatusError as error:
                if error.status in (429, 500, 503, 504):
                    self._timers.after(0.5, functools.partial(self._work.put, action))
                elif error.status not in (404, 409):
                    print(f"worker: {error}", file=sys.stderr, flush=True)
            except OSError:
                # The API server is away (tests restart it): the work stays to be done.
                self._timers.after(0.5, functools.partial(self._work.put, action))
            except Exception:  # noqa: BLE001 - a broken pod must not stop the node
                traceback.print_exc()

    # -- Steps

    def _bind(self, connection: Connection, pod: Pod) -> None:
        assert self._next_node is not None
        with self._lock:
            node = next(self._next_node)
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/binding"
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        status, answer = connection.request("POST", path, body)
        if status >= 400 and status != 409:
            raise APIStatusError(status, "POST", path, answer)
        self._begin(pod, "run")
        self._run_pod(connection, pod)

    def _run_pod(self, connection: Connection, pod: Pod) -> None:
        if self._is_on(pod, "stayPending"):
            with self._lock:
                self._held[pod.uid] = pod
            return
        delay = self._setting(pod, "readyDelaySeconds")
        ready = not self._is_on(pod, "neverReady") and delay <= 0
        with self._lock:
            number = next(self._address)
        address = f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        self._patch_status(connection, pod, self._running_status(pod, ready, address))
        if not ready and not self._is_on(pod, "neverReady"):
            self._schedule(delay, lambda connection: self._become_ready(connection, pod, address))

    def _become_ready(self, connection: Connection, pod: Pod, address: str) -> None:
        current = self.store.get(pod.namespace, pod.name)
        if current is not None and current.uid == pod.uid and not current.deleting:
            self._patch_status(connection, pod, self._running_status(pod, True, address, current.status))

    def _finish(self, connection: Connection, pod: Pod) -> None:
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        status, answer = connection.request("DELETE", path, body, accept=PROTOBUF)
        if status >= 400:
            raise APIStatusError(status, "DELETE", path, answer)

    def _mark_unschedulable(self, connection: Connection, pod: Pod) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "lastTransitionTime": now_text(),
            "message": "the test says that no node has room",
        }
        self._patch_status(connection, pod, {"conditions": [condition]})

    def _patch_status(self, connection: Connection, pod: Pod, status: dict[str, Any]) -> None:
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
        code, answer = connection.request("PATCH", path, {"metadata": {"uid": pod.uid}, "status": status}, MERGE_PATCH, PROTOBUF)
        if code >= 400:
            raise APIStatusError(code, "PATCH", path, answer)

    def _running_status(self, pod: Pod, ready: bool, address: str, before: dict[str, Any] | None = None) -> dict[str, Any]:
        now = now_text()
        started = (before or {}).get("startTime") or now
        counts = {entry["name"]: entry["restartCount"] for entry in (before or {}).get("containerStatuses") or ()}
        text = "True" if ready else "False"
        conditions = [
            {"type": "Initialized", "status": "True", "lastTransitionTime": started},
            {"type": "Ready", "status": text, "lastTransitionTime": now},
            {"type": "ContainersReady", "status": text, "lastTransitionTime": now},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": started},
        ]
        containers = [
            {
                "name": name, "ready": ready, "started": True, "restartCount": counts.get(name, 0), "image": "test", "imageID": "test",
                "containerID": f"test://{pod.uid}/{name}", "state": {"running": {"startedAt": started}},
            }
            for name in pod.containers
        ]  # fmt: skip
        return {
            "phase": "Running", "conditions": conditions, "startTime": started, "podIP": address, "podIPs": [{"ip": address}],
            "hostIP": "127.0.0.1", "containerStatuses": containers,
        }  # fmt: skip

    # -- Settings

    def _behaviour(self, pod: Pod) -> Behaviour | None:
        with self._lock:
            behaviours = list(self._behaviours)
        for behaviour in reversed(behaviours):
            if behaviour.namespace == pod.namespace and compile_selector(behaviour.selector)(pod.labels):
                return behaviour
        return None

    def _setting(self, pod: Pod, name: str) -> float:
        annotated = pod.annotations.get(ANNOTATION + _annotation_name(name))
        if annotated is not None:
            return float(annotated)
        behaviour = self._behaviour(pod)
        return float(getattr(behaviour, name)) if behaviour else 0.0

    def _is_on(self, pod: Pod, name: str) -> bool:
        annotated = pod.annotations.get(ANNOTATION + _annotation_name(name))
        if annotated is not None:
            return annotated == "true"
        behaviour = self._behaviour(pod)
        return bool(getattr(behaviour, name)) if behaviour else False

    # -- For the control endpoint

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Sets how matching pods are treated, and lets go those that were held and no longer are."""
        compile_selector(behaviour.selector)
        with self._lock:
            same = (behaviour.namespace, behaviour.selector)
            self._behaviours = [b for b in self._behaviours if (b.namespace, b.selector) != same] + [behaviour]
        self._release()

    def clear_behaviours(self) -> None:
        """Back to the default: every pod is bound, Running and Ready at once."""
        with self._lock:
            self._behaviours = []
        self._release()

    def behaviours(self) -> list[dict[str, Any]]:
        """All that are set."""
        with self._lock:
            return [asdict(behaviour) for behaviour in self._behaviours]

    def _release(self) -> None:
        with self._lock:
            held, self._held = list(self._held.values()), {}
            for uid, step in list(self._handled.items()):
                if step == "unschedulable":
                    del self._handled[uid]
        for pod in held:
            self._schedule(0, functools.partial(self._run_pod, pod=pod))
        for namespace in self.store.namespaces():
            for pod in self.store.select(namespace, ""):
                if pod.node == "" and pod.phase == "Pending":
                    self._consider(pod)

    def act(self, action: str, pods: list[Pod]) -> list[str]:
        """Does something to pods now, and returns when the API server has it: ready, unready, fail, succeed, restart, delete."""
        connection = Connection(self._endpoint)
        try:
            for pod in pods:
                if action == "delete":
                    connection.json("DELETE", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
                else:
                    self._patch_status(connection, pod, self._status_after(action, pod))
        finally:
            connection.close()
        return [pod.name for pod in pods]

    def _status_after(self, action: str, pod: Pod) -> dict[str, Any]:
        if action in ("fail", "succeed"):
            code = 1 if action == "fail" else 0
            reason = "Error" if action == "fail" else "Completed"
            containers = [
                {**entry, "ready": False, "started": False, "state": {"terminated": {"exitCode": code, "reason": reason}}}
                for entry in pod.status.get("containerStatuses") or ()
            ]
            base = self._running_status(pod, False, pod.status.get("podIP", ""), pod.status)
            return {**base, "phase": "Failed" if action == "fail" else "Succeeded", "containerStatuses": containers}
        if action == "restart":
            # A container that ended and runs again: the count goes up, the pod stays.
            now = now_text()
            containers = [
                {
                    **entry,
                    "restartCount": entry["restartCount"] + 1,
                    "state": {"running": {"startedAt": now}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": now}},
                }
                for entry in pod.status.get("containerStatuses") or ()
            ]
            return {"containerStatuses": containers}
        if action in ("ready", "unready"):
            return self._running_status(pod, action == "ready", pod.status.get("podIP", ""), pod.status)
        raise ValueError(f"no such action: {action!r}; there are ready, unready, fail, succeed, restart, delete")

    # -- Nodes

    def _heartbeat(self) -> None:
        connection = Connection(self._endpoint)
        created: set[str] = set()
        while True:
            try:
                for node in self.nodes:
                    if node not in created:
                        self._register(connection, node)
                        created.add(node)
                    self._renew(connection, node)
                self.registered.set()
                time.sleep(10)
            except (OSError, APIStatusError) as error:
                print(f"heartbeat: {error}; again soon", file=sys.stderr, flush=True)
                created.clear()
                time.sleep(0.5)

    def _register(self, connection: Connection, name: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "swarmscale.test/node": "true"}},
        }
        status, answer = connection.request("POST", "/api/v1/nodes", body)
        if status >= 400 and status != 409:
            raise APIStatusError(status, "POST", "/api/v1/nodes", answer)
        resources = {"cpu": "100000", "memory": "400Ti", "pods": "110000", "ephemeral-storage": "400Ti"}
        now = now_text()
        conditions = [{"type": "Ready", "status": "True", "reason": "TestNode", "lastHeartbeatTime": now, "lastTransitionTime": now}]
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}]
        patch = {"status": {"capacity": resources, "allocatable": resources, "conditions": conditions, "addresses": addresses}}
        connection.json("PATCH", f"/api/v1/nodes/{name}/status", patch, MERGE_PATCH)
        # The admission plugin TaintNodesByCondition adds a not-ready taint, which the node lifecycle controller would remove.
        connection.json("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, MERGE_PATCH)

    def _renew(self, connection: Connection, name: str) -> None:
        renew = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renew}
        base = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        status, answer = connection.request("PATCH", f"{base}/{name}", {"spec": spec}, MERGE_PATCH)
        if status == 404:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
            status, answer = connection.request("POST", base, body)
        if status >= 400 and status != 409:
            raise APIStatusError(status, "PATCH", base, answer)


def _annotation_name(setting: str) -> str:
    """readyDelaySeconds → ready-delay-seconds."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in setting)
