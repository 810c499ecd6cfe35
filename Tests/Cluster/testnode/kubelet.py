"""The real use of CPU and memory, from the kubelets' /stats/summary: a small metrics-server."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from typing import Any

from swarmcluster.api import APIStatusError, Connection, Endpoint

from .load import UsageSource, metrics_end, pod_metrics_json, timestamp_text
from .store import Pod

PERIOD_SECONDS = 5.0
WINDOW_SECONDS = 15.0


@dataclass(frozen=True)
class Sample:
    """One reading of a container or a node: when, CPU used since its start (core nanoseconds), memory in use (bytes)."""

    at: float
    cpu: int
    memory: int


class Rates:
    """The readings of one thing over the last window."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """Adds a reading; one lower than the last means that the container was started anew."""
        if self._samples and sample.cpu < self._samples[-1].cpu:
            self._samples.clear()
        self._samples.append(sample)
        while len(self._samples) > 2 and sample.at - self._samples[1].at >= WINDOW_SECONDS:
            self._samples.popleft()

    def window(self) -> float:
        """The seconds that `usage` is the average of: at least the window, up to a reading more."""
        return self._samples[-1].at - self._samples[0].at if self._samples else 0

    def usage(self) -> tuple[Fraction, Fraction] | None:
        """Cores over the window and bytes; None before the second reading."""
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        nanoseconds = int((last.at - first.at) * 10**9)
        return Fraction(last.cpu - first.cpu, max(nanoseconds, 1)), Fraction(last.memory)


class KubeletUsage(UsageSource):
    """Reads all nodes every few seconds, in a thread, and answers from memory."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._containers: dict[tuple[str, str], Rates] = {}  # (pod uid, container)
        self._nodes: dict[str, Rates] = {}
        self._read_at = datetime.now(timezone.utc)
        threading.Thread(target=self._run, name="kubelet-stats", daemon=True).start()

    def encode(self, namespace: str, pods: list[Pod], at: datetime) -> list[bytes]:
        """PodMetrics of the pods whose containers have all been read twice."""
        result: list[bytes] = []
        with self._lock:
            shown_at = min(at, self._read_at)
            for pod in pods:
                usage: dict[str, tuple[Fraction, Fraction]] = {}
                window = 0.0
                for name in pod.containers:
                    rates = self._containers.get((pod.uid, name))
                    value = rates.usage() if rates else None
                    if value is not None:
                        usage[name] = value
                        window = max(window, rates.window() if rates else 0)
                if pod.phase == "Running" and len(usage) == len(pod.containers):
                    result.append(pod_metrics_json(pod, metrics_end(usage, shown_at, math.ceil(window))))
        return result

    def nodes(self, at: datetime) -> list[dict[str, Any]]:
        """NodeMetrics."""
        result = []
        with self._lock:
            for name, rates in sorted(self._nodes.items()):
                value = rates.usage()
                if value is not None:
                    usage = {"cpu": f"{value[0] * 10**9 // 1}n", "memory": f"{value[1] / 1024 // 1}Ki"}
                    result.append(
                        {"metadata": {"name": name}, "timestamp": timestamp_text(min(at, self._read_at)), "window": "15s", "usage": usage}
                    )
        return result

    def _run(self) -> None:
        connection = Connection(self._endpoint, timeout=10)
        while True:
            begin = time.monotonic()
            try:
                self._read(connection)
            except (OSError, APIStatusError, ValueError, KeyError) as error:
                print(f"kubelet: {error}; again soon", file=sys.stderr, flush=True)
                connection.close()
            time.sleep(max(0.5, PERIOD_SECONDS - (time.monotonic() - begin)))

    def _read(self, connection: Connection) -> None:
        seen: set[tuple[str, str]] = set()
        names = [node["metadata"]["name"] for node in connection.json("GET", "/api/v1/nodes")["items"]]
        for name in names:
            summary = connection.json("GET", f"/api/v1/nodes/{name}/proxy/stats/summary")
            at = time.monotonic()
            with self._lock:
                self._add(self._nodes.setdefault(name, Rates()), summary.get("node", {}), at)
                for pod in summary.get("pods") or ():
                    for container in pod.get("containers") or ():
                        key = (pod["podRef"]["uid"], container["name"])
                        seen.add(key)
                        self._add(self._containers.setdefault(key, Rates()), container, at)
        with self._lock:
            self._read_at = datetime.now(timezone.utc)
            self._containers = {key: rates for key, rates in self._containers.items() if key in seen}
            self._nodes = {name: rates for name, rates in self._nodes.items() if name in names}

    @staticmethod
    def _add(rates: Rates, stats: dict[str, Any], at: float) -> None:
        cpu = stats.get("cpu", {}).get("usageCoreNanoSeconds")
        memory = stats.get("memory", {}).get("workingSetBytes")
        if cpu is not None and memory is not None:
            rates.add(Sample(at, cpu, memory))
