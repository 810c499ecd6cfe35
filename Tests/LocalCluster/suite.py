#!/usr/bin/env python3
"""Runs the scenarios on the local cluster and on a real API server, and compares what they saw."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scenarios import SCENARIOS
from server import Server, Transcript

ROOT = Path(__file__).resolve().parents[2]


def run(server: Server, names: list[str]) -> dict[str, list[str]]:
    """The transcripts of one server, by scenario."""
    result = {}
    begin = time.monotonic()
    for scenario in SCENARIOS:
        name = scenario.__name__
        if names and name not in names:
            continue
        namespace = f"suite-{name.replace('_', '-')}"
        server.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        transcript = Transcript(server, namespace)
        try:
            scenario(transcript)
        except (KeyError, IndexError, TypeError, AssertionError, AttributeError) as error:
            # What it asked for isn't there: the transcript so far, and the difference, tell more than the error.
            transcript.note("stopped", f"{server.name}: {type(error).__name__}: {error}")
        text = [f"{label}: {json.dumps(value, sort_keys=True)}".replace(namespace, "NAMESPACE") for label, value in transcript.lines]
        result[name] = text
        server.send("DELETE", f"/api/v1/namespaces/{namespace}")
    print(f"{server.name}: {len(result)} scenarios, {sum(map(len, result.values()))} facts, {time.monotonic() - begin:.1f} s", flush=True)
    return result


def compare(local: dict[str, list[str]], real: dict[str, list[str]]) -> int:
    """Prints the differences; how many scenarios have one."""
    different = 0
    for name in real:
        stopped = any(line.startswith("stopped: ") for line in local[name] + real[name])
        if local[name] == real[name] and not stopped:
            continue
        different += 1
        print(f"\n{name}: the servers differ (- real API server, + local cluster)")
        for line in difflib.unified_diff(real[name], local[name], lineterm="", n=0):
            if not line.startswith(("---", "+++", "@@")):
                print(f"  {line[:1500]}")
        if stopped and local[name] == real[name]:
            print("  both stopped: " + local[name][-1])
    return different


def main() -> int:
    """Starts what isn't there yet, runs, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=ROOT / ".build/debug/local-cluster", help="the built local-cluster")
    parser.add_argument("--real", type=Path, help="kubeconfig of a running real API server with the CRDs, instead of a new one")
    parser.add_argument("--local", type=Path, help="kubeconfig of a running local cluster, instead of a new one")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="only these")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="local-cluster-suite.") as folder:
        process = None
        kubeconfig = arguments.local or Path(folder) / "kubeconfig"
        try:
            if arguments.local is None:
                process = subprocess.Popen([arguments.bin, "--kubeconfig", kubeconfig], stdout=subprocess.PIPE, text=True)
                assert process.stdout is not None
                if "listening" not in process.stdout.readline():
                    print("suite: the local cluster doesn't start", file=sys.stderr)
                    return 1
            local = run(Server("local", kubeconfig), arguments.scenarios)
            real = run(Server("real", arguments.real or Path(os.environ["KUBECONFIG"])), arguments.scenarios)
        finally:
            if process is not None:
                process.terminate()
                process.wait()
    different = compare(local, real)
    print(f"{len(real) - different} of {len(real)} scenarios are the same on both servers")
    return 1 if different or not real else 0


if __name__ == "__main__":
    sys.exit(main())
