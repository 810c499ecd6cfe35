"""What the tests of manifests and chart share: rendered objects, and requests to a control plane under another's name."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import unittest
import urllib.parse
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "swarmscale-system"
SERVICE_ACCOUNT = "swarmscale-controller"

#: Tests that need an API server run where `scripts/control-plane run` (or SWARMSCALE_TEST_CLUSTER) gives one.
needs_cluster = unittest.skipUnless(
    os.environ.get("SWARMSCALE_TEST_CLUSTER"), "needs a control plane: run Tests/Manifests/run without --fast"
)


class Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: `on` and `yes` are text, dates are text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:timestamp",)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream."""
    return [document for document in yaml.load_all(text, Loader=Loader) if document]


def kustomize(folder: str) -> list[dict[str, Any]]:
    """The objects that `kubectl kustomize` renders from a folder of the repository."""
    result = subprocess.run(["kubectl", "kustomize", str(REPOSITORY / folder)], capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(f"kubectl kustomize {folder}: {result.stderr}")
    return documents(result.stdout)


def identity(item: dict[str, Any]) -> str:
    """`Kind namespace/name`, to find an object by."""
    metadata = item["metadata"]
    return f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


class Cluster:
    """A control plane, spoken to as its administrator or as somebody else."""

    def __init__(self) -> None:
        self.state = json.loads(Path(os.environ["SWARMSCALE_TEST_CLUSTER"]).read_text())
        self._server = urllib.parse.urlsplit(self.state["server"])
        self._context = ssl.create_default_context(cafile=self.state["caFile"])

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        service_account: str = "",
        namespace: str = NAMESPACE,
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        """Status and decoded answer of a request; as `namespace/service_account` where that is given."""
        headers = [("Authorization", f"Bearer {self.state['tokens']['admin']}"), ("Content-Type", content_type)]
        if service_account:
            headers.append(("Impersonate-User", f"system:serviceaccount:{namespace}:{service_account}"))
            for group in ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"):
                headers.append(("Impersonate-Group", group))
        connection = http.client.HTTPSConnection(
            str(self._server.hostname), self._server.port, context=self._context, timeout=30
        )
        try:
            connection.putrequest(method, path)
            payload = b"" if body is None else json.dumps(body).encode()
            for name, value in headers + [("Content-Length", str(len(payload)))]:
                connection.putheader(name, value)
            connection.endheaders(payload)
            response = connection.getresponse()
            # A watch that is let in goes on until its end: the status is all that is asked of it.
            text = "" if "watch=1" in path and response.status == 200 else response.read().decode()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def must(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The answer of a request that has to succeed."""
        status, answer = self.send(method, path, body, **options)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as the administrator; its output."""
        command = ["kubectl", "--kubeconfig", self.state["kubeconfig"], *arguments]
        result = subprocess.run(command, capture_output=True, text=True, input=stdin)
        if result.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    @property
    def minor_version(self) -> int:
        """The server's minor version."""
        return int(self.must("GET", "/version")["minor"].rstrip("+"))

    def fitted(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The objects as this server takes them: before 1.21 a PodDisruptionBudget is policy/v1beta1."""
        if self.minor_version >= 21:
            return items
        return [
            {**item, "apiVersion": "policy/v1beta1"} if item["kind"] == "PodDisruptionBudget" else item for item in items
        ]

    def remove(self, items: list[dict[str, Any]]) -> None:
        """Deletes what another test may have applied, since Helm takes over nothing that it hasn't made; namespaces and definitions stay."""
        found = [item for item in items if item["kind"] not in ("Namespace", "CustomResourceDefinition")]
        self.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": self.fitted(found)}))

    def adopt_definitions(self, release: str, namespace: str) -> None:
        """Has a release of Helm own the custom resource definitions that are there already, as docs/upgrade.md says."""
        found = [
            item["metadata"]["name"]
            for item in self.must("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
            if item["spec"]["group"] == "swarmscale.dev"
        ]
        if found:
            owner = (f"meta.helm.sh/release-name={release}", f"meta.helm.sh/release-namespace={namespace}")
            self.kubectl("label", "--overwrite", "crd", *found, "app.kubernetes.io/managed-by=Helm")
            self.kubectl("annotate", "--overwrite", "crd", *found, *owner)

    def install(self, items: list[dict[str, Any]]) -> None:
        """Applies objects, and waits until their custom resources are served."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": self.fitted(items)})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
        for item in items:
            if item["kind"] == "CustomResourceDefinition":
                self.kubectl("wait", "--for=condition=Established", f"crd/{item['metadata']['name']}", "--timeout=60s")
