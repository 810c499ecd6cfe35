"""One API server as the scenarios see it: requests over HTTPS, and a transcript of the answers without what differs by chance."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Iterator

JSON = Any
#: How long a scenario waits for what a controller does; the machine may be busy.
PATIENCE = 60.0
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
PATCH = "application/json-patch+json"


class Server:
    """An API server by its kubeconfig."""

    def __init__(self, name: str, kubeconfig: Path) -> None:
        text = kubeconfig.read_text()
        self.name = name
        self.url = urllib.parse.urlsplit(re.search(r"server: (\S+)", text)[1])
        self.token = re.search(r"token: (\S+)", text)[1]
        file = re.search(r"certificate-authority: (\S+)", text)
        data = re.search(r"certificate-authority-data: (\S+)", text)
        pem = Path(file[1]).read_text() if file else base64.b64decode(data[1]).decode()
        self.tls = ssl.create_default_context(cadata=pem)

    def connect(self, timeout: float = 30) -> http.client.HTTPSConnection:
        """A new connection."""
        return http.client.HTTPSConnection(self.url.hostname, self.url.port, context=self.tls, timeout=timeout)

    def send(
        self, method: str, path: str, body: JSON = None, *, type: str = "application/json", accept: str = "application/json",
        token: str | None = None, raw: bytes | None = None, agent: str = "suite/1",
    ) -> tuple[int, JSON]:
        """Status and answer, decoded where it is JSON."""
        connection = self.connect()
        try:
            payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
            headers = {"Accept": accept, "User-Agent": agent}
            if payload:
                headers["Content-Type"] = type
            shown = self.token if token is None else token
            if shown:
                headers["Authorization"] = f"Bearer {shown}"
            connection.request(method, path, body=payload or None, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text.decode(errors="replace")
        finally:
            connection.close()

    def watch(self, path: str, count: int, timeout: float = PATIENCE) -> list[JSON]:
        """The first events of a watch; fewer when it ends before."""
        connection = self.connect(timeout)
        events: list[JSON] = []
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            while len(events) < count:
                line = answer.readline()
                if not line:
                    break
                events.append(json.loads(line))
        finally:
            connection.close()
        return events


class Transcript:
    """What a scenario saw."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.lines: list[tuple[str, JSON]] = []

    def path(self, resource: str, name: str = "", group: str = "") -> str:
        """The path of a resource in the scenario's namespace."""
        root = {"": "/api/v1", "apps": "/apis/apps/v1", "coordination.k8s.io": "/apis/coordination.k8s.io/v1",
                "swarmscale.dev": "/apis/swarmscale.dev/v1alpha1"}[group]  # fmt: skip
        return f"{root}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    def note(self, label: str, value: JSON) -> None:
        """Notes a fact that must be the same on both servers."""
        self.lines.append((label, value))

    def call(self, label: str, method: str, path: str, body: JSON = None, show: Callable[[JSON], JSON] | None = None, **options: Any) -> JSON:
        """Sends a request and notes status, reason, and what `show` makes of a good answer."""
        status, answer = self.server.send(method, path, body, **options)
        fact: JSON = {"status": status}
        if status >= 400 and isinstance(answer, dict):
            fact["reason"] = answer.get("reason")
            fields = sorted({cause.get("field", "") for cause in (answer.get("details") or {}).get("causes", [])})
            if fields and status == 422:
                fact["fields"] = fields
        elif show is not None:
            fact["shown"] = clean(show(answer))
        self.note(label, fact)
        return answer

    def refused(self, label: str, method: str, path: str, body: JSON = None, **options: Any) -> None:
        """Notes only whether a request is refused: the older server's words for it are those of an accident (500)."""
        status, _ = self.server.send(method, path, body, **options)
        self.note(label, "refused" if status >= 400 else status)

    def until(self, label: str, path: str, show: Callable[[JSON], JSON], wanted: JSON) -> JSON:
        """Reads until `show` gives what is wanted; notes it, or what it was at last."""
        deadline = time.monotonic() + PATIENCE
        while True:
            _, answer = self.server.send("GET", path)
            value = show(answer)
            if value == wanted or time.monotonic() > deadline:
                self.note(label, clean(value))
                return answer
            time.sleep(0.05)


#: Written by the server, and never the same twice.
CHANCE = {"uid", "resourceVersion", "creationTimestamp", "selfLink", "managedFields", "lastTransitionTime", "lastUpdateTime",
          "clusterIP", "clusterIPs", "time", "deletionTimestamp"}  # fmt: skip
#: What later versions of Kubernetes added to what the older one writes.
LATER = {"kubernetes.io/metadata.name"}


def clean(value: JSON) -> JSON:
    """A document without what differs by chance, and without nulls and empty containers where Go leaves them out or not."""
    if isinstance(value, dict):
        kept = {key: clean(item) for key, item in value.items() if key not in CHANCE and key not in LATER}
        return {key: item for key, item in kept.items() if item is not None and item != {} or key == "emptyDir"}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def pick(*paths: str) -> Callable[[JSON], JSON]:
    """A function that takes fields out of a document, each named like `spec.replicas`."""

    def one(document: JSON, path: str) -> JSON:
        for part in path.split("."):
            if isinstance(document, list):
                document = document[int(part)] if int(part) < len(document) else None
            elif isinstance(document, dict):
                document = document.get(part)
            else:
                return None
        return document

    return lambda document: {path: one(document, path) for path in paths}


def names(answer: JSON) -> list[str]:
    """The names of a list's items."""
    return [item["metadata"]["name"] for item in answer.get("items") or []]


def events_of(events: list[JSON]) -> Iterator[list[str]]:
    """Kind and name of a watch's events."""
    for event in events:
        yield [event["type"], event["object"].get("metadata", {}).get("name", "")]
