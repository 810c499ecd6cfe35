"""The control endpoint of the fault proxy: plain HTTP on loopback. Documented in Tests/Cluster/README.md."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse
from dataclasses import asdict
from typing import Any

from .proxy import FaultProxy, header_of
from .rules import BadRule, Rule


class ControlEndpoint:
    """Rules, counters and log of a proxy, for tests."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._rule_number = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a test: plain HTTP, loopback."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")[:-2]
                method, target, _ = first.split(" ", 2)
                length = next((int(value) for name, value in map(header_of, lines) if name.lower() == "content-length"), 0)
                try:
                    body = json.loads(await reader.readexactly(length)) if length else None
                    status, answer = 200, self.route(method, target, body)
                except (BadRule, ValueError, TypeError, re.error) as error:
                    status, answer = 400, {"error": str(error)}
                except LookupError as error:
                    status, answer = 404, {"error": str(error)}
                content = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def route(self, method: str, target: str, body: Any) -> Any:
        """Carries out one control request."""
        url = urllib.parse.urlsplit(target)
        parameters = dict(urllib.parse.parse_qsl(url.query))
        match (method, url.path):
            case ("GET", "/ready"):
                return {"ready": True}
            case ("GET", "/rules"):
                return [asdict(rule) for rule in self.proxy.rules]
            case ("PUT", "/rules"):
                self.proxy.rules = [self._rule(entry) for entry in body]
                return {"names": [rule.name for rule in self.proxy.rules]}
            case ("POST", "/rules"):
                self.proxy.rules.append(self._rule(body))
                return {"name": self.proxy.rules[-1].name}
            case ("DELETE", "/rules"):
                chosen = parameters.get("name")
                self.proxy.rules = [rule for rule in self.proxy.rules if chosen is not None and rule.name != chosen]
                return {"ok": True}
            case ("GET", "/counters"):
                return self._counters()
            case ("DELETE", "/counters" | "/log"):
                self.proxy.records.clear()
                return {"ok": True}
            case ("GET", "/log"):
                return self.proxy.records.entries(int(parameters.get("since", 0)), parameters.get("match", ""))
            case ("POST", "/drop" | "/stall" | "/resume"):
                return {"connections": self._at_once(url.path, body or {})}
        raise LookupError(f"no such control: {method} {url.path}; see Tests/Cluster/README.md")

    def _rule(self, body: dict[str, Any]) -> Rule:
        self._rule_number += 1
        return Rule.of(body, self._rule_number)

    def _counters(self) -> dict[str, Any]:
        serving = [exchange.request for exchange in self.proxy.exchanges if exchange.request is not None]
        return {
            "requests": sum(self.proxy.records.kinds.values()),
            "byKind": dict(sorted(self.proxy.records.kinds.items())),
            "byStatus": dict(sorted(self.proxy.records.statuses.items())),
            "rules": {rule.name: rule.hits for rule in self.proxy.rules},
            "openConnections": len(self.proxy.exchanges),
            "openWatches": sum(request.is_watch for request in serving),
        }

    def _at_once(self, what: str, body: dict[str, Any]) -> int:
        """Drops, stalls or resumes connections that are open now: those whose present request matches, or all."""
        wanted, only_watches = re.compile(body.get("path", "")), body.get("watch")
        count = 0
        for exchange in list(self.proxy.exchanges):
            request = exchange.request
            if "path" in body or only_watches is not None:
                if request is None or not wanted.search(request.target) or only_watches not in (None, request.is_watch):
                    continue
            {"/drop": exchange.reset, "/stall": exchange.freeze, "/resume": exchange.thaw}[what]()
            count += 1
        return count
