"""The proxy itself: HTTP/1.1 over TLS on both sides, one upstream connection for each connection of a client."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from typing import Any, AsyncIterator, Callable

from .rules import Action, LogEntry, Records, Request, Rule

HEAD_LIMIT = 256 * 1024
HOP_HEADERS = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "expect"}


class ClientGone(Exception):
    """The client closed its connection."""


class UpstreamGone(Exception):
    """The API server closed its connection or cannot be reached."""


class Reset(Exception):
    """A rule wants this connection reset."""


class Finished(Exception):
    """A rule wants this connection closed in an orderly way, in the middle of an answer."""


class Exchange:
    """One client connection and its partner."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.reader = reader
        self.writer = writer
        self.upstream_reader: asyncio.StreamReader | None = None
        self.upstream_writer: asyncio.StreamWriter | None = None
        self.request: Request | None = None
        self.entry: LogEntry | None = None
        self.frozen = asyncio.Event()
        self.thawed = asyncio.Event()
        self.dropped = False

    # -- For the control endpoint

    def freeze(self) -> None:
        """No more bytes either way, from now on."""
        self.thawed.clear()
        self.frozen.set()

    def thaw(self) -> None:
        """Goes on as if nothing had been."""
        self.frozen.clear()
        self.thawed.set()

    def reset(self) -> None:
        """Connection reset, now."""
        self.dropped = True
        for writer in (self.writer, self.upstream_writer):
            if writer is None:
                continue
            plain = writer.get_extra_info("socket")
            if plain is not None:
                # Linger of zero: close sends RST instead of FIN.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    # -- Life of a connection

    async def run(self) -> None:
        """Request after request until either side is gone."""
        try:
            while True:
                request = await self._read_request()
                if request is None:
                    return
                self.request, self.entry = request, self.proxy.records.begin(request)
                end = "complete"
                try:
                    await self._serve(request, self.entry)
                except (ClientGone, UpstreamGone, Reset, Finished) as reason:
                    end = {ClientGone: "client-gone", UpstreamGone: "upstream-gone", Reset: "dropped", Finished: "truncated"}[type(reason)]
                    raise
                except (OSError, asyncio.IncompleteReadError):
                    end = "dropped" if self.dropped else "client-gone"
                    raise
                finally:
                    self.proxy.records.ended(self.entry, end)
                    self.request = None
                if request.header("connection").lower() == "close":
                    return
        except (Reset, UpstreamGone):
            self.reset()
        except (ClientGone, Finished, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            for writer in (self.writer, self.upstream_writer):
                if writer is not None:
                    writer.close()

    async def _read_request(self) -> Request | None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ", 2)
        return Request(method, target, [header_of(line) for line in lines])

    async def _serve(self, request: Request, entry: LogEntry) -> None:
        rule = self.proxy.match(request)
        action = rule.action if rule else Action()
        entry.rule = rule.name if rule else None
        body = await self._request_body(request)
        if action.delaySeconds:
            await asyncio.sleep(action.delaySeconds)
        if action.drop == "before":
            raise Reset
        if action.stall:
            await self._silence()
        await self._pause_if_frozen()
        if action.status is not None:
            return await self._answer_ourselves(action, entry)
        status, reason, headers = await self._forward(request, body)
        entry.upstream = status
        if action.drop == "afterForward":
            raise Reset
        self.proxy.records.answered(entry, status)
        await self._send_answer(request, entry, action, (status, reason, headers))

    async def _request_body(self, request: Request) -> bytes:
        if request.header("expect"):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in request.header("transfer-encoding"):
            return b"".join([piece async for piece in _chunks(self.reader)])
        length = int(request.header("content-length") or 0)
        return await self.reader.readexactly(length) if length else b""

    async def _answer_ourselves(self, action: Action, entry: LogEntry) -> None:
        assert action.status is not None
        body = action.body
        if body is None:
            body = _status_object(action.status, "the fault proxy says so", None)
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **action.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.proxy.records.answered(entry, action.status)
        await self._write(f"HTTP/1.1 {action.status} Fault\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        entry.bytes = len(content)

    # -- Upstream

    async def _forward(self, request: Request, body: bytes) -> tuple[int, str, list[tuple[str, str]]]:
        headers = [(name, value) for name, value in request.headers if name.lower() not in HOP_HEADERS]
        head = f"{request.method} {request.target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        if body or request.method in ("POST", "PUT", "PATCH"):
            head += f"Content-Length: {len(body)}\r\n"
        payload = head.encode("latin-1") + b"\r\n" + body
        fresh = self.upstream_writer is None
        try:
            return await self._exchange(payload)
        except (OSError, asyncio.IncompleteReadError):
            self._forget_upstream()
            if fresh:
                raise UpstreamGone from None
        # A kept connection that the server had closed meanwhile, as any client has to expect.
        try:
            return await self._exchange(payload)
        except (OSError, asyncio.IncompleteReadError):
            raise UpstreamGone from None

    async def _exchange(self, payload: bytes) -> tuple[int, str, list[tuple[str, str]]]:
        if self.upstream_writer is None:
            host, port = self.proxy.upstream
            self.upstream_reader, self.upstream_writer = await asyncio.open_connection(
                host, port, ssl=self.proxy.upstream_context, server_hostname=host, limit=HEAD_LIMIT
            )
        assert self.upstream_reader is not None
        self.upstream_writer.write(payload)
        await self.upstream_writer.drain()
        while True:
            head = await self.upstream_reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            _, status, *reason = first.split(" ", 2)
            if int(status) >= 200:
                return int(status), reason[0] if reason else "", [header_of(line) for line in lines]

    def _forget_upstream(self) -> None:
        if self.upstream_writer is not None:
            self.upstream_writer.close()
        self.upstream_reader = self.upstream_writer = None

    async def _upstream_body(self, request: Request, status: int, headers: list[tuple[str, str]]) -> AsyncIterator[bytes]:
        assert self.upstream_reader is not None
        kept = {name.lower(): value for name, value in headers}
        try:
            if request.method == "HEAD" or status in (204, 304):
                return
            if "chunked" in kept.get("transfer-encoding", ""):
                async for piece in _chunks(self.upstream_reader):
                    yield piece
            else:
                left = int(kept.get("content-length", 0))
                while left > 0:
                    piece = await self.upstream_reader.read(min(left, 65_536))
                    if not piece:
                        raise UpstreamGone
                    left -= len(piece)
                    yield piece
        except (OSError, asyncio.IncompleteReadError):
            raise UpstreamGone from None
        if kept.get("connection", "").lower() == "close":
            self._forget_upstream()

    # -- Answer

    async def _send_answer(self, request: Request, entry: LogEntry, action: Action, answer: tuple[int, str, list[tuple[str, str]]]) -> None:
        status, reason, headers = answer
        kept = {name.lower(): value for name, value in headers}
        lines = [f"{name}: {value}\r\n" for name, value in headers if name.lower() not in HOP_HEADERS]
        pieces = self._upstream_body(request, status, headers)
        if action.replaceBody is not None:
            async for _ in pieces:
                pass
            content = action.replaceBody.encode()
            await self._write(
                (f"HTTP/1.1 {status} {reason}\r\n" + "".join(lines) + f"Content-Length: {len(content)}\r\n\r\n").encode("latin-1") + content
            )
            entry.bytes = len(content)
            return
        chunked = "content-length" not in kept and request.method != "HEAD" and status not in (204, 304)
        framing = "Transfer-Encoding: chunked\r\n" if chunked else ""
        if "content-length" in kept:
            framing = f"Content-Length: {kept['content-length']}\r\n"
        await self._write((f"HTTP/1.1 {status} {reason}\r\n" + "".join(lines) + framing + "\r\n").encode("latin-1"))
        framing_of_events = _protobuf_event if "protobuf" in kept.get("content-type", "") else _json_event
        shaped = self._watch_pieces(pieces, entry, action, framing_of_events) if request.is_watch else pieces
        limits = (action.dropAfterBytes, action.truncateAfterBytes, action.stallAfterBytes)
        limit = next((value for value in limits if value is not None), None)
        if limit == 0:
            await self._limit_reached(action)
        async for piece in self._watching_client(shaped, request.is_watch):
            if limit is not None and entry.bytes + len(piece) >= limit:
                piece = piece[: limit - entry.bytes]
                await self._write(_chunk(piece) if chunked else piece)
                entry.bytes += len(piece)
                await self._limit_reached(action)
            await self._write(_chunk(piece) if chunked else piece)
            entry.bytes += len(piece)
        if chunked:
            await self._write(b"0\r\n\r\n")

    async def _limit_reached(self, action: Action) -> None:
        if action.dropAfterBytes is not None:
            raise Reset
        if action.truncateAfterBytes is not None:
            self._forget_upstream()
            raise Finished
        await self._silence()

    async def _watch_pieces(
        self, pieces: AsyncIterator[bytes], entry: LogEntry, action: Action, next_event: Callable[[bytes], int]
    ) -> AsyncIterator[bytes]:
        """The events of a watch one by one, with what the rule adds. Whole events, whatever the server's chunks were."""
        is_protobuf = next_event is _protobuf_event
        for extra in await self._between_events(entry, action, is_protobuf):
            yield extra
        if self._ends_here(entry, action):
            return
        rest = b""
        async for piece in pieces:
            rest += piece
            while size := next_event(rest):
                event, rest = rest[:size], rest[size:]
                entry.events += 1
                yield event
                for extra in await self._between_events(entry, action, is_protobuf):
                    yield extra
                if self._ends_here(entry, action):
                    return
        if rest:
            yield rest

    async def _between_events(self, entry: LogEntry, action: Action, is_protobuf: bool) -> list[bytes]:
        seen = entry.events
        if action.dropAfterEvents == seen:
            raise Reset
        if action.stallAfterEvents == seen:
            await self._silence()
        if action.watchGarbage is not None and action.watchGarbage.get("afterEvents", 0) == seen:
            garbage = action.watchGarbage.get("line", "{oops").encode()
            return [len(garbage).to_bytes(4, "big") + garbage if is_protobuf else garbage + b"\n"]
        if action.watchError is not None and action.watchError.get("afterEvents", 0) == seen:
            error = action.watchError
            status = _status_object(error.get("code", 410), error.get("message", "too old resource version"), error.get("reason"))
            if is_protobuf:
                return [_protobuf_error(status)]
            return [json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"]
        return []

    def _ends_here(self, entry: LogEntry, action: Action) -> bool:
        ends = action.endAfterEvents == entry.events
        if action.watchError is not None and action.watchError.get("afterEvents", 0) == entry.events:
            ends = True
        if ends:
            # What the server still sends on that connection belongs to nobody.
            self._forget_upstream()
        return ends

    async def _watching_client(self, pieces: AsyncIterator[bytes], stream: bool) -> AsyncIterator[bytes]:
        """The same pieces; while a stream waits for the server it notices that the client has gone, or that it is frozen."""
        if not stream:
            async for piece in pieces:
                await self._pause_if_frozen()
                yield piece
            return
        gone = asyncio.ensure_future(self.reader.read(1))
        following: asyncio.Future[bytes] | None = None
        iterator = pieces.__aiter__()
        try:
            while True:
                following = asyncio.ensure_future(iterator.__anext__())
                await asyncio.wait({gone, following}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    raise ClientGone
                try:
                    piece = following.result()
                except StopAsyncIteration:
                    return
                await self._pause_if_frozen()
                yield piece
        finally:
            for future in (gone, following):
                if future is not None:
                    future.cancel()
                    await asyncio.gather(future, return_exceptions=True)

    async def _pause_if_frozen(self) -> None:
        if self.frozen.is_set():
            await self.thawed.wait()

    async def _silence(self) -> None:
        """The connection stays open and nothing moves, until the client gives up or the control endpoint thaws or drops it."""
        assert self.entry is not None
        self.entry.end = "stalled"
        while not self.writer.transport.is_closing():
            if self.thawed.is_set():
                raise Reset
            try:
                if not await asyncio.wait_for(self.reader.read(1), 0.1):
                    raise ClientGone
            except TimeoutError:
                continue
            except RuntimeError:
                # The stream's own wait for the client reads already: then its end shows in the transport.
                await asyncio.sleep(0.1)
        raise ClientGone

    async def _write(self, data: bytes) -> None:
        await self._pause_if_frozen()
        if self.writer.transport.is_closing():
            raise Reset if self.dropped else ClientGone
        self.writer.write(data)
        await self.writer.drain()


class FaultProxy:
    """All connections, the rules and the records."""

    def __init__(self, upstream: tuple[str, int], authority: str) -> None:
        self.upstream = upstream
        self.upstream_context = ssl.create_default_context(cafile=authority)
        self.records = Records()
        self.rules: list[Rule] = []
        self.exchanges: set[Exchange] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        exchange = Exchange(self, reader, writer)
        self.exchanges.add(exchange)
        try:
            await exchange.run()
        finally:
            self.exchanges.discard(exchange)

    def match(self, request: Request) -> Rule | None:
        """The first rule that takes the request."""
        return next((rule for rule in self.rules if rule.applies(request)), None)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The decoded pieces of a chunked body."""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        data = await reader.readexactly(size + 2)
        if size == 0:
            return
        yield data[:-2]


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""


def _json_event(data: bytes) -> int:
    """How long the first event of a JSON watch is, with its newline; 0 while it isn't complete."""
    return data.find(b"\n") + 1


def _protobuf_event(data: bytes) -> int:
    """How long the first event of a protobuf watch is, with its length in four bytes; 0 while it isn't complete."""
    size = 4 + int.from_bytes(data[:4], "big")
    return size if len(data) >= size else 0


def _protobuf_error(status: dict[str, Any]) -> bytes:
    """A watch's frame with an ERROR event: WatchEvent around a RawExtension around the envelope of a Status."""

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)

    def message(number: int, value: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(value)) + value

    said = b"".join(message(number, str(status.get(key, "")).encode()) for number, key in ((2, "status"), (3, "message"), (4, "reason")))
    code = varint(6 << 3) + varint(int(status["code"]))
    envelope = b"k8s\x00" + message(1, message(1, b"v1") + message(2, b"Status")) + message(2, said + code)
    event = message(1, b"ERROR") + message(2, message(1, envelope))
    return len(event).to_bytes(4, "big") + event


def header_of(line: str) -> tuple[str, str]:
    """Name and value of a header line."""
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _status_object(code: int, message: str, reason: str | None) -> dict[str, Any]:
    known = {
        401: "Unauthorized",
        403: "Forbidden",
        404: "NotFound",
        409: "Conflict",
        410: "Expired",
        429: "TooManyRequests",
        500: "InternalError",
        503: "ServiceUnavailable",
        504: "Timeout",
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or known.get(code, "Unknown"),
        "code": code,
    }
