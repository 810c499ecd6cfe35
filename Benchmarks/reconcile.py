#!/usr/bin/env python3
"""Measures the real swarmscale-controller with many autoscalers on a real control plane.

Started by `Benchmarks/run reconcile`; Benchmarks/README.md says what each number means. Needs a control plane of
`scripts/control-plane` (its state.json), because the load of 10,000 pods is set at its test node.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

REPOSITORY = Path(__file__).resolve().parent.parent
AUTOSCALERS = "/apis/swarmscale.dev/v1alpha1/namespaces/{}/swarmautoscalers"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PASS_TARGET_SECONDS = 5.0
MEMORY_TARGET_MB = 60.0


class BenchmarkError(Exception):
    """What went wrong, and what to do about it."""


def say(text: str) -> None:
    """Prints progress to standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Server:
    """The API server: one connection for each thread, JSON in and out."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.address = urllib.parse.urlsplit(state["server"])
        self.context = ssl.create_default_context(cafile=state["caFile"])
        self.token = state["tokens"]["admin"]
        self.local = threading.local()

    def connect(self) -> http.client.HTTPSConnection:
        """Opens a connection."""
        return http.client.HTTPSConnection(
            self.address.hostname or "127.0.0.1", self.address.port, context=self.context, timeout=120)

    def raw(self, method: str, path: str, body: bytes | None = None, *, content: str = "application/json",
            accept: str = "application/json", good: tuple[int, ...] = ()) -> bytes:
        """Sends a request; statuses from 300 on are errors unless they are `good`."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept}
        if body is not None:
            headers["Content-Type"] = content
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None) or self.connect()
            self.local.connection = connection
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                answer = response.read()
                break
            except (http.client.HTTPException, OSError):
                # A kept connection may have been closed meanwhile; once is normal.
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise
        if response.status >= 300 and response.status not in good:
            raise BenchmarkError(f"{method} {path}: {response.status} {answer[:300].decode(errors='replace')}")
        return answer

    def json(self, method: str, path: str, body: Any = None, good: tuple[int, ...] = ()) -> Any:
        """Sends and reads JSON."""
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self.raw(method, path, data, good=good) or b"null")


def plain(method: str, url: str, body: Any = None) -> bytes:
    """Asks a plain HTTP server, such as the test node or the controller."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)
    try:
        connection.request(method, parts.path or "/", None if body is None else json.dumps(body))
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise BenchmarkError(f"{method} {url}: {response.status} {answer[:300].decode(errors='replace')}")
    return answer


def in_parallel(threads: int, what: str, count: int, work: Callable[[int], None]) -> None:
    """Does `work` for each number below `count`, and says how it goes."""
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, number) for number in range(count)]
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            future.result()
            if done % max(1, count // 4) == 0:
                say(f"{what}: {done} of {count}, {time.monotonic() - begin:.0f} s")


@dataclass
class Process:
    """What /proc says about the controller."""

    pid: int

    def memory_mb(self, field: str) -> float:
        """`VmRSS` or `VmHWM` in MB (10⁶ bytes)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        raise BenchmarkError(f"/proc/{self.pid}/status has no {field}: the controller is gone; see its log.")

    def cpu_seconds(self) -> float:
        """CPU time in user and kernel mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


class Fleet:
    """The Deployments, their pods and their autoscalers."""

    def __init__(self, server: Server, control_url: str, arguments: argparse.Namespace) -> None:
        self.server = server
        self.control_url = control_url
        self.namespace: str = arguments.namespace
        self.count: int = arguments.autoscalers
        self.pods: int = arguments.pods
        self.threads: int = arguments.parallel

    def make(self) -> None:
        """Makes everything and waits until every pod is ready and has a load in the middle of the band."""
        for name in ("swarmautoscalers", "apibudgets"):
            manifest = (REPOSITORY / f"manifests/crd/{name}.yaml").read_bytes()
            self.server.raw(
                "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", manifest,
                content="application/yaml", good=(409,))
        self.server.json("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}}, good=(409,))
        in_parallel(self.threads, "Deployments", self.count, self._deployment)
        self._wait_for_pods()
        selector = {"namespace": self.namespace, "selector": "benchmark=reconcile"}
        plain("PUT", self.control_url + "/load", {**selector, "cpu": {"perPod": "78m"}, "memory": {"perPod": "50Mi"}})
        in_parallel(self.threads, "SwarmAutoscalers", self.count, self._autoscaler)

    def _deployment(self, number: int) -> None:
        labels = {"app": f"reviewers-{number}", "benchmark": "reconcile"}
        container = {
            "name": "worker",
            "image": "registry.example.com/fleet/claude-reviewer:1.42.7",
            "env": [{"name": "ANTHROPIC_MODEL", "value": "claude-sonnet-4-5"},
                    {"name": "ANTHROPIC_BASE_URL", "value": "http://127.0.0.1:8787"},
                    {"name": "QUEUE_URL", "value": "nats://nats.messaging.svc.cluster.local:4222"}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "volumeMounts": [{"name": "work", "mountPath": "/work"}],
        }
        spec = {"nodeName": "test-node-0", "terminationGracePeriodSeconds": 0, "containers": [container],
                "volumes": [{"name": "work", "emptyDir": {}}]}
        self.server.json("POST", DEPLOYMENTS.format(self.namespace), {
            "metadata": {"name": labels["app"]},
            "spec": {"replicas": self.pods, "selector": {"matchLabels": {"app": labels["app"]}},
                     "template": {"metadata": {"labels": labels}, "spec": spec}}}, good=(409,))

    def _autoscaler(self, number: int) -> None:
        name = f"reviewers-{number}"
        self.server.json("POST", AUTOSCALERS.format(self.namespace), {
            "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": {"name": name},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}}, good=(409,))

    def _wait_for_pods(self, limit: float = 1_200) -> None:
        wanted = self.count * self.pods
        begin = time.monotonic()
        told = begin
        while True:
            counts = json.loads(plain("GET", self.control_url + "/state"))["namespaces"].get(self.namespace, {})
            now = time.monotonic()
            if counts.get("ready", 0) >= wanted:
                say(f"{wanted} pods are ready after {now - begin:.0f} s")
                return
            if now - begin > limit:
                raise BenchmarkError(f"only {counts} of {wanted} pods after {limit:.0f} s; see the control plane's logs.")
            if now - told > 20:
                told = now
                say(f"pods: {counts}")
            time.sleep(1)

    def save_pods(self, folder: Path) -> None:
        """Saves the list of all pods as the server gives it in both encodings, for `Benchmarks/run decode`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        (folder / "pods.json").write_bytes(self.server.raw("GET", path))
        (folder / "pods.pb").write_bytes(
            self.server.raw("GET", path, accept="application/vnd.kubernetes.protobuf"))

    def remove(self) -> None:
        """Asks for the end of the namespace; the API server goes on with it."""
        self.server.json("DELETE", f"/api/v1/namespaces/{self.namespace}", good=(404,))


class StatusWatch(threading.Thread):
    """Notes when each autoscaler's status was first seen, from the outside: no cost for the controller."""

    def __init__(self, server: Server, namespace: str) -> None:
        super().__init__(daemon=True)
        path = AUTOSCALERS.format(namespace)
        listed = server.json("GET", path)
        if any((item.get("status") or {}).get("conditions") for item in listed["items"]):
            raise BenchmarkError("the autoscalers have a status already: use a fresh control plane or --namespace.")
        version = listed["metadata"]["resourceVersion"]
        self.seen: dict[str, float] = {}
        self.events = 0
        self.connection = server.connect()
        self.connection.request(
            "GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=1800", None,
            {"Authorization": f"Bearer {server.token}"})
        self.response = self.connection.getresponse()

    def run(self) -> None:
        """Reads events until the connection is closed."""
        try:
            for line in self.response:
                self.events += 1
                item = json.loads(line)["object"]
                if (item.get("status") or {}).get("conditions"):
                    self.seen.setdefault(item["metadata"]["name"], time.monotonic())
        except (OSError, ValueError, http.client.HTTPException):
            return  # The process ends, or the watch timed out.


class Controller:
    """The real controller as a child process."""

    def __init__(self, program: Path, kubeconfig: str, sync_period: str, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.log = log
        with log.open("wb") as output:
            self.began = time.monotonic()
            self.child = subprocess.Popen(
                [str(program), "--kubeconfig", kubeconfig, "--no-leader-election", "--sync-period", sync_period,
                 "--listen", self.url.removeprefix("http://")], stdout=output, stderr=output)
        self.process = Process(self.child.pid)

    def wait_until_ready(self, limit: float = 120) -> float:
        """Waits for the caches; gives the seconds since the start."""
        while time.monotonic() - self.began < limit:
            if self.child.poll() is not None:
                raise BenchmarkError(f"the controller ended with {self.child.returncode}; see {self.log}.")
            try:
                plain("GET", self.url + "/readyz")
                return time.monotonic() - self.began
            except (OSError, BenchmarkError):
                time.sleep(0.02)
        raise BenchmarkError(f"the controller wasn't ready after {limit:.0f} s; see {self.log}.")

    def metrics(self) -> dict[str, float]:
        """The sum of each metric family over its labels; reconciles that failed under `failures`."""
        sums: dict[str, float] = {"failures": 0}
        for line in plain("GET", self.url + "/metrics").decode().splitlines():
            if line.startswith("#"):
                continue
            series, _, value = line.rpartition(" ")
            name = series.partition("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
            if name == "swarmscale_reconciles_total" and 'outcome="Success"' not in series:
                sums["failures"] += float(value)
        return sums

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise BenchmarkError(f"the controller did not end within 30 s of SIGTERM; see {self.log}.") from None


@dataclass
class Result:
    """Everything that was measured, in the order in which it is printed."""

    rows: list[tuple[str, str, str]]

    def add(self, name: str, value: str, target: str = "") -> None:
        """Adds a row."""
        self.rows.append((name, value, target))

    def table(self) -> str:
        """The rows as a Markdown table."""
        rows = [("what", "measured", "target"), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
        return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def verdict(value: float, limit: float, unit: str) -> str:
    """A target, and whether it is met."""
    return f"< {limit:g} {unit}: {'met' if value < limit else 'MISSED'}"


def first_pass(controller: Controller, watch: StatusWatch, count: int, result: Result) -> None:
    """From the start of the process until all statuses are written."""
    ready = controller.wait_until_ready()
    synced = time.monotonic()
    cpu = controller.process.cpu_seconds()
    result.add("start until caches are synced", f"{ready:.2f} s")
    result.add("peak memory until then (VmHWM)", f"{controller.process.memory_mb('VmHWM'):.1f} MB")
    while len(watch.seen) < count:
        if time.monotonic() - synced > 180:
            raise BenchmarkError(f"{len(watch.seen)} of {count} statuses after 180 s; see {controller.log}.")
        time.sleep(0.01)
    took = max(watch.seen.values()) - synced
    result.add(
        f"first pass over {count}: synced until all statuses are written", f"{took:.2f} s",
        verdict(took, PASS_TARGET_SECONDS, "s"))
    result.add("CPU of the controller in it", f"{controller.process.cpu_seconds() - cpu:.2f} s")


def steady_state(controller: Controller, count: int, seconds: float, period: str, result: Result) -> None:
    """At the usual sync period: CPU and memory with everything in place."""
    time.sleep(20)
    before, cpu, began = controller.metrics(), controller.process.cpu_seconds(), time.monotonic()
    resident: list[float] = []
    while time.monotonic() - began < seconds:
        resident.append(controller.process.memory_mb("VmRSS"))
        time.sleep(0.5)
    took, used = time.monotonic() - began, controller.process.cpu_seconds() - cpu
    after = controller.metrics()
    passes = after["swarmscale_reconciles_total"] - before["swarmscale_reconciles_total"]
    failures = after["failures"] - before["failures"]
    result.add(f"steady state, sync period {period}", f"{passes:.0f} passes in {took:.0f} s, {failures:.0f} failed")
    result.add(
        "objects in its caches (autoscalers and pods)", f"{after['swarmscale_cached_objects']:,.0f}")
    result.add("CPU", f"{100 * used / took:.1f} % of a core, {1e3 * used / max(1, passes):.2f} ms a pass")
    median = statistics.median(resident)
    result.add(
        "resident memory (VmRSS): median, min, max", f"{median:.1f}, {min(resident):.1f}, {max(resident):.1f} MB",
        verdict(median, MEMORY_TARGET_MB, "MB"))
    result.add("peak memory since the start (VmHWM)", f"{controller.process.memory_mb('VmHWM'):.1f} MB")


def saturated(controller: Controller, count: int, seconds: float, result: Result) -> None:
    """At a sync period of 1 s: as many passes as it can make."""
    controller.wait_until_ready()
    time.sleep(10)
    rates: list[float] = []
    used = controller.process.cpu_seconds()
    first = previous = controller.metrics()
    began = at = time.monotonic()
    while at - began < seconds:
        time.sleep(5)
        now = controller.metrics()
        moment = time.monotonic()
        rates.append((now["swarmscale_reconciles_total"] - previous["swarmscale_reconciles_total"]) / (moment - at))
        previous, at = now, moment
    used = controller.process.cpu_seconds() - used
    passes = previous["swarmscale_reconciles_total"] - first["swarmscale_reconciles_total"]
    median = statistics.median(rates)
    result.add(
        "sync period 1 s, passes per second: median, min, max",
        f"{median:.0f}, {min(rates):.0f}, {max(rates):.0f} ({passes:.0f} in {at - began:.0f} s)")
    result.add(
        f"later full pass over {count} (at the median rate)", f"{count / max(median, 1e-9):.2f} s",
        verdict(count / max(median, 1e-9), PASS_TARGET_SECONDS, "s"))
    result.add("CPU of the controller", f"{1e3 * used / max(1, passes):.2f} ms a pass, {100 * used / (at - began):.0f} % of a core")
    result.add("failed passes", f"{previous['failures'] - first['failures']:.0f}")


def measure(arguments: argparse.Namespace, state: dict[str, Any]) -> Result:
    """Makes the fleet, runs the controller twice and measures."""
    result = Result([])
    server = Server(state)
    fleet = Fleet(server, state["controlURL"], arguments)
    logs = Path(tempfile.mkdtemp(prefix="swarmscale-benchmark."))
    controller: Controller | None = None
    try:
        fleet.make()
        if arguments.save_pods:
            fleet.save_pods(arguments.save_pods)
        watch = StatusWatch(server, fleet.namespace)
        watch.start()
        say(f"the controller starts; its logs are in {logs}")
        controller = Controller(arguments.controller, state["kubeconfig"], arguments.sync_period, logs / "usual.log")
        first_pass(controller, watch, fleet.count, result)
        say("first pass done; steady state")
        steady_state(controller, fleet.count, arguments.seconds, arguments.sync_period, result)
        result.add("exit code after SIGTERM", str(controller.stop()))
        say("as many passes as it can make")
        controller = Controller(arguments.controller, state["kubeconfig"], "1s", logs / "saturated.log")
        saturated(controller, fleet.count, arguments.seconds, result)
        controller.stop()
    finally:
        if controller is not None and controller.child.poll() is None:
            controller.child.kill()
            controller.child.wait()
        if not arguments.keep:
            fleet.remove()
    return result


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", type=Path, default=os.environ.get("SWARMSCALE_TEST_CLUSTER"),
                        help="state.json of scripts/control-plane (default: $SWARMSCALE_TEST_CLUSTER)")
    parser.add_argument("--controller", type=Path, required=True, help="the release build of swarmscale-controller")
    parser.add_argument("--autoscalers", type=int, default=1_000)
    parser.add_argument("--pods", type=int, default=10, help="of each Deployment")
    parser.add_argument("--seconds", type=float, default=45, help="length of each measurement")
    parser.add_argument("--sync-period", default="15s")
    parser.add_argument("--namespace", default="swarmscale-benchmark")
    parser.add_argument("--parallel", type=int, default=8, help="threads that make objects")
    parser.add_argument("--save-pods", type=Path, help="folder for pods.json and pods.pb, for `Benchmarks/run decode`")
    parser.add_argument("--keep", action="store_true", help="leave the namespace behind")
    arguments = parser.parse_args()
    if not arguments.cluster:
        parser.error("no cluster: give --cluster, or start this by Benchmarks/run reconcile")
    if arguments.autoscalers < 1 or not 5 <= arguments.pods <= 100:
        parser.error("--autoscalers must be at least 1, and --pods from 5 to 100, the autoscalers' bounds")
    return arguments


def main() -> int:
    """Runs the benchmark."""
    arguments = parse()
    try:
        state = json.loads(Path(arguments.cluster).read_text())
        result = measure(arguments, state)
    except (BenchmarkError, OSError, KeyError) as error:
        print(f"reconcile.py: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.autoscalers} autoscalers with {arguments.pods} pods each, "
          f"Kubernetes {state.get('kubernetesVersion', '?')}:")
    print(result.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
