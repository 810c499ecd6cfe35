"""All pods of the cluster as the watch tells them, indexed for quick selection."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

from .selectors import compile_selector


@dataclass(slots=True)
class Pod:
    """What the test node and the metrics need of a pod. Replaced as a whole, never changed."""

    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    annotations: dict[str, str]
    node: str
    phase: str
    ready: bool
    deleting: bool
    grace_seconds: int
    containers: tuple[str, ...]
    status: dict[str, Any]
    metadata_json: bytes

    @property
    def counts(self) -> bool:
        """Whether the pod takes a share of a load: Running, Ready and not on its way out."""
        return self.ready and self.phase == "Running" and not self.deleting


def pod_of(item: dict[str, Any]) -> Pod:
    """A pod from its API object."""
    metadata, spec, status = item["metadata"], item["spec"], item.get("status", {})
    labels = metadata.get("labels") or {}
    containers = [container["name"] for container in spec["containers"]]
    # Native sidecars (Kubernetes 1.29) are init containers that keep running: they use resources like any other.
    containers += [c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    shown = {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "creationTimestamp": metadata["creationTimestamp"],
        "labels": labels,
    }
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=labels,
        annotations=metadata.get("annotations") or {},
        node=spec.get("nodeName", ""),
        phase=status.get("phase", "Pending"),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        deleting="deletionTimestamp" in metadata,
        grace_seconds=metadata.get("deletionGracePeriodSeconds") or 0,
        containers=tuple(containers),
        status=status,
        metadata_json=json.dumps(shown, separators=(",", ":")).encode(),
    )


class PodStore:
    """Pods by namespace. Selections are kept until the namespace changes, for a list of 10,000 is asked for again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods: dict[str, dict[str, Pod]] = {}
        self._versions: dict[str, int] = {}
        self._selections: dict[tuple[str, str], tuple[int, list[Pod]]] = {}
        self._sequence = 0

    def put(self, pod: Pod) -> None:
        """Adds or replaces."""
        with self._lock:
            self._pods.setdefault(pod.namespace, {})[pod.name] = pod
            self._touch(pod.namespace)

    def remove(self, namespace: str, name: str) -> None:
        """Forgets a pod."""
        with self._lock:
            pods = self._pods.get(namespace, {})
            if pods.pop(name, None) is not None:
                self._touch(namespace)

    def replace_all(self, pods: list[Pod]) -> None:
        """The result of a new list."""
        with self._lock:
            gone = set(self._pods)
            self._pods = {}
            for pod in pods:
                self._pods.setdefault(pod.namespace, {})[pod.name] = pod
            for namespace in gone | set(self._pods):
                self._touch(namespace)

    def get(self, namespace: str, name: str) -> Pod | None:
        """One pod."""
        with self._lock:
            return self._pods.get(namespace, {}).get(name)

    def namespaces(self) -> list[str]:
        """All namespaces with pods, in order."""
        with self._lock:
            return sorted(namespace for namespace, pods in self._pods.items() if pods)

    def version(self, namespace: str) -> int:
        """A number that changes whenever a pod of the namespace does."""
        with self._lock:
            return self._versions.get(namespace, 0)

    def select(self, namespace: str, selector: str) -> list[Pod]:
        """The matching pods of a namespace. The list is shared: read it only."""
        key = (namespace, selector)
        with self._lock:
            version = self._versions.get(namespace, 0)
            kept = self._selections.get(key)
            if kept is not None and kept[0] == version:
                return kept[1]
            pods = list(self._pods.get(namespace, {}).values())
        matches = compile_selector(selector)
        chosen = [pod for pod in pods if matches(pod.labels)] if selector else pods
        with self._lock:
            if len(self._selections) > 1000:
                self._selections.clear()
            self._selections[key] = (version, chosen)
        return chosen

    def counts(self) -> dict[str, dict[str, int]]:
        """Pods per namespace: all, running, ready, deleting."""
        with self._lock:
            snapshot = {namespace: list(pods.values()) for namespace, pods in self._pods.items()}
        return {
            namespace: {
                "pods": len(pods),
                "running": sum(pod.phase == "Running" for pod in pods),
                "ready": sum(pod.counts for pod in pods),
                "deleting": sum(pod.deleting for pod in pods),
            }
            for namespace, pods in sorted(snapshot.items())
            if pods
        }

    def _touch(self, namespace: str) -> None:
        self._sequence += 1
        self._versions[namespace] = self._sequence
