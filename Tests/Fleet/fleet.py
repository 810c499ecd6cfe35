"""Runs a fleet of real processes for some minutes and checks it against the mock's oracle; called by `run`."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
NAMESPACE = "fleet"
KEY = "sk-ant-planted-key-7d1f"
PROMPT = "planted-prompt-93ac"
# Input tokens a minute; each request costs about 2,000, so that some 570 a minute are in the target of 95 %.
INPUT_LIMIT = 1_200_000
TARGET = 0.95
MOCK: dict[str, Any] = {
    "limits": [{"group": "claude-sonnet-4", "requests": 4000, "inputTokens": INPUT_LIMIT, "outputTokens": 400_000}],
    "pace": {"timeToFirstToken": 0.3, "tokensPerSecond": 200},
}
BODY = json.dumps(
    {"model": "claude-sonnet-4-5", "max_tokens": 1000, "stream": True,
     "messages": [{"role": "user", "content": PROMPT + " <<out=30>> " + "lorem ipsum " * 650}]}
).encode()
CLIENTS = 4


class Failure(Exception):
    """Something that must hold doesn't."""


def free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """The processes of the test, each with a log."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        """Starts a process whose output goes to NAME.log, after what an earlier one of the name wrote."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **(environment or {})})

    def log(self, name: str) -> str:
        """What it has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name: str, file: pathlib.Path) -> str:
        """The text of a file once the process has written it."""
        for _ in range(600):
            if file.exists() and file.read_text().strip():
                return file.read_text().strip()
            if self.running[name].poll() is not None:
                break
            time.sleep(0.1)
        raise Failure(f"{name} doesn't start: {self.log(name)[-2000:]}")

    def end(self) -> dict[str, int]:
        """Ends all in good order; the exit codes."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self.running.items():
            try:
                codes[name] = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        return codes


class Client(threading.Thread):
    """One caller behind a sidecar: a request, its whole stream, the next one."""

    def __init__(self, pod: int, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.pod = pod
        self.port = port
        self.stop = stop
        self.done: list[float] = []
        self.statuses: dict[str, int] = {}
        self.sample = ""

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.ask()
            except (OSError, http.client.HTTPException) as error:
                # Its sidecar was killed, or isn't back yet.
                self.statuses[type(error).__name__] = self.statuses.get(type(error).__name__, 0) + 1
                self.stop.wait(0.5)

    def ask(self) -> None:
        """One request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=330)
        try:
            connection.request(
                "POST", "/v1/messages", body=BODY,
                headers={"x-api-key": KEY, "anthropic-version": "2023-06-01", "content-type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
            key = str(response.status) if "message_stop" in text or response.status != 200 else "cut"
            self.statuses[key] = self.statuses.get(key, 0) + 1
            if key == "200":
                self.done.append(time.monotonic())
                if not self.sample:
                    self.sample = "".join(re.findall(r'"text_delta","text":"([^"]*)"', text))
        finally:
            connection.close()


def get(port: int, path: str) -> str:
    """The body of a GET on loopback."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return str(response.read().decode())


class Fleet:
    """Everything that runs."""

    def __init__(self, binaries: pathlib.Path, folder: pathlib.Path, size: int) -> None:
        self.binaries = binaries
        self.folder = folder
        self.size = size
        self.processes = Processes(folder)
        self.ports: dict[int, int] = {}
        self.mock = 0
        self.coordinator = free_port()
        # Two replicas, as deployed. Only the leader listens at the coordinator's port, so they can share one here.
        self.health = {name: free_port() for name in ("controller-a", "controller-b")}

    def start(self, kubeconfig: str) -> None:
        """Starts the API, the coordinator and the sidecars."""
        (self.folder / "mock.json").write_text(json.dumps(MOCK))
        self.processes.start(
            "mock", [str(self.binaries / "mock-claude"), "--config", str(self.folder / "mock.json"), "--ready-file",
                     str(self.folder / "mock.ready")])
        self.mock = int(self.processes.wait_for("mock", self.folder / "mock.ready").rsplit(":", 1)[1])
        self.kubeconfig = kubeconfig
        for name in self.health:
            self.controller(name)
        for pod in range(self.size):
            self.ports[pod] = free_port()
            self.sidecar(pod)
        for pod in range(self.size):
            self.processes.wait_for(f"sidecar-{pod}", self.folder / f"sidecar-{pod}.ready")

    def controller(self, name: str) -> None:
        """Starts a replica of the controller, which leads or waits."""
        self.processes.start(
            name,
            [str(self.binaries / "swarmscale-controller"), "--kubeconfig", self.kubeconfig, "--namespace", NAMESPACE,
             "--leader-election-namespace", NAMESPACE, "--listen", f"127.0.0.1:{self.health[name]}",
             "--coordinator-listen", f"127.0.0.1:{self.coordinator}", "--coordinator-authentication", "None"])

    def leader(self) -> str | None:
        """The replica that leads now, by its own metrics; None while nobody does."""
        for name, port in self.health.items():
            try:
                if re.search(r"^swarmscale_leader(\{[^}]*\})? 1$", get(port, "/metrics"), re.MULTILINE):
                    return name
            except OSError:
                continue
        return None

    def wait_for_leader(self, seconds: float) -> str:
        """The leader, once there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if name := self.leader():
                return name
            time.sleep(0.25)
        raise Failure(f"nobody leads after {seconds} s")

    def sidecar(self, pod: int) -> None:
        """Starts one sidecar, as the webhook would set it up; two fleets share the budget."""
        self.processes.start(
            f"sidecar-{pod}",
            [str(self.binaries / "swarmscale-sidecar"), "--listen", f"127.0.0.1:{self.ports[pod]}", "--ready-file",
             str(self.folder / f"sidecar-{pod}.ready")],
            {
                "SWARMSCALE_COORDINATOR": f"http://127.0.0.1:{self.coordinator}", "SWARMSCALE_NAMESPACE": NAMESPACE,
                "SWARMSCALE_POD": f"pod-{pod}", "SWARMSCALE_POD_UID": f"uid-{pod}",
                "SWARMSCALE_AUTOSCALER": f"fleet-{pod % 2}", "ANTHROPIC_UPSTREAM": f"http://127.0.0.1:{self.mock}",
            })

    def kill(self, pod: int) -> None:
        """Kills a sidecar as the kernel would; another takes its place at the same address."""
        process = self.processes.running[f"sidecar-{pod}"]
        process.kill()
        process.wait()
        self.sidecar(pod)

    def oracle(self, seconds: int) -> dict[str, Any]:
        """What the API has truly charged."""
        result: dict[str, Any] = json.loads(get(self.mock, f"/admin/oracle?seconds={seconds}"))
        return result


def jain(values: list[int]) -> float:
    """Jain's index of fairness: 1 is equal."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values)) if any(values) else 0.0


def check(condition: bool, text: str, failures: list[str]) -> None:
    """Prints what was found, and keeps it when it isn't right."""
    print(f"{'ok      ' if condition else 'FAILED  '}{text}", flush=True)
    if not condition:
        failures.append(text)


def measure(fleet: Fleet, warm_up: int, seconds: int, status: Callable[[], str]) -> list[str]:
    """Runs clients, and compares with what must hold."""
    failures: list[str] = []
    stop = threading.Event()
    clients = [Client(pod, fleet.ports[pod], stop) for pod in range(fleet.size) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    print(f"{fleet.size} sidecars, {len(clients)} clients; {warm_up} s of warm-up", flush=True)
    time.sleep(warm_up)
    begin = time.monotonic()
    time.sleep(seconds / 3)
    print("two sidecars are killed and begin anew", flush=True)
    fleet.kill(0)
    fleet.kill(1)
    time.sleep(seconds - (time.monotonic() - begin))
    end = time.monotonic()
    oracle = fleet.oracle(warm_up + seconds)
    leader = fleet.wait_for_leader(30)
    metrics = [get(fleet.health[leader], "/metrics")] + [get(port, "/metrics") for port in fleet.ports.values()]
    controller = metrics[0]
    shown = status()
    failover(fleet, leader, failures)
    stop.set()

    pool = next(entry for entry in oracle["pools"] if entry["group"] == "claude-sonnet-4")
    series = pool["inputTokensPerSecond"]
    charged = sum(series[-seconds:])
    tens = [sum(series[place : place + 10]) * 600 // INPUT_LIMIT for place in range(len(series) % 10, len(series), 10)]
    print(f"use of the limit in percent, ten seconds each: {tens}", flush=True)
    use = charged / (INPUT_LIMIT * TARGET * seconds / 60)
    # The sidecars that were killed took their open requests with them; everything else must come to its end.
    peak = next(entry["inputTokens"] for entry in pool["peaks"] if entry["seconds"] == 60)
    refused = sum(pool["refused"].values())
    statuses: dict[str, int] = {}
    for client in clients:
        for status, count in client.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    fair = [0, 0]
    pods = [0] * fleet.size
    for client in clients:
        count = sum(1 for moment in client.done if begin <= moment <= end)
        pods[client.pod] += count
        fair[client.pod % 2] += count
    print(f"answers by status: {statuses}; refused by the API: {pool['refused']}", flush=True)
    check(use >= 0.99, f"use of the binding limit: {use:.4f} of its target (at least 0.99)", failures)
    check(refused <= pool["admitted"] / 1000, f"429s: {refused} of {pool['admitted']} (at most 0.1 %)", failures)
    check(peak <= INPUT_LIMIT * 1.01, f"peak of a minute: {peak / INPUT_LIMIT:.4f} of the limit (at most 1.01)", failures)
    check(jain(fair) >= 0.95, f"fairness between the fleets: {jain(fair):.4f} {fair} (at least 0.95)", failures)
    check(jain(pods[2:]) >= 0.9, f"fairness between pods that lived: {jain(pods[2:]):.4f} (at least 0.9)", failures)
    check(not set(statuses) - {"200", "cut", "ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected",
                               "IncompleteRead"},
          "no answer but 200, besides connections of the killed sidecars", failures)
    lost = statuses.get("cut", 0) + sum(count for status, count in statuses.items() if status[0].isalpha() and status != "cut" and status != "ConnectionRefusedError")
    check(lost <= 2 * CLIENTS, f"requests that broke off: {lost} (at most those in two killed sidecars)", failures)
    check(f"swarmscale_coordinator_workers {fleet.size}\n" in controller, "the coordinator knows every worker, and each once", failures)
    budget = re.search(r'swarmscale_budget_limit\{.*dimension="inputTokens".*\} (\S+)', controller)
    check(budget is not None and float(budget[1]) == INPUT_LIMIT, "the coordinator has learned the limit from headers", failures)
    print(shown)
    check(re.search(r"input 9\d%", shown) is not None, "kubectl shows the use of the budget", failures)
    for client in clients:
        client.join(timeout=330)
    secrets(fleet, metrics, [client.sample for client in clients if client.sample], failures)
    return failures


def failover(fleet: Fleet, leader: str, failures: list[str]) -> None:
    """Kills the leader as the kernel would. Workers go on at their shares for a lease; the other replica takes over and learns."""
    before = time.monotonic()
    fleet.processes.running[leader].kill()
    fleet.processes.running.pop(leader).wait()
    fleet.health.pop(leader)
    other = fleet.wait_for_leader(60)
    taken = time.monotonic() - before
    deadline = time.monotonic() + 60
    while f"swarmscale_coordinator_workers {fleet.size}\n" not in get(fleet.health[other], "/metrics"):
        if time.monotonic() > deadline:
            failures.append("the workers don't join the new leader")
            return
        time.sleep(0.25)
    joined = time.monotonic() - before
    # A lease of learning from the take-over on, and a minute in which the limit is a limit again.
    time.sleep(max(0, taken + 15 + 60 - joined))
    pool = next(entry for entry in fleet.oracle(3600)["pools"] if entry["group"] == "claude-sonnet-4")
    # Not the second that runs: nothing of it may have been counted yet, a tenth of the last ten.
    series = pool["inputTokensPerSecond"][:-1]
    span = int(time.monotonic() - before)
    tens = [sum(series[place : place + 10]) * 600 / INPUT_LIMIT for place in range(len(series) - span // 10 * 10, len(series), 10)]
    print(f"failover from {leader}: another leads after {taken:.1f} s, all workers with it after {joined:.1f} s; "
          f"use of the limit in percent, ten seconds each: {[round(ten) for ten in tens]}", flush=True)
    peak = next(entry["inputTokens"] for entry in pool["peaks"] if entry["seconds"] == 60)
    check(taken <= 30, "another replica leads within two leases of the election", failures)
    check(min(tens) >= 100 * TARGET / 4, "no standstill while nobody leads or the new leader learns", failures)
    check(sum(tens[-3:]) / 3 >= 98 * TARGET, "the new leader brings the use back to its target", failures)
    check(peak <= INPUT_LIMIT * 1.01, f"peak of a minute with the failover: {peak / INPUT_LIMIT:.4f} of the limit (at most 1.01)", failures)
    check(sum(pool["refused"].values()) <= pool["admitted"] / 1000, f"429s with the failover: {pool['refused']} of {pool['admitted']}", failures)


def secrets(fleet: Fleet, metrics: list[str], completions: list[str], failures: list[str]) -> None:
    """No key, prompt or completion in what the product writes, and no core file that would hold them."""
    outputs = {f"metrics {number}": text for number, text in enumerate(metrics)}
    # By their files: the leader that was killed runs no more.
    for name in sorted(file.stem for file in fleet.folder.glob("*.log")):
        if name != "mock":
            outputs[name] = fleet.processes.log(name)
    check(all(outputs[name] for name in outputs), "every process has a log and metrics", failures)
    # Three words and more of a completion: single ones stand in any log.
    planted = [KEY, PROMPT] + [" ".join(text.split()[:4]) for text in completions]
    check(len(planted) > fleet.size, "completions were seen", failures)
    found = {(name, secret) for name, text in outputs.items() for secret in planted if secret in text}
    check(not found, f"no key, prompt or completion in {len(outputs)} logs and metrics {sorted(found)[:3]}", failures)
    for name in ("sidecar-2", *fleet.health):
        limits = pathlib.Path(f"/proc/{fleet.processes.running[name].pid}/limits").read_text()
        check(re.search(r"Max core file size\s+0\s+0\s", limits) is not None, f"{name} leaves no core file", failures)


def main() -> int:
    """Prepares the control plane, runs the fleet, reports."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--sidecars", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--warm-up", type=int, default=135)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plane = str(folder / "plane")
        subprocess.run(
            [str(REPOSITORY / "scripts/control-plane"), "up", plane, "--watch-pid", str(os.getpid())], check=True)
        fleet = Fleet(options.bin.resolve(), folder, options.sidecars)
        failures: list[str] = []
        try:
            kubeconfig = f"{plane}/kubeconfig"
            kubectl = ["kubectl", "--kubeconfig", kubeconfig]
            subprocess.run([*kubectl, "apply", "-k", str(REPOSITORY / "manifests/crd")], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(
                [*kubectl, "wait", "--for=condition=Established", "crd/apibudgets.swarmscale.dev", "--timeout=60s"],
                check=True, stdout=subprocess.DEVNULL)
            objects = {"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
                {"apiVersion": "swarmscale.dev/v1alpha1", "kind": "APIBudget",
                 "metadata": {"name": "claude", "namespace": NAMESPACE}, "spec": {"models": ["claude-sonnet-*"]}}]}
            subprocess.run(
                [*kubectl, "apply", "-f", "-"], input=json.dumps(objects).encode(), check=True, stdout=subprocess.DEVNULL)
            fleet.start(kubeconfig)
            failures = measure(fleet, options.warm_up, options.seconds, lambda: subprocess.run(
                [*kubectl, "get", "apibudget", "-n", NAMESPACE], check=True, capture_output=True, text=True).stdout)
        finally:
            codes = fleet.processes.end()
            subprocess.run([str(REPOSITORY / "scripts/control-plane"), "down", plane], check=False)
        check(not any(code for process, code in codes.items() if process != "mock"), f"all end with exit code 0 {codes}", failures)
        if failures:
            for process in ("controller-a", "controller-b", "sidecar-0", "sidecar-2"):
                print(f"--- {process}\n{fleet.processes.log(process)[-1500:]}")
    print(f"{len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
