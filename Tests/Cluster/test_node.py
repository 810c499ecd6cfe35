#!/usr/bin/env python3
"""The test node of a throw-away control plane: plays kubelet and scheduler, and serves the metrics APIs.

Started by scripts/control-plane; reads ports, tokens and certificates from its state.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2] / "scripts/lib")]

from swarmcluster.api import Endpoint  # noqa: E402
from testnode.load import FaultBook, LoadBook, MetricBook, UsageSource  # noqa: E402
from testnode.node import TestNode  # noqa: E402
from testnode.servers import ControlServer, MetricsServer  # noqa: E402
from testnode.store import PodStore  # noqa: E402


def main() -> None:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, metavar="FILE", help="state.json of the control plane")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="number of nodes to play; 0 for metrics alone")
    parser.add_argument(
        "--source",
        choices=("synthetic", "kubelet"),
        default="synthetic",
        help="where the use of CPU and memory comes from: what tests set, or the kubelets' /stats/summary",
    )
    arguments = parser.parse_args()
    state = json.loads(arguments.state.read_text(encoding="utf-8"))
    # The watch thread must not starve behind the handlers: hand over often.
    sys.setswitchinterval(0.002)
    endpoint = Endpoint.from_state(state)
    store = PodStore()
    node = TestNode(endpoint, store, arguments.nodes)
    loads, metrics, faults = LoadBook(store, node.nodes), MetricBook(store), FaultBook()
    usage: UsageSource = loads
    if arguments.source == "kubelet":
        from testnode.kubelet import KubeletUsage

        usage = KubeletUsage(endpoint)
    server = MetricsServer(store, usage, metrics, faults)
    keys = Path(state["folder"]) / "pki"
    server.serve(state["ports"]["metrics"], keys / "metrics.crt", keys / "metrics.key")
    node.run()
    ControlServer(node, loads, metrics, faults, server).serve_forever(state["ports"]["control"])


if __name__ == "__main__":
    main()
