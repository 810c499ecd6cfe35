"""Runs real clients through swarmscale-sidecar to mock-claude; called by `run`, which prepares the programs."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
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
BODY = {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "<<out=1>>"}]}


class Tap:
    """Passes connections on and keeps the bytes that clients send; before the first message `before` is called."""

    def __init__(self, target: int, before: Callable[[], None] = lambda: None) -> None:
        self.target = target
        self.before = before
        self.lock = threading.Lock()
        self.first: float | None = None
        self.sent: list[bytearray] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            record = bytearray()
            self.sent.append(record)
            threading.Thread(target=self._copy, args=(client, server, record), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, None), daemon=True).start()

    def _note(self, data: bytes) -> None:
        with self.lock:
            if self.first is None and data.startswith(b"POST "):
                self.before()
                self.first = time.monotonic()

    def _copy(self, source: socket.socket, sink: socket.socket, record: bytearray | None) -> None:
        try:
            while data := source.recv(65536):
                if record is not None:
                    self._note(data)
                    record.extend(data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def bodies(self) -> set[bytes]:
        """The bodies of all requests that have one."""
        found: set[bytes] = set()
        for record in self.sent:
            rest = bytes(record)
            while b"\r\n\r\n" in rest:
                head, rest = rest.split(b"\r\n\r\n", 1)
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                length = int(lengths[0].split(b":")[1]) if lengths else 0
                if length:
                    found.add(rest[:length])
                rest = rest[length:]
        return found


@dataclasses.dataclass
class Case:
    """One thing that a client must live through."""

    name: str
    mock: dict[str, Any]
    # The bucket of the mock is emptied by one request past the sidecar right before the client's first one.
    drain: bool = False
    # What the client must come to: "done", or "cut" for a stream that breaks off.
    outcome: str = "done"
    # Seconds that it must take at least, from the client's first request on.
    least: float = 0
    # The budget file of the sidecar; empty: limits are learned.
    budget: str = ""
    # One request goes through the sidecar right before the client's first one, and takes what the budget has.
    fill: bool = False
    # How many times the client does its work, one after another.
    rounds: int = 1
    # What is posted to the mock's /admin/limits a second after the client's first request.
    change: dict[str, Any] | None = None
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def limited(seconds: int) -> dict[str, Any]:
    """A mock whose bucket holds one request, and that answers 429 with this retry-after.

    The bucket is full again after ten seconds at most, so that the retry-after is never shorter than the truth.
    """
    refill = min(seconds, 10)
    return {
        "limits": [{"requests": 60 // refill, "depthSeconds": refill}],
        "headers": {"retryAfterOverride": seconds},
        "pace": {"timeToFirstToken": 0},
    }


# 0.45 requests a minute: whoever comes second waits for 0.92 of one, two minutes.
SLOW_BUDGET = """
kind: APIBudget
metadata: {name: slow}
spec:
  limits: {requestsPerMinute: 1}
  target: {lower: 40, upper: 45}
  reserve: 0
"""
QUICK: dict[str, Any] = {"pace": {"timeToFirstToken": 0}}
CASES = [
    Case("plain", QUICK),
    Case("retry-after-2", limited(2), drain=True, least=2),
    Case("retry-after-60", limited(60), drain=True, least=60),
    Case("retry-after-90", limited(90), drain=True, least=90),
    Case("529-burst", QUICK | {"faults": [{"fault": "overloaded", "count": 4}]}, least=5),
    Case("reset-before-headers", QUICK | {"faults": [{"fault": "reset-before-headers", "count": 2}]}),
    Case("queue-wait-120", QUICK, budget=SLOW_BUDGET, fill=True, least=119),
    Case(
        "limit-halved", QUICK | {"limits": [{"requests": 30, "depthSeconds": 4}]}, rounds=6, least=12,
        change={"requests": 15, "depthSeconds": 4}),
    Case("cut-stream", QUICK | {"faults": [{"fault": "close;after=5", "count": 1}]}, outcome="cut"),
]


class Failure(Exception):
    """A case that didn't come out as it must."""


def start(arguments: list[str], ready: pathlib.Path, log: pathlib.Path) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a program and waits for the port that it writes into `ready`."""
    with log.open("wb") as output:
        process = subprocess.Popen([*arguments, "--ready-file", str(ready)], stdout=output, stderr=output)
    for _ in range(600):
        if ready.exists():
            return process, int(ready.read_text().strip().rsplit(":", 1)[1])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise Failure(f"{arguments[0]} doesn't start: {log.read_text()}")


def post(port: int, path: str, body: Any) -> None:
    """Sends one JSON request to the mock itself."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=json.dumps(body).encode(),
        headers={"x-api-key": "dummy", "anthropic-version": "2023-06-01", "content-type": "application/json"})
    urllib.request.urlopen(request, timeout=30).read()


def get(port: int, path: str) -> Any:
    """Reads JSON from the mock."""
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30))


def client(kind: str, mode: str, environments: pathlib.Path, port: int, home: str) -> dict[str, Any]:
    """Runs a client to its end."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": home, "ANTHROPIC_API_KEY": "sk-ant-dummy",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    if kind == "claude-code":
        package = next((environments / kind).glob("lib/python*/site-packages/claude_agent_sdk/_bundled/claude"))
        command = [str(package), "-p", "<<out=20>> hello", "--output-format", "json", "--model", "claude-sonnet-4-5"]
    else:
        command = [str(environments / kind / "bin/python"), str(HERE / "sdk_client.py"), mode]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, timeout=400, check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise Failure(f"exit code {done.returncode}: {done.stdout!r} {done.stderr[-500:]!r}") from None
    return result


def before(case: Case, mock: int, sidecar: int) -> None:
    """What happens right before the client's first request."""
    if case.fill:
        post(sidecar, "/v1/messages", BODY)
    if case.drain:
        post(mock, "/v1/messages", BODY)
    if case.change:
        timer = threading.Timer(1, post, (mock, "/admin/limits", case.change))
        timer.daemon = True
        timer.start()


def verify_work(case: Case, kind: str, result: dict[str, Any]) -> None:
    """Raises what is wrong with a client's work."""
    # Claude Code sends a stream again that broke off.
    cut = case.outcome == "cut" and kind != "claude-code"
    if kind == "claude-code":
        if result.get("is_error") or result.get("subtype") != "success":
            raise Failure(f"Claude Code failed: {result}")
    elif cut:
        if "error" not in result or "status" in result:
            raise Failure(f"the stream should have broken off: {result}")
    elif result.get("output") != 20:
        raise Failure(f"20 tokens were to come: {result}")


def verify(case: Case, kind: str, result: dict[str, Any], elapsed: float, taps: tuple[Tap, Tap], mock: int) -> None:
    """Raises what is wrong with a run."""
    verify_work(case, kind, result)
    if elapsed < case.least:
        raise Failure(f"took {elapsed:.1f} s, less than {case.least}")
    came, went = (tap.bodies() for tap in taps)
    # Not the client's.
    went.discard(json.dumps(BODY).encode())
    if not came or came != went:
        raise Failure(f"{len(came)} bodies came, {len(went)} went upstream, {len(came & went)} are the same")
    oracle = get(mock, "/admin/oracle")
    if case.change and not any(
            bucket["limit"] == case.change["requests"] for pool in oracle["pools"] for bucket in pool["buckets"]):
        raise Failure(f"the limit wasn't changed: {oracle['pools']}")
    early = oracle["attemptsBeforeRetryAfter"]
    if early:
        raise Failure(f"{early} attempts came before their retry-after")


def run(case: Case, kind: str, mode: str, binaries: pathlib.Path, environments: pathlib.Path) -> str:
    """Runs one client through one case; returns what to print."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "mock.json").write_text(json.dumps(case.mock))
        processes = []
        try:
            process, mock = start(
                [str(binaries / "mock-claude"), "--config", str(place / "mock.json")], place / "mock", place / "mock.log")
            processes.append(process)
            behind = Tap(mock)
            arguments = ["--listen", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{behind.port}"]
            if case.budget:
                (place / "budget.yaml").write_text(case.budget)
                arguments += ["--budget", str(place / "budget.yaml")]
            process, port = start(
                [str(binaries / "swarmscale-sidecar"), *arguments], place / "sidecar", place / "sidecar.log")
            processes.append(process)
            front = Tap(port, (lambda: before(case, mock, port)))
            result = client(kind, mode, environments, front.port, folder)
            for _ in range(1, case.rounds):
                verify_work(case, kind, result)
                result = client(kind, mode, environments, front.port, folder)
            elapsed = time.monotonic() - (front.first or time.monotonic())
            verify(case, kind, result, elapsed, (front, behind), mock)
            process.terminate()
            if process.wait(timeout=60) != 0:
                raise Failure(f"the sidecar ended with {process.returncode} on SIGTERM")
            if "sk-ant-dummy" in (place / "sidecar.log").read_text():
                raise Failure("the key stands in the log")
            return f"{elapsed:.1f} s"
        except Failure as failure:
            log = (place / "sidecar.log").read_text() if (place / "sidecar.log").exists() else ""
            raise Failure(f"{failure}\n{log[-1500:]}") from None
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def main() -> int:
    """Runs all cases side by side and prints one line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--environments", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    runs = []
    for case in CASES:
        for kind in ("sdk-newest", "sdk-0.86", "claude-code"):
            modes = ["stream"] if kind == "claude-code" or case.outcome == "cut" else ["stream", "whole"]
            runs += [(f"{case.name} {kind} {mode}", case, kind, mode) for mode in modes]
    runs = [entry for entry in runs if options.only in entry[0]]
    if options.list:
        print("\n".join(entry[0] for entry in runs))
        return 0
    failed = 0
    # Those that wait take no processor; the longest go first.
    runs.sort(key=lambda entry: -entry[1].least)
    with concurrent.futures.ThreadPoolExecutor(max_workers=12) as pool:
        futures = [
            (name, pool.submit(run, case, kind, mode, options.bin, options.environments))
            for name, case, kind, mode in runs
        ]
        for name, future in futures:
            try:
                print(f"ok      {name}: {future.result()}", flush=True)
            except Exception as error:  # Whatever went wrong belongs into the report of this case.
                failed += 1
                print(f"FAILED  {name}: {error}", flush=True)
    print(f"{len(runs) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
