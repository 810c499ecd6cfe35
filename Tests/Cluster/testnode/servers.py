"""The two HTTP servers of the test node: the aggregated metrics APIs (TLS) and the control endpoint (plain, loopback)."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .load import WINDOW_SECONDS, BadRequest, Fault, FaultBook, LoadBook, MetricBook, MetricKey, UsageSource, timestamp_text, utc_now
from .node import Behaviour, TestNode
from .quantities import value_text
from .store import Pod, PodStore

_KINDS = {
    "services": ("Service", "v1"), "pods": ("Pod", "v1"), "namespaces": ("Namespace", "v1"), "nodes": ("Node", "v1"),
    "deployments.apps": ("Deployment", "apps/v1"), "statefulsets.apps": ("StatefulSet", "apps/v1"),
    "ingresses.networking.k8s.io": ("Ingress", "networking.k8s.io/v1"),
}  # fmt: skip
_APIS = {"metrics.k8s.io": "metrics", "custom.metrics.k8s.io": "custom", "external.metrics.k8s.io": "external"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Quiet: tests read counters, not logs."""

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Writes one answer in one piece."""
        fields = {"Content-Type": "application/json", **(headers or {}), "Content-Length": str(len(body))}
        head = f"HTTP/1.1 {status} -\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.wfile.write(head.encode() + b"\r\n" + body)

    def answer_json(self, value: Any, status: int = 200) -> None:
        """Writes a JSON answer."""
        self.answer(status, json.dumps(value, separators=(",", ":")).encode())

    def body(self) -> Any:
        """The request's JSON."""
        length = int(self.headers.get("Content-Length") or 0)
        return json.loads(self.rfile.read(length)) if length else {}


# -- Metrics


class MetricsServer:
    """metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io, as the aggregation layer expects them."""

    def __init__(self, store: PodStore, usage: UsageSource, metrics: MetricBook, faults: FaultBook) -> None:
        self.store = store
        self.usage = usage
        self.metrics = metrics
        self.faults = faults
        self.requests: Counter[str] = Counter()

    def serve(self, port: int, certificate: Path, key: Path) -> None:
        """Starts serving, over TLS, in a thread."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate), str(key))
        context.set_alpn_protocols(["http/1.1"])
        owner = self

        class Handler(_Handler):
            """One connection of the aggregation layer."""

            def setup(self) -> None:
                # The handshake happens in the connection's own thread, so that a silent client holds up nobody.
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def do_GET(self) -> None:
                owner.get(self)

        server = _Server(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def get(self, handler: _Handler) -> None:
        """Answers one request."""
        url = urllib.parse.urlsplit(handler.path)
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        parameters = {key: values[-1] for key, values in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
        api = _APIS.get(parts[1]) if len(parts) > 1 and parts[0] == "apis" else None
        if api is None:
            return handler.answer_json(_status(404, f"no such path: {url.path}"), 404)
        discovery = len(parts) <= 3
        if not discovery:
            self.requests[api] += 1
        fault = self.faults.take(api, discovery)
        if fault is not None and self._fail(handler, fault):
            return None
        if discovery:
            return handler.answer_json(self._discovery(parts))
        age = fault.timestampAgeSeconds if fault else 0
        empty = bool(fault and fault.empty)
        if api == "metrics":
            return self._resource(handler, parts, parameters, age, empty)
        if api == "custom":
            return self._custom(handler, parts, parameters, age, empty)
        return self._external(handler, parts, parameters, age, empty)

    def _fail(self, handler: _Handler, fault: Fault) -> bool:
        """Carries out a fault; whether the request is done with."""
        if fault.delaySeconds:
            time.sleep(fault.delaySeconds)
        if fault.hang:
            self.faults.hang()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return True
        if fault.status is None and fault.body is None:
            return False
        status = fault.status or 200
        body = fault.body.encode() if fault.body is not None else json.dumps(_status(status, "the test says so")).encode()
        handler.answer(status, body, fault.headers)
        return True

    def _discovery(self, parts: list[str]) -> dict[str, Any]:
        group = parts[1]
        if len(parts) == 2:
            versions = ["v1beta2", "v1beta1"] if group == "custom.metrics.k8s.io" else ["v1beta1"]
            listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
            return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": listed, "preferredVersion": listed[0]}
        custom, external = self.metrics.names()
        if group == "metrics.k8s.io":
            resources = [
                {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
                {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
            ]
        elif group == "custom.metrics.k8s.io":
            resources = [
                {"name": name, "singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]} for name in custom
            ]
        else:
            resources = [
                {"name": name, "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
                for name in external
            ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{parts[2]}", "resources": resources}

    # /apis/metrics.k8s.io/v1beta1/{pods,nodes,nodes/X,namespaces/N/pods,namespaces/N/pods/X}
    def _resource(self, handler: _Handler, parts: list[str], parameters: dict[str, str], age: float, empty: bool) -> None:
        rest, selector = parts[3:], parameters.get("labelSelector", "")
        at = utc_now() - timedelta(seconds=age)
        if rest[0] == "nodes":
            kind = {"kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1"}
            nodes = [] if empty else self.usage.nodes(at)
            if len(rest) == 1:
                return handler.answer_json({**kind, "kind": "NodeMetricsList", "metadata": {}, "items": nodes})
            found = next((node for node in nodes if node["metadata"]["name"] == rest[1]), None)
            return handler.answer_json({**kind, **found}) if found else _not_found(handler, "nodes", rest[1])
        if len(rest) == 4 and rest[0] == "namespaces":
            pod = None if empty else self.store.get(rest[1], rest[3])
            items = self.usage.encode(rest[1], [pod], at) if pod else []
            if not items:
                return _not_found(handler, "pods", f"{rest[1]}/{rest[3]}")
            return handler.answer(200, b'{"kind":"PodMetrics","apiVersion":"metrics.k8s.io/v1beta1",' + items[0][1:])
        namespaces = [rest[1]] if rest[0] == "namespaces" else self.store.namespaces()
        items = []
        if not empty:
            for namespace in namespaces:
                items += self.usage.encode(namespace, self._selected(namespace, selector), at)
        head = b'{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":['
        return handler.answer(200, head + b",".join(items) + b"]}")

    def _selected(self, namespace: str, selector: str) -> list[Pod]:
        return self.store.select(namespace, selector)

    # /apis/custom.metrics.k8s.io/V/namespaces/N/{pods/*/M,RESOURCE/X/M,metrics/M}, /apis/custom.metrics.k8s.io/V/nodes/X/M
    def _custom(self, handler: _Handler, parts: list[str], parameters: dict[str, str], age: float, empty: bool) -> None:
        version, rest = parts[2], parts[3:]
        at = utc_now() - timedelta(seconds=age)
        metric_selector = parameters.get("metricLabelSelector", "")
        namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 3 else ""
        target = rest[2:] if namespace else rest
        if namespace and target[0] == "metrics":
            namespace, target = "", ["namespaces", namespace, target[1]]
        if len(target) != 3:
            return handler.answer_json(_status(404, f"no such path: {handler.path}"), 404)
        resource, name, metric = target
        values: list[tuple[str, Any]] | None
        if resource == "pods" and name == "*":
            values = self.metrics.of_pods(namespace, metric, parameters.get("labelSelector", ""), metric_selector)
        else:
            value = self.metrics.of_object(MetricKey(namespace, resource, name, metric), metric_selector)
            values = None if value is None else [(name, value)]
        if values is None:
            return handler.answer_json(_status(404, f"the server could not find the metric {metric} for {resource} {name}"), 404)
        kind, api_version = _KINDS.get(resource, (resource.split(".")[0].rstrip("s").capitalize(), "v1"))
        items = []
        for item_name, value in [] if empty else values:
            described = {"kind": kind, "namespace": namespace, "name": item_name, "apiVersion": api_version}
            item: dict[str, Any] = {
                "describedObject": described,
                "timestamp": timestamp_text(at),
                "windowSeconds": WINDOW_SECONDS,
                "value": value_text(value),
            }
            item.update({"metricName": metric} if version == "v1beta1" else {"metric": {"name": metric}})
            items.append(item)
        return handler.answer_json(
            {"kind": "MetricValueList", "apiVersion": f"custom.metrics.k8s.io/{version}", "metadata": {}, "items": items}
        )

    # /apis/external.metrics.k8s.io/v1beta1/namespaces/N/M
    def _external(self, handler: _Handler, parts: list[str], parameters: dict[str, str], age: float, empty: bool) -> None:
        rest = parts[3:]
        if len(rest) != 3 or rest[0] != "namespaces":
            return handler.answer_json(_status(404, f"no such path: {handler.path}"), 404)
        values = self.metrics.external(rest[1], rest[2], parameters.get("labelSelector", ""))
        if values is None:
            return handler.answer_json(_status(404, f"the server could not find the metric {rest[2]} for external"), 404)
        at = timestamp_text(utc_now() - timedelta(seconds=age))
        items = [
            {"metricName": rest[2], "metricLabels": labels, "timestamp": at, "value": value_text(value)}
            for labels, value in ([] if empty else values)
        ]
        return handler.answer_json(
            {"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {}, "items": items}
        )


def _status(code: int, message: str) -> dict[str, Any]:
    reason = {404: "NotFound", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}.get(code, "Unknown")
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}


def _not_found(handler: _Handler, resource: str, name: str) -> None:
    handler.answer_json(_status(404, f'{resource}.metrics.k8s.io "{name}" not found'), 404)


# -- Control


class ControlServer:
    """By which tests say what happens. Documented in Tests/Cluster/README.md."""

    def __init__(self, node: TestNode, loads: LoadBook, metrics: MetricBook, faults: FaultBook, server: MetricsServer) -> None:
        self.node = node
        self.loads = loads
        self.metrics = metrics
        self.faults = faults
        self.server = server

    def serve_forever(self, port: int) -> None:
        """Serves on loopback until the process ends."""
        owner = self

        class Handler(_Handler):
            """One connection of a test."""

            def do_GET(self) -> None:
                owner.handle(self, "GET")

            def do_PUT(self) -> None:
                owner.handle(self, "PUT")

            def do_POST(self) -> None:
                owner.handle(self, "POST")

            def do_DELETE(self) -> None:
                owner.handle(self, "DELETE")

        _Server(("127.0.0.1", port), Handler).serve_forever()

    def handle(self, handler: _Handler, method: str) -> None:
        """Answers one request; what makes no sense gets 400 and a sentence."""
        url = urllib.parse.urlsplit(handler.path)
        try:
            body = handler.body()
            handler.answer_json(self._route(method, url.path, body))
        except (BadRequest, ValueError, TypeError, KeyError) as error:
            handler.answer_json({"error": str(error) or repr(error)}, 400)
        except LookupError as error:
            handler.answer_json({"error": str(error)}, 404)

    def _route(self, method: str, path: str, body: Any) -> Any:
        match (method, path):
            case ("GET", "/ready"):
                if not (self.node.synced.is_set() and self.node.registered.is_set()):
                    raise LookupError("not yet")
                return {"ready": True}
            case ("GET", "/state"):
                return self._state()
            case ("PUT", "/load"):
                self.loads.set_load(body)
            case ("PUT", "/pod-load"):
                self.loads.set_override(body)
            case ("DELETE", "/load"):
                self.loads.clear()
            case ("PUT", "/custom"):
                self.metrics.set_custom(body)
            case ("PUT", "/external"):
                self.metrics.set_external(body)
            case ("DELETE", "/custom" | "/external"):
                self.metrics.clear()
            case ("PUT", "/faults"):
                self.faults.set(body)
            case ("DELETE", "/faults"):
                self.faults.clear()
            case ("PUT", "/behaviour"):
                self.node.set_behaviour(Behaviour(**body))
            case ("DELETE", "/behaviour"):
                self.node.clear_behaviours()
            case ("POST", "/pods"):
                return {"pods": self._act(body)}
            case ("DELETE", "/"):
                self.loads.clear()
                self.metrics.clear()
                self.faults.clear()
                self.node.clear_behaviours()
            case _:
                raise LookupError(f"no such control: {method} {path}; see Tests/Cluster/README.md")
        return {"ok": True}

    def _act(self, body: dict[str, Any]) -> list[str]:
        namespace = body["namespace"]
        if "name" in body:
            pod = self.node.store.get(namespace, body["name"])
            if pod is None:
                raise BadRequest(f"no pod {namespace}/{body['name']}")
            chosen = [pod]
        else:
            pods = self.node.store.select(namespace, body.get("selector", ""))
            chosen = sorted((pod for pod in pods if not pod.deleting), key=lambda pod: pod.name)[: body.get("count", len(pods))]
        return self.node.act(body["action"], chosen)

    def _state(self) -> dict[str, Any]:
        return {
            "namespaces": self.node.store.counts(),
            "nodes": self.node.nodes,
            **self.loads.describe(),
            **self.metrics.describe(),
            **self.faults.describe(),
            "behaviours": self.node.behaviours(),
            "metricsRequests": dict(self.server.requests),
        }
