"""What the processes of a chaos run said, and what follows from it."""

from __future__ import annotations

import argparse
import bisect
import collections
import dataclasses
import pathlib
import statistics
from typing import Any

# A window over which throughput is counted, in seconds.
WINDOW = 3.0
# What counts as being back.
SHARE = 0.9
# A task waits for so long at most, beyond two leases: all servers away, and all of them behind afterwards.
WAIT_BOUND = 60.0


@dataclasses.dataclass
class Fault:
    """A fault at a time."""

    time: float
    kind: str
    detail: str


def lines(folder: pathlib.Path, pattern: str) -> list[tuple[float, list[str]]]:
    """Whole lines of logs: their time and their words."""
    found = []
    for path in sorted(folder.glob(pattern)):
        for line in path.read_text().splitlines(keepends=True):
            words = line.split()
            # Ended in the middle, by a kill.
            if line.endswith("\n") and len(words) > 1:
                found.append((float(words[0]), words[1:]))
    return found


def committed(folder: pathlib.Path) -> int:
    """How many results workers said that they have committed."""
    return sum(1 for _, words in lines(folder, "w*.log") if words[0] == "committed")


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Story:
    """All logs of a run, joined."""

    def __init__(self, folder: pathlib.Path, steps: int, sessions: list[str]) -> None:
        self.steps = steps
        # Task's number → its id, when it was acknowledged.
        self.acknowledged: dict[str, str] = {}
        self.acknowledged_at: dict[str, float] = {}
        self.submit_seconds: list[float] = []
        self.doubled: list[str] = []
        for moment, words in lines(folder, "submitter.log"):
            if words[0] == "ack":
                self.acknowledged[words[1]] = words[2]
                self.acknowledged_at[words[1]] = moment
                self.submit_seconds.append(float(words[3]))
            elif words[0] == "doubled":
                self.doubled.append(words[1])
        # Task's number → (time, epoch, worker) of each claim; epochs of commits; times of all commits.
        self.claims: dict[str, list[tuple[float, int, str]]] = collections.defaultdict(list)
        self.commits: dict[str, list[int]] = collections.defaultdict(list)
        self.commit_times: list[float] = []
        self.words: collections.Counter[str] = collections.Counter()
        self.statistics: dict[str, int] = {}
        for moment, words in lines(folder, "w*.log"):
            self.words[words[0]] += 1
            if words[0] == "claim":
                self.claims[words[1]].append((moment, int(words[2]), words[4]))
            elif words[0] in ("committed", "alreadyCommitted"):
                self.commits[words[1]].append(int(words[2]))
                self.commit_times.append(moment)
        self.commit_times.sort()
        # Task's number → steps of its calls, as MockClaude has them.
        self.calls: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
        for session in sessions:
            number, step, epoch = session.split(".")
            self.calls[number].append((int(step), int(epoch)))

    def waits(self) -> list[float]:
        """From each task's acknowledgement to its first claim; below zero where the claim was first."""
        return [
            min(claim[0] for claim in self.claims[number]) - moment
            for number, moment in self.acknowledged_at.items() if number in self.claims]

    def repeated(self) -> int:
        """Calls that were made although one for the same step had been made."""
        return sum(len(calls) - len({step for step, _ in calls}) for calls in self.calls.values())

    def problems(self, lease: float) -> list[str]:
        """What must not be, by the processes' own words."""
        found = [f"task {number}: two ids for one key" for number in self.doubled]
        for number, commits in self.commits.items():
            if len(commits) > 1:
                found.append(f"task {number}: committed {len(commits)} times, epochs {commits}")
        for number, claims in self.claims.items():
            epochs = [epoch for _, epoch, _ in claims]
            if len(set(epochs)) < len(epochs):
                found.append(f"task {number}: two claims of one epoch, {epochs}")
        for number, calls in self.calls.items():
            # Claims whose worker was killed before it could say so count by their epoch.
            claims = max([epoch for _, epoch, _ in self.claims[number]] + [epoch for _, epoch in calls])
            if len(calls) > self.steps + claims - 1:
                found.append(f"task {number}: {len(calls)} calls, {claims} claims")
            if len(set(calls)) < len(calls):
                found.append(f"task {number}: a claim has made a call twice, {sorted(calls)}")
        bound = 2 * lease + WAIT_BOUND
        waits = self.waits()
        if waits and max(waits) > bound:
            found.append(f"a task waited {max(waits):.1f} s for its first claim; the bound is {bound:.0f} s")
        if not self.acknowledged:
            found.append("no task was acknowledged")
        return found

    def compare(self, output: pathlib.Path) -> list[str]:
        """What the engine has against what the processes said."""
        found = []
        counts: dict[str, int] = {}
        states: dict[str, list[str]] = {}
        for line in output.read_text().splitlines():
            words = line.split()
            if words[0] == "task":
                states[words[1]] = words[2:]
            elif words[0] == "statistic":
                counts[words[1]] = int(words[2])
            else:
                counts[words[0]] = int(words[1])
        for number, identifier in self.acknowledged.items():
            state = states.get(identifier, ["not read"])
            if state[0] != "done":
                found.append(f"task {number} ({identifier}) was acknowledged and is {' '.join(state)}")
                continue
            epoch = int(state[2])
            if state[1] != number:
                found.append(f"task {number} has the result of task {state[1]}")
            if self.commits[number] not in ([], [epoch]):
                found.append(f"task {number}: said to be committed by {self.commits[number]}, kept is {epoch}")
            if epoch not in [claim[1] for claim in self.claims[number]]:
                found.append(f"task {number}: the result is by epoch {epoch}, which nobody had")
        total = len(self.acknowledged)
        for name, wanted in {"keys": 0, "dead": 0, "submitted": total, "done": total, "pending": 0, "leased": 0,
                             "lost": 0}.items():
            if counts.get(name) != wanted:
                found.append(f"{name}: {counts.get(name)}, not {wanted}")
        self.statistics = counts
        return found

    # Figures

    def rate(self, moment: float) -> float:
        """Results a second in the window from a moment."""
        times = self.commit_times
        return (bisect.bisect_left(times, moment + WINDOW) - bisect.bisect_left(times, moment)) / WINDOW

    def recovery(self, fault: Fault, end: float, usual: float) -> float | None:
        """Seconds from a fault until results come at 90 % of the usual rate; 0: it never fell; None: not before `end`."""
        moment = fault.time
        while moment < end and self.rate(moment) >= SHARE * usual:
            moment += 0.1
        if moment >= end:
            return 0.0
        while moment < end:
            if self.rate(moment) >= SHARE * usual:
                return moment - fault.time
            moment += 0.1
        return None

    def gap(self, fault: Fault, end: float) -> float:
        """The longest time between two acknowledgements of submissions, from a fault on."""
        times = sorted(moment for moment in self.acknowledged_at.values() if fault.time - 1 <= moment <= end)
        return max((after - before for before, after in zip(times, times[1:])), default=0.0)

    def figures(
        self, faults: list[Fault], options: argparse.Namespace, drained: float, loads: list[float]
    ) -> dict[str, Any]:
        """All that is printed."""
        usual = options.rate
        last = self.commit_times[-1] if self.commit_times else 0.0
        submitted = max(self.acknowledged_at.values(), default=0.0)
        told = []
        for place, fault in enumerate(faults):
            end = faults[place + 1].time if place + 1 < len(faults) else min(last, submitted) - WINDOW
            told.append({
                "kind": fault.kind, "detail": fault.detail, "recovery_seconds": self.recovery(fault, end, usual),
                "publish_gap_seconds": self.gap(fault, end)})
        waits = self.waits()
        calls = sum(len(calls) for calls in self.calls.values())
        return {
            "seed": options.seed, "seconds": options.seconds, "workers": options.workers, "agents": options.agents,
            "rate": options.rate, "lease_seconds": options.lease, "tasks": len(self.acknowledged),
            "claims": sum(len(claims) for claims in self.claims.values()), "stale": self.words["stale"],
            "failed": self.words["failed"],
            "calls": calls, "repeated_calls": self.repeated(), "drained_seconds": drained,
            "wait_seconds": {name: quantile(waits, share) for name, share in
                             (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
            "submit_seconds": {name: quantile(self.submit_seconds, share) for name, share in
                               (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
            "load": statistics.fmean(loads) if loads else 0.0, "faults": told}


def show(figures: dict[str, Any]) -> None:
    """Prints the figures as tables."""
    print(
        f"\n{figures['tasks']} tasks acknowledged at {figures['rate']:.0f}/s, {figures['claims']} claims, {figures['stale']} late workers "
        f"refused; {figures['calls']} calls, {figures['repeated_calls']} of them repeated "
        f"({figures['repeated_calls'] / max(1, figures['calls']):.2%}); drained {figures['drained_seconds']:.1f} s after the last "
        f"fault; load {figures['load']:.1f}")
    for name, words in (("wait_seconds", "acknowledged → first claim"), ("submit_seconds", "due → acknowledged")):
        print(f"{words}: " + ", ".join(f"{key} {value:.2f} s" for key, value in figures[name].items()))
    print("\n| fault | times | back at 90 %, median (most) | longest gap of acknowledgements, median (most) |")
    print("|---|---:|---:|---:|")
    kinds: dict[str, list[dict[str, Any]]] = {}
    for fault in figures["faults"]:
        kinds.setdefault(fault["kind"], []).append(fault)
    for kind, those in sorted(kinds.items()):
        times = [fault["recovery_seconds"] for fault in those if fault["recovery_seconds"] is not None]
        missing = len(those) - len(times)
        back = f"{statistics.median(times):.1f} s ({max(times):.1f})" if times else "–"
        back += f"; {missing} × not before the next fault" if missing else ""
        gaps = [fault["publish_gap_seconds"] for fault in those]
        print(f"| {kind} | {len(those)} | {back} | {statistics.median(gaps):.2f} s ({max(gaps):.2f}) |")
