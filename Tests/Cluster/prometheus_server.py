#!/usr/bin/env python3
"""A real Prometheus on loopback with a target whose series a test sets, and a front that asks for a bearer token.

    prometheus_server.py --prometheus BINARY --dir FOLDER

Prints one line of JSON (ports, files, credentials) on standard output once everything answers, and serves until standard
input ends, so that it never outlives the test that started it. Prometheus itself has TLS and basic authentication by its
own `--web.config.file`; it knows no bearer tokens, so the front does what a kube-rbac-proxy does before it.

Control endpoint (plain HTTP): `PUT /series` `[{"name": "queue", "labels": {"fleet": "a"}, "value": 3}, …]` (a null value
removes the series), `POST /kill` (SIGKILL), `POST /start` (answers when it is ready).
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/lib"))

from swarmcluster.pki import KeyPair, make_authority, make_certificate  # noqa: E402

USER, PASSWORD = "reader", "open sesame"
PASSWORD_HASH = "$2b$04$RAFmuXVnxbqw/hBNhRIFTuTTA7rVuzjW00E3C6f.47sJRWGXz4okO"
"""bcrypt of the password, cheap on purpose: each query checks it."""
TOKEN = "a-token-of-the-front"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Series:
    """The series of the target."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}

    def set(self, entries: list[dict[str, Any]]) -> None:
        """Sets or removes series."""
        with self._lock:
            for entry in entries:
                labels = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(entry.get("labels", {}).items()))
                key = f"{entry['name']}{{{labels}}}"
                if entry["value"] is None:
                    self._values.pop(key, None)
                else:
                    self._values[key] = float(entry["value"])

    def text(self) -> str:
        """The exposition format."""
        with self._lock:
            return "".join(f"{key} {value}\n" for key, value in sorted(self._values.items()))


class Prometheus:
    """The process."""

    def __init__(self, binary: str, folder: Path, target: int, certificate: KeyPair, authority: KeyPair) -> None:
        self.port = free_port()
        self._binary, self._folder = binary, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._context = ssl.create_default_context(cafile=str(authority.certificate))
        folder.joinpath("prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            f"scrape_configs: [{{job_name: test, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n",
            encoding="utf-8",
        )
        folder.joinpath("web.yml").write_text(
            f"tls_server_config: {{cert_file: {certificate.certificate}, key_file: {certificate.key}}}\n"
            f"basic_auth_users: {{{USER}: '{PASSWORD_HASH}'}}\n",
            encoding="utf-8",
        )

    def connection(self, timeout: float = 10) -> http.client.HTTPSConnection:
        """A connection to it."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self._context, timeout=timeout)

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        if self._process is not None:
            return
        with self._folder.joinpath("prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary, f"--config.file={self._folder}/prometheus.yml", f"--web.config.file={self._folder}/web.yml",
                    f"--web.listen-address=127.0.0.1:{self.port}", f"--storage.tsdb.path={self._folder}/data", "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("prometheus didn't start: " + self._folder.joinpath("prometheus.log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            connection = self.connection(2)
            connection.request("GET", "/-/ready", headers={"Authorization": basic()})
            return connection.getresponse().status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """Ends it without a word."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def basic() -> str:
    """The header field of basic authentication."""
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        """A whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))


def control(series: Series, prometheus: Prometheus) -> type[_Handler]:
    """The target and the control endpoint."""

    class Control(_Handler):
        def do_GET(self) -> None:  # noqa: N802
            self.answer(200, series.text().encode(), "text/plain; version=0.0.4")

        def do_PUT(self) -> None:  # noqa: N802
            series.set(json.loads(self.body()))
            self.answer(200, b"{}", "application/json")

        def do_POST(self) -> None:  # noqa: N802
            self.body()
            {"/kill": prometheus.kill, "/start": prometheus.start}[self.path]()
            self.answer(200, b"{}", "application/json")

    return Control


def front(prometheus: Prometheus) -> type[_Handler]:
    """Lets those pass who know the token."""

    class Front(_Handler):
        def do_GET(self) -> None:  # noqa: N802
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer(401, b"Unauthorized")
            try:
                connection = prometheus.connection()
                connection.request("GET", self.path, headers={"Authorization": basic()})
                response = connection.getresponse()
                self.answer(response.status, response.read(), response.headers.get("Content-Type", "text/plain"))
            except OSError as error:
                self.answer(502, str(error).encode())

    return Front


def serve(handler: type[_Handler], certificate: KeyPair | None = None) -> ThreadingHTTPServer:
    """Serves on a free port, in threads."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate.certificate), str(certificate.key))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Runs until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", required=True, metavar="BINARY")
    parser.add_argument("--dir", required=True, type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    folder: Path = arguments.dir
    folder.mkdir(parents=True, exist_ok=True)
    authority = make_authority(folder, "prometheus-ca")
    certificate = make_certificate(folder, "prometheus", authority, "/CN=prometheus", ["IP:127.0.0.1"])
    series = Series()
    target = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    prometheus = Prometheus(arguments.prometheus, folder, target.server_address[1], certificate, authority)
    target.RequestHandlerClass = control(series, prometheus)
    target.daemon_threads = True
    threading.Thread(target=target.serve_forever, daemon=True).start()
    try:
        prometheus.start()
        described = {
            "server": f"https://127.0.0.1:{prometheus.port}",
            "front": f"https://127.0.0.1:{serve(front(prometheus), certificate).server_address[1]}",
            "control": f"http://127.0.0.1:{target.server_address[1]}",
            "authority": authority.certificate.read_text(encoding="utf-8"),
            "user": USER, "password": PASSWORD, "token": TOKEN,
        }  # fmt: skip
        print(json.dumps(described), flush=True)
        sys.stdin.read()
    finally:
        prometheus.kill()


if __name__ == "__main__":
    main()
