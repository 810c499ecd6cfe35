#!/usr/bin/env python3
"""Runs the scenarios on the local cluster and on a real API server, and compares what they saw."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scenarios import SCENARIOS
from server import Server, Transcript

Facts = dict[str, list[tuple[str, object]]]
ROOT = Path(__file__).resolve().parents[2]


def differences(real: object, local: object, path: str = "") -> list[str]:
    """Where two documents differ, one line a place."""
    if isinstance(real, dict) and isinstance(local, dict):
        return [line for key in sorted({*real, *local}) for line in differences(real.get(key), local.get(key), f"{path}.{key}")]
    if isinstance(real, list) and isinstance(local, list) and len(real) == len(local):
        return [line for index, pair in enumerate(zip(real, local)) for line in differences(*pair, f"{path}[{index}]")]
    return [] if real == local else [f"{path}: real {json.dumps(real)}, local {json.dumps(local)}"]


def run(server: Server, names: list[str]) -> Facts:
    """The transcripts of one server, by scenario."""
    result = {}
    begin = time.monotonic()
    for scenario in SCENARIOS:
        name = scenario.__name__
        if names and name not in names:
            continue
        namespace = f"suite-{os.getpid()}-{name.replace('_', '-')}"
        server.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        transcript = Transcript(server, namespace)
        try:
            scenario(transcript)
        except (KeyError, IndexError, TypeError, AssertionError, AttributeError) as error:
            # What it asked for isn't there: the transcript so far, and the difference, tell more than the error.
            transcript.note("stopped", f"{server.name}: {type(error).__name__}: {error}")
        text = json.dumps(transcript.lines, sort_keys=True).replace(namespace, "NAMESPACE")
        result[name] = [(label, value) for label, value in json.loads(text)]
        server.send("DELETE", f"/api/v1/namespaces/{namespace}")
    print(f"{server.name}: {len(result)} scenarios, {sum(map(len, result.values()))} facts, {time.monotonic() - begin:.1f} s", flush=True)
    return result


def compare(local: Facts, real: Facts) -> int:
    """Prints the differences; how many scenarios have one."""
    different = 0
    for name in real:
        stopped = any(label == "stopped" for label, _ in local[name] + real[name])
        if local[name] == real[name] and not stopped:
            continue
        different += 1
        print(f"\n{name}: the servers differ")
        for (label, there), (same, here) in zip(real[name], local[name]):
            if label != same:
                print(f"  {label} / {same}: {json.dumps(there)[:300]} / {json.dumps(here)[:300]}")
                break
            for line in differences(there, here):
                print(f"  {label}{line[:600]}")
        if len(real[name]) != len(local[name]):
            print(f"  {len(real[name])} facts on the real server, {len(local[name])} on the local cluster")
        if stopped and local[name] == real[name]:
            print(f"  both stopped: {local[name][-1][1]}")
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
