"""What the tests say that pods use, and what the metrics APIs make of it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any, Protocol

from .quantities import cpu_text, memory_text, parse
from .selectors import compile_selector
from .store import Pod, PodStore

WINDOW_SECONDS = 5
"""What is told about numbers that are momentary: as long as controllers may take to bring about what they were told."""


class BadRequest(Exception):
    """The test asked for something that makes no sense."""


@dataclass(frozen=True)
class Amount:
    """How much: a total shared equally by the Running and Ready pods, or the same for each Running pod.

    `cap` bounds what one pod takes of a total, as a limit of its container would.
    """

    total: Fraction | None = None
    per_pod: Fraction | None = None
    cap: Fraction | None = None

    @staticmethod
    def of(value: Any) -> Amount:
        """From JSON: `"850m"` means each pod; else `{"total": …, "cap": …}` or `{"perPod": …}`."""
        if isinstance(value, (str, int)):
            return Amount(per_pod=parse(value))
        if not isinstance(value, dict) or len({"total", "perPod"} & value.keys()) != 1 or value.keys() - {"total", "perPod", "cap"}:
            raise BadRequest(f'an amount is {{"total": "12", "cap": "1"}} or {{"perPod": "850m"}}, not {json.dumps(value)}')
        parsed = {key: parse(quantity) for key, quantity in value.items()}
        return Amount(parsed.get("total"), parsed.get("perPod"), parsed.get("cap"))

    def for_pod(self, counts: bool, sharing: int) -> Fraction:
        """The share of one pod, of `sharing` pods that count."""
        if self.per_pod is not None:
            return self.per_pod
        assert self.total is not None
        if not counts:
            return Fraction(0)
        share = self.total / max(sharing, 1)
        return share if self.cap is None else min(share, self.cap)


@dataclass(frozen=True)
class Load:
    """The use of CPU and memory by the pods of a selector. The container named (else the first) uses it all, the others nothing."""

    namespace: str
    selector: str
    cpu: Amount
    memory: Amount
    container: str


@dataclass(frozen=True)
class PodOverride:
    """One pod that differs."""

    cpu: Fraction | None = None
    memory: Fraction | None = None
    missing: bool = False
    age_seconds: float = 0


@dataclass(frozen=True)
class Share:
    """What decides the usage of a pod, and of all pods like it."""

    pod: Pod
    load: Load
    sharing: int
    override: PodOverride


@dataclass(frozen=True)
class Plan:
    """For one selection of pods: the encoded metadata of each, and which share it has. Holds as long as the two numbers do."""

    pods: list[Pod]
    version: int
    generation: int
    shares: list[Share]
    entries: list[tuple[bytes, int]]


class UsageSource(Protocol):
    """Where the CPU and memory of pods come from: what tests set, or a kubelet."""

    def encode(self, namespace: str, pods: list[Pod], at: datetime) -> list[bytes]:
        """PodMetrics objects as JSON, of those pods that have any."""

    def nodes(self, at: datetime) -> list[dict[str, Any]]:
        """NodeMetrics objects."""


def timestamp_text(at: datetime) -> str:
    """As the API writes times."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class LoadBook(UsageSource):
    """All loads that tests have set. Unless a test sets anything, a Running pod uses 1m CPU and 10Mi memory."""

    def __init__(self, store: PodStore, nodes: list[str]) -> None:
        self._store = store
        self._nodes = nodes
        self._lock = threading.Lock()
        self._loads: list[Load] = []
        self._overrides: dict[tuple[str, str], PodOverride] = {}
        self._generation = 0
        self._plans: dict[int, Plan] = {}

    def set_load(self, body: dict[str, Any]) -> None:
        """PUT /load: later settings win over earlier ones where both match; one for the same selector replaces it."""
        namespace, selector = _required(body, "namespace"), body.get("selector", "")
        compile_selector(selector)
        with self._lock:
            old = next((load for load in self._loads if (load.namespace, load.selector) == (namespace, selector)), None)
            load = Load(
                namespace,
                selector,
                Amount.of(body["cpu"]) if "cpu" in body else old.cpu if old else Amount.of("1m"),
                Amount.of(body["memory"]) if "memory" in body else old.memory if old else Amount.of("10Mi"),
                body.get("container", old.container if old else ""),
            )
            self._loads = [kept for kept in self._loads if kept is not old] + [load]
            self._generation += 1

    def set_override(self, body: dict[str, Any]) -> None:
        """PUT /pod-load: one pod."""
        key = (_required(body, "namespace"), _required(body, "name"))
        override = PodOverride(
            cpu=parse(body["cpu"]) if "cpu" in body else None,
            memory=parse(body["memory"]) if "memory" in body else None,
            missing=bool(body.get("missing", False)),
            age_seconds=float(body.get("timestampAgeSeconds", 0)),
        )
        with self._lock:
            self._overrides[key] = override
            self._generation += 1

    def clear(self) -> None:
        """Back to nothing set."""
        with self._lock:
            self._loads, self._overrides = [], {}
            self._generation += 1

    def describe(self) -> dict[str, Any]:
        """For GET /state."""
        with self._lock:
            return {
                "loads": [{"namespace": load.namespace, "selector": load.selector} for load in self._loads],
                "overrides": len(self._overrides),
            }

    def encode(self, namespace: str, pods: list[Pod], at: datetime) -> list[bytes]:
        """PodMetrics of pods of one namespace.

        Which pod has which usage is worked out once for a selection that is asked for again unchanged; pods alike share the encoded end
        of their objects. So a list of 10,000 takes milliseconds.
        """
        with self._lock:
            generation, kept = self._generation, self._plans.get(id(pods))
        version = self._store.version(namespace)
        if kept is None or kept.pods is not pods or (kept.version, kept.generation) != (version, generation):
            kept = self._plan(namespace, pods, version)
            if len(pods) >= 100:
                with self._lock:
                    if len(self._plans) >= 100:
                        self._plans.clear()
                    self._plans[id(pods)] = kept
        ends = [self._end(share, at) for share in kept.shares]
        return [b'{"metadata":' + metadata + ends[index] for metadata, index in kept.entries]

    def _plan(self, namespace: str, pods: list[Pod], version: int) -> Plan:
        with self._lock:
            generation = self._generation
            loads = [load for load in reversed(self._loads) if load.namespace in (namespace, "*")]
            overrides = {name: value for (place, name), value in self._overrides.items() if place == namespace}
        loads.append(Load(namespace, "", Amount.of("1m"), Amount.of("10Mi"), ""))
        selections = [self._store.select(namespace, load.selector) for load in loads]
        # By name, not by object: the watch may replace a pod between the caller's selection and this one. None: all pods.
        members = [{pod.name for pod in chosen} if load.selector else None for load, chosen in zip(loads, selections, strict=True)]
        sharing = [sum(pod.counts for pod in chosen) for chosen in selections]
        plan = Plan(pods, version, generation, [], [])
        indices: dict[tuple[int, tuple[str, ...], bool], int] = {}
        for pod in pods:
            override = overrides.get(pod.name)
            if pod.phase != "Running" or (override is not None and override.missing):
                continue
            number = next(index for index, names in enumerate(members) if names is None or pod.name in names)
            key = (number, pod.containers, pod.counts)
            index = indices.get(key) if override is None else None
            if index is None:
                index = len(plan.shares)
                plan.shares.append(Share(pod, loads[number], sharing[number], override or PodOverride()))
                if override is None:
                    indices[key] = index
            plan.entries.append((pod.metadata_json, index))
        return plan

    @staticmethod
    def _end(share: Share, at: datetime) -> bytes:
        pod, load, override = share.pod, share.load, share.override
        cpu = override.cpu if override.cpu is not None else load.cpu.for_pod(pod.counts, share.sharing)
        memory = override.memory if override.memory is not None else load.memory.for_pod(pod.counts, share.sharing)
        chosen = load.container if load.container in pod.containers else pod.containers[0]
        usage = {name: (cpu, memory) if name == chosen else (Fraction(0), Fraction(0)) for name in pod.containers}
        return metrics_end(usage, at - timedelta(seconds=override.age_seconds))

    def nodes(self, at: datetime) -> list[dict[str, Any]]:
        """The sum over all pods, on the first node; the rest are idle."""
        return [
            {
                "metadata": {"name": name},
                "timestamp": timestamp_text(at),
                "window": f"{WINDOW_SECONDS}s",
                "usage": {"cpu": "100m", "memory": "1048576Ki"},
            }
            for name in self._nodes
        ]


def metrics_end(usage: dict[str, tuple[Fraction, Fraction]], at: datetime, window_seconds: int = WINDOW_SECONDS) -> bytes:
    """The part of a PodMetrics object after its metadata."""
    containers = [{"name": name, "usage": {"cpu": cpu_text(cpu), "memory": memory_text(memory)}} for name, (cpu, memory) in usage.items()]
    rest = {"timestamp": timestamp_text(at), "window": f"{window_seconds}s", "containers": containers}
    return b"," + json.dumps(rest, separators=(",", ":")).encode()[1:]


def pod_metrics_json(pod: Pod, end: bytes) -> bytes:
    """A whole PodMetrics object."""
    return b'{"metadata":' + pod.metadata_json + end


# -- Custom and external metrics


@dataclass(frozen=True)
class MetricKey:
    """A metric of an object or of pods (then `name` is a selector), or an external one (then `resource` is empty)."""

    namespace: str
    resource: str
    name: str
    metric: str


@dataclass(frozen=True)
class Value:
    """A value that is fixed, or a total divided by the number of pods that count."""

    amount: Fraction
    divided_by_pods: str | None
    labels: dict[str, str]

    def now(self, store: PodStore, namespace: str) -> Fraction:
        """The value at this moment."""
        if self.divided_by_pods is None:
            return self.amount
        return self.amount / max(1, sum(pod.counts for pod in store.select(namespace, self.divided_by_pods)))


def _value(body: Any, labels: dict[str, str]) -> Value:
    if isinstance(body, dict):
        return Value(parse(_required(body, "total")), _required(body, "dividedByPods"), labels)
    return Value(parse(body), None, labels)


class MetricBook:
    """All custom and external metrics that tests have set."""

    def __init__(self, store: PodStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pods: dict[tuple[str, str, str], tuple[Amount, dict[str, str]]] = {}
        self._objects: dict[MetricKey, Value] = {}
        self._external: dict[tuple[str, str], list[Value]] = {}

    def set_custom(self, body: dict[str, Any]) -> None:
        """PUT /custom: of pods (`selector` and an amount), or of an object (`resource`, `name` and a value)."""
        metric, labels = _required(body, "metric"), body.get("labels", {})
        with self._lock:
            if "resource" in body:
                key = MetricKey(body.get("namespace", ""), body["resource"], _required(body, "name"), metric)
                if body.get("value") is None:
                    self._objects.pop(key, None)
                else:
                    self._objects[key] = _value(body["value"], labels)
                return
            selector = body.get("selector", "")
            compile_selector(selector)
            place = (_required(body, "namespace"), metric, selector)
            if body.get("value") is None:
                self._pods.pop(place, None)
            else:
                self._pods.pop(place, None)
                self._pods[place] = (Amount.of(body["value"]), labels)

    def set_external(self, body: dict[str, Any]) -> None:
        """PUT /external: one value, or several with labels."""
        key = (_required(body, "namespace"), _required(body, "metric"))
        if "values" in body:
            values = [_value(_required(item, "value"), item.get("labels", {})) for item in body["values"]]
        else:
            values = [] if body.get("value") is None else [_value(body["value"], body.get("labels", {}))]
        with self._lock:
            if values or "values" in body:
                self._external[key] = values
            else:
                self._external.pop(key, None)

    def clear(self) -> None:
        """Back to no metrics."""
        with self._lock:
            self._pods, self._objects, self._external = {}, {}, {}

    def describe(self) -> dict[str, Any]:
        """For GET /state."""
        with self._lock:
            return {
                "custom": sorted({f"{place}/pods/{metric}" for place, metric, _ in self._pods} | {f"{k.namespace}/{k.resource}/{k.name}/{k.metric}" for k in self._objects}),
                "external": sorted(f"{place}/{metric}" for place, metric in self._external),
            }  # fmt: skip

    def names(self) -> tuple[list[str], list[str]]:
        """The names of custom metrics as discovery has them (`pods/queue_depth`), and of external ones."""
        with self._lock:
            custom = {f"pods/{metric}" for _, metric, _ in self._pods} | {f"{key.resource}/{key.metric}" for key in self._objects}
            return sorted(custom), sorted({metric for _, metric in self._external})

    def of_pods(self, namespace: str, metric: str, selector: str, metric_selector: str) -> list[tuple[str, Fraction]] | None:
        """Values of the matching pods; None when nobody has heard of the metric."""
        with self._lock:
            known = [
                (chosen, amount, labels)
                for (place, name, chosen), (amount, labels) in self._pods.items()
                if (place, name) == (namespace, metric)
            ]
        known = [entry for entry in known if compile_selector(metric_selector)(entry[2])]
        if not known:
            return None
        values: dict[str, Fraction] = {}
        wanted = compile_selector(selector)
        for chosen, amount, _ in known:
            members = self._store.select(namespace, chosen)
            sharing = sum(pod.counts for pod in members)
            for pod in members:
                if pod.phase == "Running" and wanted(pod.labels):
                    values[pod.name] = amount.for_pod(pod.counts, sharing)
        return sorted(values.items())

    def of_object(self, key: MetricKey, metric_selector: str) -> Fraction | None:
        """The value of one object."""
        with self._lock:
            value = self._objects.get(key)
        if value is None or not compile_selector(metric_selector)(value.labels):
            return None
        return value.now(self._store, key.namespace)

    def external(self, namespace: str, metric: str, selector: str) -> list[tuple[dict[str, str], Fraction]] | None:
        """The values whose labels match; None when nobody has heard of the metric."""
        with self._lock:
            values = self._external.get((namespace, metric), self._external.get(("*", metric)))
        if values is None:
            return None
        matches = compile_selector(selector)
        return [(value.labels, value.now(self._store, namespace)) for value in values if matches(value.labels)]


def _required(body: dict[str, Any], key: str) -> Any:
    try:
        return body[key]
    except (KeyError, TypeError):
        raise BadRequest(f"{key!r} is missing in {json.dumps(body)}") from None


# -- Faults


@dataclass
class Fault:
    """How one of the metrics APIs misbehaves."""

    status: int | None = None
    headers: dict[str, str] | None = None
    hang: bool = False
    empty: bool = False
    body: str | None = None
    timestampAgeSeconds: float = 0
    delaySeconds: float = 0
    times: int | None = None
    discovery: bool = False


class FaultBook:
    """The faults that are set, per API: metrics, custom, external."""

    APIS = ("metrics", "custom", "external")

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._faults: dict[str, Fault] = {}
        self._generation = 0
        self.hits: dict[str, int] = dict.fromkeys(self.APIS, 0)

    def set(self, body: dict[str, Any]) -> None:
        """PUT /faults: replaces those of the APIs that are named; `all` names every one; null clears."""
        with self._condition:
            for name, value in body.items():
                if name not in (*self.APIS, "all"):
                    raise BadRequest(f"no such API: {name!r}; there are {', '.join(self.APIS)} and all")
                for api in self.APIS if name == "all" else (name,):
                    if value is None:
                        self._faults.pop(api, None)
                        continue
                    try:
                        self._faults[api] = Fault(**value)
                    except TypeError as error:
                        raise BadRequest(str(error)) from None
            self._generation += 1
            self._condition.notify_all()

    def clear(self) -> None:
        """DELETE /faults: everything works, and requests that hang are let go (their connections are closed)."""
        with self._condition:
            self._faults = {}
            self._generation += 1
            self._condition.notify_all()

    def take(self, api: str, discovery: bool) -> Fault | None:
        """The fault that applies to a request, if any; counts it."""
        with self._condition:
            fault = self._faults.get(api)
            if fault is None or (discovery and not fault.discovery):
                return None
            if fault.times is not None:
                if fault.times <= 0:
                    return None
                fault.times -= 1
            self.hits[api] += 1
            return fault

    def hang(self, seconds: float = 3600) -> None:
        """Blocks until the faults are set anew or cleared."""
        with self._condition:
            generation = self._generation
            self._condition.wait_for(lambda: self._generation != generation, seconds)

    def describe(self) -> dict[str, Any]:
        """For GET /state."""
        with self._condition:
            faults = {api: {key: value for key, value in vars(fault).items() if value} for api, fault in self._faults.items()}
            return {"faults": faults, "hits": dict(self.hits)}


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(timezone.utc)
