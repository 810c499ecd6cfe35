"""Kills and stops real servers and workers for some minutes, and checks what is left; called by `run`."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import story

STEPS = 3
# Streams that the engine has for tasks and keys, with three replicas; those of the last two only once they are used.
STREAMS = {"chaos_q_q", "chaos_r_q", "chaos_state", "chaos_counters"}
OPTIONAL_STREAMS = {"chaos_schedules", "OBJ_chaos_blobs"}
# All others have none: what follows a stream for a while takes its consumer along.
CONSUMERS = {"chaos_q_q": {"critical", "high", "normal", "bulk"}, "chaos_schedules": {"due"}}


class Failure(Exception):
    """Something that must hold doesn't."""


def free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> Any:
    """JSON of a URL."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def wait_until(what: str, seconds: float, test: Any) -> float:
    """Asks until it holds; how long it took. A failure when it doesn't within so many seconds."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        try:
            if test():
                return time.monotonic() - start
        except (OSError, urllib.error.URLError, ValueError, KeyError):
            pass
        time.sleep(0.2)
    raise Failure(f"not within {seconds:.0f} s: {what}")


class Servers:
    """Three NATS servers in one cluster."""

    def __init__(self, folder: pathlib.Path, program: str) -> None:
        self.folder = folder
        self.program = program
        self.ports = [free_port() for _ in range(3)]
        self.monitors = [free_port() for _ in range(3)]
        self.routes = [free_port() for _ in range(3)]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * 3
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
        for index in range(3):
            (folder / f"n{index}.conf").write_text(
                f'server_name: "n{index}"\nlisten: "127.0.0.1:{self.ports[index]}"\n'
                f'http: "127.0.0.1:{self.monitors[index]}"\n'
                f'jetstream {{ store_dir: "{folder}/js{index}" }}\n'
                # The server allows no shorter one.
                'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n'
                f'cluster {{ name: "chaos", listen: "127.0.0.1:{self.routes[index]}", routes: [{routes}] }}\n')

    @property
    def urls(self) -> str:
        """Of all servers, for clients."""
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def start(self, index: int) -> None:
        """Starts one; it isn't ready yet."""
        with (self.folder / f"n{index}.log").open("ab") as log:
            self.processes[index] = subprocess.Popen(
                [self.program, "-c", str(self.folder / f"n{index}.conf")], stdout=log, stderr=log)

    def is_healthy(self, index: int) -> bool:
        """Whether it is in the cluster, and all its streams have caught up."""
        return bool(get(f"http://127.0.0.1:{self.monitors[index]}/healthz").get("status") == "ok")

    def wait_healthy(self, index: int) -> None:
        """Waits until it is."""
        wait_until(f"n{index} healthy again", 120, lambda: self.is_healthy(index))

    def signal(self, index: int, number: int) -> None:
        """Sends one a signal."""
        process = self.processes[index]
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def kill(self, index: int) -> None:
        """kill -9, and waits for its end."""
        self.signal(index, signal.SIGKILL)
        process = self.processes[index]
        if process is not None:
            process.wait()

    def streams(self, options: str = "") -> dict[str, Any]:
        """What each stream is like, as its leader says."""
        found: dict[str, Any] = {}
        for index, monitor in enumerate(self.monitors):
            try:
                answer = get(f"http://127.0.0.1:{monitor}/jsz?streams=true{options}")
            except (OSError, ValueError):
                continue
            for account in answer.get("account_details", []):
                for stream in account.get("stream_detail") or []:
                    if stream.get("cluster", {}).get("leader") == f"n{index}":
                        found[stream["name"]] = stream
        return found

    def leader(self, stream: str) -> int | None:
        """The number of the server that leads a stream."""
        leader = self.streams().get(stream, {}).get("cluster", {}).get("leader", "")
        return int(leader[1:]) if leader else None

    def connections(self) -> int:
        """Clients that are connected."""
        return sum(get(f"http://127.0.0.1:{monitor}/connz")["num_connections"] for monitor in self.monitors)


class MockLog(threading.Thread):
    """Collects what MockClaude has been asked: `TASK.STEP.EPOCH` of each call."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.ended = threading.Event()
        self.sessions: list[str] = []
        self.after = 0

    def collect(self) -> None:
        """Takes what is new."""
        while True:
            new = get(f"http://127.0.0.1:{self.port}/admin/requests?after={self.after}&limit=1000")
            self.sessions += [record.get("session") or "" for record in new]
            if new:
                self.after = new[-1]["number"]
            if len(new) < 1000:
                return

    def run(self) -> None:
        while not self.ended.wait(1):
            try:
                self.collect()
            except OSError:
                pass


class Chaos:
    """All processes of one run."""

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path) -> None:
        self.options = options
        self.folder = folder
        self.random = random.Random(options.seed)
        self.servers = Servers(folder, options.nats_server)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.incarnations = [0] * options.workers
        self.others: list[subprocess.Popen[bytes]] = []
        self.faults: list[story.Fault] = []
        self.loads: list[float] = []
        self.mock_port = free_port()
        self.began = 0.0

    # Processes

    def program(self, name: str) -> str:
        """The path of a program."""
        for folder in self.options.bin.split(":"):
            if os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
        raise Failure(f"{name} is in none of {self.options.bin}; swift build --product {name}")

    def start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Starts a process whose output goes to NAME.out."""
        with (self.folder / f"{name}.out").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def testbed(self, title: str, mode: str, **values: Any) -> subprocess.Popen[bytes]:
        """Starts a chaos-testbed."""
        values = {"servers": self.servers.urls, "lease": self.options.lease, **values}
        return self.start(
            title, [self.program("chaos-testbed"), mode, *(f"{key}={value}" for key, value in values.items())])

    def worker(self, index: int) -> subprocess.Popen[bytes]:
        """Starts a worker, under a name that none had before."""
        self.incarnations[index] += 1
        name = f"w{index}-{self.incarnations[index]}"
        return self.testbed(
            name, "worker", name=name, agents=self.options.agents, steps=STEPS, mock=self.mock_port,
            log=self.folder / f"{name}.log")

    def begin(self) -> None:
        """Starts all."""
        for index in range(3):
            self.servers.start(index)
        for index in range(3):
            self.servers.wait_healthy(index)
        configuration = self.folder / "mock.json"
        # A call takes as long as it takes to the first token, and hardly longer; limits are none.
        configuration.write_text(json.dumps({
            "limits": [{"group": "claude-sonnet-4", "requests": 10**9, "inputTokens": 10**12, "outputTokens": 10**12}],
            "pace": {"timeToFirstToken": self.options.call_seconds, "tokensPerSecond": 1000}}))
        self.others.append(self.start(
            "mock", [self.program("mock-claude"), "--port", str(self.mock_port), "--config", str(configuration)]))
        wait_until("mock-claude", 30, lambda: get(f"http://127.0.0.1:{self.mock_port}/admin/oracle?seconds=1"))
        self.workers = [self.worker(index) for index in range(self.options.workers)]

    def end(self) -> None:
        """Ends what still runs, however it is."""
        for process in [*self.workers, *self.others, *self.servers.processes]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    # Faults

    def note(self, kind: str, detail: str) -> None:
        """Keeps that a fault begins now."""
        self.faults.append(story.Fault(time.time(), kind, detail))
        print(f"{time.time() - self.began:6.1f} s  {kind}: {detail}", flush=True)

    def kill_servers(self, kind: str, which: list[int], away: float) -> None:
        """kill -9 of servers, which come back after some seconds."""
        self.note(kind, ", ".join(f"n{index}" for index in which))
        for index in which:
            self.servers.kill(index)
        time.sleep(away)
        for index in which:
            self.servers.start(index)
        for index in which:
            self.servers.wait_healthy(index)

    def lame_duck(self, index: int) -> None:
        """A server leaves in good order, and comes back."""
        self.note("lame duck", f"n{index}")
        self.servers.signal(index, signal.SIGUSR2)
        process = self.servers.processes[index]
        if process is not None:
            process.wait(timeout=120)
        self.servers.start(index)
        self.servers.wait_healthy(index)

    def kill_workers(self, kind: str, which: list[int]) -> None:
        """kill -9 of workers, which come back after some seconds under new names."""
        self.note(kind, ", ".join(f"w{index}-{self.incarnations[index]}" for index in which))
        for index in which:
            self.workers[index].kill()
            self.workers[index].wait()
        time.sleep(self.random.uniform(1, 4))
        for index in which:
            self.workers[index] = self.worker(index)

    def stop_worker(self, index: int) -> None:
        """A worker stands still for longer than its lease, and goes on as if nothing had been."""
        self.note("worker stopped beyond its lease", f"w{index}-{self.incarnations[index]}")
        self.workers[index].send_signal(signal.SIGSTOP)
        time.sleep(self.options.lease * 1.3)
        self.workers[index].send_signal(signal.SIGCONT)

    def fault(self, kind: str) -> None:
        """One fault, until what it took is back."""
        # Drawn whatever the kind, so that the plan is the seed's alone.
        server, worker, other = self.random.randrange(3), self.random.randrange(len(self.workers)), self.random.random()
        away = self.random.uniform(2, 5)
        if kind == "leader killed":
            leader = self.servers.leader("chaos_r_q")
            self.kill_servers(kind, [server if leader is None else leader], away)
        elif kind == "server killed":
            self.kill_servers(kind, [server], away)
        elif kind == "all servers killed":
            self.kill_servers(kind, [0, 1, 2], away)
        elif kind == "lame duck":
            leader = self.servers.leader("chaos_r_q")
            self.lame_duck(server if leader is None else leader)
        elif kind == "worker killed":
            self.kill_workers(kind, [worker])
        elif kind == "20 % of workers killed":
            count = max(1, len(self.workers) // 5)
            self.kill_workers(kind, [(worker + offset) % len(self.workers) for offset in range(count)])
        elif kind == "worker stopped beyond its lease":
            self.stop_worker((worker + int(other * 3)) % len(self.workers))

    def deck(self) -> list[str]:
        """The next faults in their order."""
        if self.options.only:
            return [self.options.only]
        kinds = ["leader killed", "20 % of workers killed", "worker stopped beyond its lease"]
        if self.options.seconds >= 180:
            kinds += ["leader killed", "server killed", "worker killed", "all servers killed"]
        self.random.shuffle(kinds)
        # Takes half a minute: not first in a short run.
        return [*kinds, "lame duck"]

    def rage(self) -> None:
        """Faults for as long as they were ordered, a quiet while between them."""
        end = self.began + self.options.seconds
        deck: list[str] = []
        while time.time() < end:
            deck = deck or self.deck()
            self.fault(deck.pop(0))
            self.loads.append(os.getloadavg()[0])
            dead = [process.args for process in [*self.workers, *self.others] if process.poll() is not None]
            if dead:
                raise Failure(f"ended by itself: {dead}")
            # Long enough to see whether throughput is back.
            time.sleep(self.random.uniform(12, 18) if self.options.seconds >= 180 else 8)

    # The whole

    def run(self) -> dict[str, Any]:
        """A run with its checks; the figures."""
        self.begin()
        mock = MockLog(self.mock_port)
        mock.start()
        submitter = self.testbed("submitter", "submitter", rate=self.options.rate, log=self.folder / "submitter.log")
        self.others.append(submitter)
        # Steady before the first fault.
        warm = 5 + STEPS * self.options.call_seconds + 10
        wait_until("first results", 60, lambda: story.committed(self.folder))
        time.sleep(warm)
        self.began = time.time()
        self.rage()
        print(f"{time.time() - self.began:6.1f} s  no more faults; everything drains", flush=True)
        calm = time.time()
        submitter.send_signal(signal.SIGTERM)
        submitter.wait(timeout=60)
        self.others.remove(submitter)
        if submitter.returncode:
            raise Failure(f"the submitter ended with {submitter.returncode}: see submitter.out")
        bound = self.options.lease * 2 + STEPS * self.options.call_seconds * 4 + 60
        wait_until(
            "no task waits or is held", bound,
            lambda: self.servers.streams()["chaos_q_q"]["state"]["messages"] == 0)
        drained = time.time() - calm
        self.close_workers()
        mock.collect()
        mock.ended.set()
        told = story.Story(self.folder, STEPS, mock.sessions)
        problems = told.problems(self.options.lease) + self.left_behind(told)
        figures = told.figures(self.faults, self.options, drained, self.loads)
        story.show(figures)
        if problems:
            raise Failure("\n".join(["", *problems[:20], f"{len(problems)} problems in all"]))
        return figures

    def close_workers(self) -> None:
        """Ends the workers in good order."""
        for process in self.workers:
            process.send_signal(signal.SIGTERM)
        for process in self.workers:
            process.wait(timeout=60)
        codes = {process.returncode for process in self.workers}
        if codes != {0}:
            raise Failure(f"workers ended with {codes}")

    def left_behind(self, told: story.Story) -> list[str]:
        """Compares what the engine has with what the processes said; looks for what nobody needs any more."""
        problems: list[str] = []
        wait_until("no connection is left", 30, lambda: self.servers.connections() == 0)
        streams = self.servers.streams("&consumers=true&config=true")
        names = set(streams)
        if not STREAMS <= names <= STREAMS | OPTIONAL_STREAMS:
            problems.append(f"streams are {sorted(names)}")
        for name, stream in streams.items():
            consumers = {consumer["name"]: consumer for consumer in stream.get("consumer_detail") or []}
            if set(consumers) != CONSUMERS.get(name, set()):
                problems.append(f"consumers of {name} are {sorted(consumers)}")
            for consumer in consumers.values():
                if consumer.get("num_ack_pending") or consumer.get("num_pending"):
                    problems.append(f"the consumer {consumer['name']} still has something")
        # Keys of workers that were killed end by themselves, after two leases.
        time.sleep(self.options.lease * 2 + 2)
        (self.folder / "ids").write_text("\n".join(told.acknowledged.values()) + "\n")
        output = self.folder / "check"
        check = self.testbed("check", "check", ids=self.folder / "ids", output=output)
        self.others.append(check)
        if check.wait(timeout=300) != 0:
            raise Failure("the check ended with an error: see check.out")
        return problems + told.compare(output)


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--nats-server", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--lease", type=float, default=15)
    parser.add_argument("--call-seconds", type=float, default=4)
    parser.add_argument("--only")
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    # Also where a shell has started it in the background, with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="swarmscale-chaos-"))
    chaos = Chaos(options, folder)
    is_over = False
    try:
        figures = chaos.run()
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
        is_over = True
        return 0
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"FAILED, seed {options.seed}: {failure}\nlogs: {folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        is_over = True
        return 130
    finally:
        chaos.end()
        if is_over and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        elif options.keep:
            print(f"logs: {folder}")


if __name__ == "__main__":
    sys.exit(main())
