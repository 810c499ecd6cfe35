#!/usr/bin/env python3
"""Measures what swarmscale-sidecar adds: latency, memory, size.

Started by `Benchmarks/run sidecar`; Benchmarks/README.md says what each number means. Linux only: the sidecar is held on
one core by taskset, and everything else on another one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
P50_TARGET_MS = 0.2
P99_TARGET_MS = 1.0
IDLE_TARGET_MB = 20.0
SIZE_TARGET_MB = 40.0

# Limits so wide that nothing ever waits.
BUDGET = """\
apiVersion: swarmscale.dev/v1alpha1
kind: APIBudget
metadata: {name: benchmark}
spec:
  models: ["claude-*"]
  limits: {requestsPerMinute: 100M, inputTokensPerMinute: 100G, outputTokensPerMinute: 100G}
"""


class BenchmarkError(Exception):
    """What went wrong, and what to do about it."""


def say(text: str) -> None:
    """Prints progress to standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


@dataclass
class Table:
    """Rows as a Markdown table."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Adds a row."""
        self.rows.append(cells)

    def text(self) -> str:
        """The table; all columns but the first and the last stand to the right."""
        rows = [self.head, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.head))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
        middle = len(widths) - 1
        rule = ["-" * (width - 1) + (":" if 0 < column < middle else "-") for column, width in enumerate(widths)]
        return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def verdict(value: float, limit: float, unit: str) -> str:
    """A target, and whether it is met."""
    return f"≤ {limit:g} {unit}: {'met' if value <= limit else 'MISSED'}"


def wait_for_port(port: int, child: subprocess.Popen[Any], limit: float = 60) -> None:
    """Waits until a child listens."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        if child.poll() is not None:
            raise BenchmarkError(f"{child.args[0]} ended with {child.returncode}; its words are above.")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise BenchmarkError(f"nothing listens on port {port} after {limit:.0f} s.")


class Child:
    """A program held on one core, ended with this one."""

    def __init__(self, arguments: list[str], core: int, nice: int, **options: Any) -> None:
        command = ["taskset", "-c", str(core)]
        if nice:
            command = ["nice", "-n", str(nice), *command]
        # All three replace themselves, so that the process is the program.
        self.process = subprocess.Popen(command + arguments, **options)

    def memory_mb(self, name: str) -> float:
        """VmRSS, VmHWM, RssAnon or RssFile in 10⁶ bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        if found is None:
            raise BenchmarkError(f"/proc/PID/status has no {name}.")
        return int(found.group(1)) * 1_024 / 1e6

    def threads(self) -> int:
        """How many threads it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def cpu_seconds(self) -> float:
        """CPU time so far; one clock tick is as exact as it gets."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise BenchmarkError(f"{self.process.args} did not end within 30 s of SIGTERM.") from None

    def kill(self) -> None:
        """Ends it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Bench:
    """Upstream and sidecar, and loads on them."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.children: list[Child] = []
        upstream = self._start([str(arguments.tools), "upstream"], arguments.other_core, stdout=subprocess.PIPE)
        if upstream.process.stdout is None:
            raise BenchmarkError("upstream has no output.")
        self.direct = int(upstream.process.stdout.readline() or 0)
        budget = folder / "budget.yaml"
        budget.write_text(BUDGET, encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.via: int = free.getsockname()[1]
        self.sidecar = self._start(
            [str(arguments.sidecar), "--budget", str(budget), "--upstream", f"http://127.0.0.1:{self.direct}",
             "--listen", f"127.0.0.1:{self.via}", "--log-level", "warning"], arguments.sidecar_core)
        wait_for_port(self.via, self.sidecar.process)

    def relay(self) -> tuple[Child, int]:
        """Starts something on the sidecar's core that only passes bytes on."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        relay = self._start([str(self.arguments.tools), "relay", "--port", str(port), "--to", str(self.direct)],
                            self.arguments.sidecar_core)
        wait_for_port(port, relay.process)
        return relay, port

    def _start(self, arguments: list[str], core: int, **options: Any) -> Child:
        child = Child(arguments, core, self.arguments.nice, **options)
        self.children.append(child)
        return child

    def load(self, *options: str) -> Child:
        """Starts a load; through the sidecar unless the options say otherwise."""
        via = () if "--via" in options else ("--via", str(self.via))
        return self._start(
            [str(self.arguments.tools), "load", "--direct", str(self.direct), *via, *options],
            self.arguments.other_core, stdout=subprocess.PIPE)

    def measure(self, *options: str) -> tuple[dict[str, Any], float]:
        """Runs a load; gives what it printed, and the sidecar's CPU seconds meanwhile."""
        before = self.sidecar.cpu_seconds()
        load = self.load(*options)
        output, _ = load.process.communicate()
        if load.process.returncode:
            raise BenchmarkError(f"load {' '.join(options)} ended with {load.process.returncode}.")
        return json.loads(output), self.sidecar.cpu_seconds() - before

    def close(self) -> None:
        """Ends everything."""
        for child in reversed(self.children):
            child.kill()


def milliseconds(nanoseconds: int) -> str:
    """With three digits behind the point."""
    return f"{nanoseconds / 1e6:.3f}"


def add_latency(table: Table, name: str, measured: dict[str, Any], targets: bool) -> int:
    """Adds the rows of one load; gives its errors."""
    direct, via, added = measured["direct"], measured["via"], measured["added"]
    for quantile, limit in (("p50", P50_TARGET_MS), ("p90", None), ("p99", P99_TARGET_MS)):
        difference = added[quantile]
        spread = f"{milliseconds(difference['min'])} to {milliseconds(difference['max'])}"
        target = verdict(difference["median"] / 1e6, limit, "ms") if targets and limit else ""
        table.add(name, quantile, milliseconds(direct[quantile]), milliseconds(via[quantile]),
                  milliseconds(difference["median"]), spread, target)
    table.add(name, "max", milliseconds(direct["max"]), milliseconds(via["max"]), "", "", "")
    return direct["errors"] + via["errors"]


def latency(bench: Bench, facts: Table) -> Table:
    """Requests at each rate, then events."""
    arguments = bench.arguments
    table = Table(("load", "quantile", "direct ms", "via sidecar ms", "added ms", "least to largest", "target"))
    shape = ["--rounds", str(arguments.rounds), "--seconds", str(arguments.seconds)]
    per_part = arguments.seconds + 2  # The first two seconds don't count.
    for rate in arguments.rates:
        say(f"{rate} requests/s, {arguments.rounds} rounds")
        measured, cpu = bench.measure("--rate", str(rate), "--body-bytes", str(arguments.body_bytes), *shape)
        errors = add_latency(table, f"{rate:,} requests/s", measured, rate == 1_000)
        sent = rate * per_part * arguments.rounds
        facts.add(f"{rate:,} requests/s: CPU of the sidecar; errors",
                  f"{1e6 * cpu / sent:.0f} µs a request, {100 * cpu * rate / sent:.0f} % of a core; {errors}", "0 errors")
    # What any process in between costs on this machine, without any work of the sidecar.
    rate = max(arguments.rates)
    say(f"{rate} requests/s through a relay that does nothing")
    relay, port = bench.relay()
    measured, _ = bench.measure(
        "--rate", str(rate), "--body-bytes", str(arguments.body_bytes), *shape, "--via", str(port))
    relay.kill()
    add_latency(table, f"{rate:,} requests/s, bare relay instead", measured, False)
    events = arguments.streams * arguments.pace
    say(f"{arguments.streams} streams × {arguments.pace} events/s")
    measured, cpu = bench.measure("--streams", str(arguments.streams), "--pace", str(arguments.pace), *shape)
    name = f"{arguments.streams} streams × {arguments.pace} events/s"
    errors = add_latency(table, name, measured, False)
    sent = events * per_part * arguments.rounds
    facts.add(f"{name}: CPU of the sidecar; errors",
              f"{1e6 * cpu / sent:.0f} µs an event, {100 * cpu * events / sent:.0f} % of a core; {errors}", "0 errors")
    return table


def open_streams(bench: Bench, facts: Table) -> None:
    """Memory while many streams are open."""
    count = bench.arguments.open_streams
    say(f"{count} open streams")
    load = bench.load("--only-via", "--streams", str(count), "--pace", "10", "--stream-seconds", "30", "--rounds", "1",
                      "--seconds", "8")
    resident: list[float] = []
    begin = time.monotonic()
    while load.process.poll() is None:
        # All streams are open by then, and none has ended.
        if time.monotonic() - begin > 3:
            resident.append(bench.sidecar.memory_mb("VmRSS"))
        time.sleep(0.25)
    output, _ = load.process.communicate()
    measured = json.loads(output)["via"]
    expected = count * 10 * 8
    if measured["count"] < expected // 2:
        raise BenchmarkError(f"only {measured['count']} of {expected} events came; were the streams open?")
    facts.add(f"resident with {count} open streams (VmRSS)", f"{max(resident):.1f} MB", "")


def stripped_size_mb(program: Path, folder: Path) -> float:
    """The size without symbols, in 10⁶ bytes."""
    stripped = folder / "stripped"
    subprocess.run(["strip", "-o", str(stripped), str(program)], check=True)
    return stripped.stat().st_size / 1e6


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[Table, Table]:
    """Measures everything."""
    facts = Table(("what", "measured", "target"))
    size = stripped_size_mb(arguments.sidecar, folder)
    facts.add("size of the program, stripped", f"{size:.1f} MB", verdict(size, SIZE_TARGET_MB, "MB"))
    # Measured as it is shipped: what isn't in the file needs no pages.
    arguments.sidecar = folder / "stripped"
    bench = Bench(arguments, folder)
    try:
        time.sleep(3)
        sidecar = bench.sidecar
        idle = sidecar.memory_mb("VmRSS")
        parts = f"{sidecar.memory_mb('RssAnon'):.1f} anonymous, {sidecar.memory_mb('RssFile'):.1f} of files"
        facts.add("resident, idle after its start (VmRSS)",
                  f"{idle:.1f} MB ({parts}; {sidecar.threads()} threads)", verdict(idle, IDLE_TARGET_MB, "MB"))
        table = latency(bench, facts)
        open_streams(bench, facts)
        time.sleep(3)
        facts.add("resident, idle after all loads (VmRSS)",
                  f"{sidecar.memory_mb('VmRSS'):.1f} MB ({sidecar.memory_mb('RssAnon'):.1f} anonymous; "
                  f"{sidecar.threads()} threads)", "")
        facts.add("exit code after SIGTERM", str(sidecar.stop()), "0")
    finally:
        bench.close()
    return table, facts


def parse() -> argparse.Namespace:
    """The command line."""
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sidecar", type=Path, required=True, help="the release build of swarmscale-sidecar")
    parser.add_argument("--tools", type=Path, required=True, help="the release build of SidecarBenchmarks")
    parser.add_argument("--rates", type=int, nargs="+", default=[200, 1_000], help="requests per second")
    parser.add_argument("--body-bytes", type=int, default=2_000, help="size of a request's body")
    parser.add_argument("--streams", type=int, default=20, help="streams at a time, for the latency of events")
    parser.add_argument("--pace", type=int, default=50, help="events per second of each stream")
    parser.add_argument("--open-streams", type=int, default=100, help="streams at a time, for memory")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each load: first directly, then via the sidecar")
    parser.add_argument("--seconds", type=int, default=5, help="length of each half of a round")
    parser.add_argument("--sidecar-core", type=int, default=cores[-1], help="the core on which the sidecar is held")
    parser.add_argument("--other-core", type=int, default=cores[0], help="that of load and upstream")
    parser.add_argument("--nice", type=int, default=0,
                        help="priority of all three; -20 (root) keeps other programs of a busy machine out of the figures")
    arguments = parser.parse_args()
    for program in (arguments.sidecar, arguments.tools):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is no program; Benchmarks/run sidecar builds both")
    for tool in ("taskset", "strip"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing: apt-get install util-linux binutils")
    if arguments.sidecar_core == arguments.other_core:
        say("one core for all: what is added contains waiting for load and upstream")
    return arguments


def main() -> int:
    """Runs the benchmark."""
    arguments = parse()
    load = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory(prefix="swarmscale-benchmark.") as folder:
            table, facts = measure(arguments, Path(folder))
    except (BenchmarkError, OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"sidecar.py: {error}", file=sys.stderr)
        return 1
    print(f"Sidecar on core {arguments.sidecar_core}, load and upstream on core {arguments.other_core}, nice "
          f"{arguments.nice}; {arguments.rounds} rounds of 2 × {arguments.seconds} s, bodies of {arguments.body_bytes:,} "
          f"bytes; load of the machine before: {load:.1f}")
    print()
    print(table.text())
    print()
    print(facts.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
