"""A small HTTPS server whose faults a test can order: `test_server.py --help`.

It prints one line `PORT n` on standard output when it listens, and serves until standard input ends, so that it
never outlives the test that started it. It speaks HTTP/1.1 only; one thread per connection.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import socket
import ssl
import sys
import threading
from urllib.parse import parse_qs, urlsplit


class Journal:
    """What the server has seen, for /journal and for waiting until something has happened."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._counts: dict[str, int] = {}

    def note(self, what: str) -> None:
        """Counts one occurrence."""
        with self._changed:
            self._counts[what] = self._counts.get(what, 0) + 1
            self._changed.notify_all()

    def wait(self, what: str, count: int, limit: float = 240) -> int:
        """Waits until `what` has occurred `count` times; returns how often it has."""
        with self._changed:
            self._changed.wait_for(lambda: self._counts.get(what, 0) >= count, timeout=limit)
            return self._counts.get(what, 0)


class Connection:
    """One client's connection."""

    def __init__(self, stream: ssl.SSLSocket | socket.socket, journal: Journal, tokens: set[str]) -> None:
        self.stream = stream
        self.journal = journal
        self.tokens = tokens
        self.pending = b""

    def read_request(self) -> tuple[str, str, dict[str, str], bytes] | None:
        """The next request as method, target, header fields, body; None at the end."""
        while b"\r\n\r\n" not in self.pending:
            data = self.stream.recv(65536)
            if not data:
                return None
            self.pending += data
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, value = line.split(":", 1)
            name = name.lower()
            headers[name] = headers[name] + ", " + value.strip() if name in headers else value.strip()
        length = int(headers.get("content-length", "0"))
        while len(self.pending) < length:
            self.pending += self.stream.recv(65536)
        body, self.pending = self.pending[:length], self.pending[length:]
        return method, target, headers, body

    def respond(self, status: int, body: bytes, headers: str = "") -> None:
        """Sends a whole response."""
        self.stream.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    def chunk(self, data: bytes) -> None:
        """Sends one chunk of a chunked body."""
        self.stream.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def wait_for_close(self) -> None:
        """Waits until the client closes, whatever it sends."""
        try:
            while self.stream.recv(65536):
                pass
        except OSError:
            pass
        self.journal.note("closed-by-client")

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bool:
        """Answers one request; false when the connection ends."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        name = url.path.rsplit("/", 1)[-1]
        self.journal.note(name)
        if name == "echo":
            seen = {"method": method, "target": target, "headers": headers, "body": body.decode("latin-1")}
            self.respond(200, json.dumps(seen).encode(), "Content-Type: application/json\r\n")
        elif name == "status":
            self.respond(int(query["code"]), query.get("text", "").encode(), "Retry-After: 7\r\n")
        elif name == "big":
            self.respond(200, b"x" * int(query["bytes"]))
        elif name == "gzip":
            self.respond(200, gzip.compress(b"y" * int(query["bytes"])), "Content-Encoding: gzip\r\n")
        elif name == "redirect":
            self.respond(302, b"", "Location: /echo\r\n")
        elif name == "token":
            good = headers.get("authorization", "").removeprefix("Bearer ") in self.tokens
            self.respond(200 if good else 401, b"")
        elif name == "add-token":
            self.tokens.clear()
            self.tokens.add(query["value"])
            self.respond(200, b"")
        elif name == "wait":
            self.respond(200, str(self.journal.wait(query["for"], int(query.get("count", "1")))).encode())
        elif name == "peer":
            certificate = self.stream.getpeercert() if isinstance(self.stream, ssl.SSLSocket) else None
            self.respond(200, json.dumps({"subject": dict(p[0] for p in certificate["subject"])} if certificate else {}).encode())
        else:
            return self.misbehave(name, query)
        return True

    def misbehave(self, name: str, query: dict[str, str]) -> bool:
        """Answers as a server shouldn't, or never ends; false when the connection ends."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        if name == "silent":
            self.wait_for_close()
        elif name == "half-open":
            self.stream.sendall(chunked)
            self.chunk(b"first\n")
            self.wait_for_close()
        elif name == "stream":
            self.stream.sendall(chunked)
            for index in range(int(query["chunks"])):
                self.chunk(b"%07d\n" % index + b"z" * (int(query.get("size", "8")) - 8))
            self.journal.note("stream-written")
            self.stream.sendall(b"0\r\n\r\n")
            return True
        elif name == "broken-body":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        elif name == "broken-chunks":
            self.stream.sendall(chunked)
            self.chunk(b"first\n")
        elif name == "bad-header":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nthis is no header field\r\nContent-Length: 0\r\n\r\n")
        elif name == "no-http":
            self.stream.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        elif name == "huge-header":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"f" * 50000 + b"\r\nX-More: " + b"f" * 50000 + b"\r\n\r\n")
        else:
            self.respond(404, b"no such page")
            return True
        return False

    def serve(self) -> None:
        """Answers requests until the connection ends."""
        self.journal.note("connection")
        try:
            while (request := self.read_request()) is not None:
                if not self.handle(*request):
                    break
        except (OSError, ssl.SSLError, ValueError):
            self.journal.note("connection-error")
        finally:
            self.stream.close()


def proxy_connection(stream: socket.socket, journal: Journal) -> None:
    """Serves one CONNECT request as an HTTP proxy does; notes whether credentials for the server came with it."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += stream.recv(65536)
    match = re.match(rb"CONNECT (\S+):(\d+) ", head)
    if not match:
        stream.close()
        return
    journal.note("proxied")
    if b"\r\nauthorization:" in head.lower():
        journal.note("leaked")
    target = socket.create_connection((match[1].decode(), int(match[2])))
    stream.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    threading.Thread(target=copy, args=(target, stream), daemon=True).start()
    copy(stream, target)


def accept(listener: socket.socket, context: ssl.SSLContext | None, journal: Journal, tokens: set[str]) -> None:
    """Accepts connections for ever, each on a thread of its own."""
    def start(raw: socket.socket) -> None:
        try:
            # A failed handshake closes the socket that it was made on; this one is needed afterwards.
            stream = context.wrap_socket(raw.dup(), server_side=True) if context else raw
        except (OSError, ssl.SSLError):
            journal.note("handshake-failed")
            # With TLS 1.3 the client may be sending its request while it is refused. Were that left unread, the close would be a
            # reset, which can overtake the alert.
            Connection(raw, journal, tokens).wait_for_close()
            raw.close()
            return
        if context:
            raw.close()
        Connection(stream, journal, tokens).serve()

    while True:
        raw, _ = listener.accept()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=start, args=(raw,), daemon=True).start()


def accept_proxy(listener: socket.socket, journal: Journal) -> None:
    """Accepts proxy connections for ever."""
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=proxy_connection, args=(raw, journal), daemon=True).start()


def main() -> None:
    """Listens on a free port of the loopback interface until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cert", help="PEM file with certificate and key; without it: plain HTTP")
    parser.add_argument("--client-ca", help="PEM file of the authority that client certificates must come from")
    parser.add_argument("--require-client-cert", action="store_true")
    arguments = parser.parse_args()
    context = None
    if arguments.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.cert)
        context.set_alpn_protocols(["http/1.1"])
        if arguments.client_ca:
            context.load_verify_locations(arguments.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if arguments.require_client_cert else ssl.CERT_OPTIONAL
    journal = Journal()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    proxy = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=accept, args=(listener, context, journal, {"first"}), daemon=True).start()
    threading.Thread(target=accept_proxy, args=(proxy, journal), daemon=True).start()
    print(f"PORT {listener.getsockname()[1]} PROXY {proxy.getsockname()[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
