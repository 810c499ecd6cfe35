"""A small, quick client of the Kubernetes API: raw HTTP/1.1 over TLS, one connection a client, kept alive.

http.client costs about three times as much CPU per request, which counts when one process plays the kubelet of 10,000 pods.
"""

from __future__ import annotations

import json
import socket
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator


class APIStatusError(Exception):
    """An answer of 400 or more."""

    def __init__(self, status: int, method: str, path: str, body: bytes) -> None:
        try:
            message = json.loads(body).get("message", "")
        except (ValueError, AttributeError):
            message = body[:200].decode("utf-8", "replace")
        super().__init__(f"{method} {path}: {status} {message}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Endpoint:
    """Where an API server is and how to speak with it."""

    host: str
    port: int
    ca_file: Path
    token: str = ""
    client_certificate: tuple[Path, Path] | None = None

    @staticmethod
    def from_state(state: dict[str, Any]) -> Endpoint:
        """The admin's endpoint of a control plane, from its state.json."""
        return Endpoint(state["host"], state["ports"]["kube-apiserver"], Path(state["caFile"]), state["tokens"]["admin"])

    def context(self) -> ssl.SSLContext:
        """TLS settings: the cluster's own authority, no other."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if self.client_certificate:
            context.load_cert_chain(*map(str, self.client_certificate))
        return context


class Connection:
    """One connection. Not for several threads at once."""

    def __init__(self, endpoint: Endpoint, timeout: float | None = 30) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._context = endpoint.context()
        self._socket: ssl.SSLSocket | None = None
        self._file: Any = None
        authorization = f"Authorization: Bearer {endpoint.token}\r\n" if endpoint.token else ""
        self._common = f"Host: {endpoint.host}:{endpoint.port}\r\n{authorization}User-Agent: swarmscale-test-cluster\r\n"

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def interrupt(self) -> None:
        """Ends a read that another thread is blocked in."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def json(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """A request whose answer is JSON."""
        status, answer = self.request(method, path, body, content_type)
        if status >= 400:
            raise APIStatusError(status, method, path, answer)
        return json.loads(answer) if answer else None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> tuple[int, bytes]:
        """A request and the whole answer. Retried once when a kept-alive connection turns out to be closed."""
        reused = self._socket is not None
        try:
            status, headers = self._send(method, path, body, content_type, accept)
        except (ConnectionError, ssl.SSLError):
            self.close()
            if not reused:
                raise
            status, headers = self._send(method, path, body, content_type, accept)
        except OSError:
            self.close()
            raise
        try:
            answer = b"".join(self._body(headers, status, method))
        except OSError:
            self.close()
            raise
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, answer

    def lines(self, path: str, timeout: float | None = None) -> Iterator[bytes]:
        """The lines of a streamed answer, such as a watch, as they come."""
        status, headers = self._send("GET", path, None, "", "application/json")
        if status >= 400:
            raise APIStatusError(status, "GET", path, b"".join(self._body(headers, status, "GET")))
        assert self._socket is not None
        self._socket.settimeout(timeout)
        rest = b""
        try:
            for piece in self._body(headers, status, "GET"):
                if b"\n" not in piece:
                    rest += piece
                    continue
                parts = (rest + piece).split(b"\n")
                rest = parts.pop()
                yield from parts
        finally:
            self.close()

    def _connect(self) -> None:
        plain = socket.create_connection((self._endpoint.host, self._endpoint.port), timeout=self._timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = self._context.wrap_socket(plain, server_hostname=self._endpoint.host)
        self._file = self._socket.makefile("rb", buffering=65_536)

    def _send(self, method: str, path: str, body: Any, content_type: str, accept: str) -> tuple[int, dict[str, str]]:
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        head = f"{method} {path} HTTP/1.1\r\n{self._common}Accept: {accept}\r\n"
        if body is None:
            self._socket.sendall(f"{head}\r\n".encode())
        else:
            payload = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(payload)}\r\n\r\n"
            self._socket.sendall(head.encode() + payload)
        first = self._file.readline()
        if not first:
            raise ConnectionResetError("the server closed the connection")
        status = int(first.split(b" ", 2)[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def _body(self, headers: dict[str, str], status: int, method: str) -> Iterator[bytes]:
        if method == "HEAD" or status in (204, 304):
            return
        if "chunked" in headers.get("transfer-encoding", ""):
            while True:
                line = self._file.readline()
                if not line:
                    raise ConnectionResetError("the stream ended in the middle")
                size = int(line.split(b";")[0], 16)
                data = self._file.read(size + 2)
                if len(data) < size + 2:
                    raise ConnectionResetError("the stream ended in the middle")
                if size == 0:
                    return
                yield data[:-2]
        elif "content-length" in headers:
            length = int(headers["content-length"])
            data = self._file.read(length)
            if len(data) < length:
                raise ConnectionResetError("the answer ended in the middle")
            yield data
        else:
            yield self._file.read()


def query(path: str, **parameters: str | int | bool | None) -> str:
    """A path with a query; parameters that are None are left out."""
    kept = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parameters.items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(kept)}" if kept else path


def list_all(connection: Connection, path: str, limit: int = 1000) -> tuple[list[dict[str, Any]], str]:
    """All objects of a list, page by page, and the version to watch from."""
    items: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        page = connection.json("GET", query(path, **{"limit": limit, "continue": token}))
        items.extend(page.get("items") or [])
        token = page["metadata"].get("continue") or None
        if token is None:
            return items, page["metadata"]["resourceVersion"]
