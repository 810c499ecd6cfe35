#!/usr/bin/env python3
"""The fault proxy of a throw-away control plane: between clients and the API server, well-behaved until told otherwise.

Started by `scripts/control-plane up --fault-proxy`; reads ports and certificates from its state.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from faultproxy.control import ControlEndpoint  # noqa: E402
from faultproxy.proxy import HEAD_LIMIT, FaultProxy  # noqa: E402


async def serve(state: dict[str, object]) -> None:
    """Serves until the process is ended."""
    ports = state["ports"]
    assert isinstance(ports, dict)
    keys = Path(str(state["folder"])) / "pki"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(keys / "fault-proxy.crt"), str(keys / "fault-proxy.key"))
    context.set_alpn_protocols(["http/1.1"])
    proxy = FaultProxy((str(state["host"]), ports["kube-apiserver"]), str(state["caFile"]))
    await asyncio.start_server(proxy.accept, "127.0.0.1", ports["fault-proxy"], ssl=context, limit=HEAD_LIMIT, backlog=256)
    control = await asyncio.start_server(ControlEndpoint(proxy).accept, "127.0.0.1", ports["fault-control"])
    await control.serve_forever()


def main() -> None:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, metavar="FILE", help="state.json of the control plane")
    arguments = parser.parse_args()
    asyncio.run(serve(json.loads(arguments.state.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
