"""What both servers are asked, scenario by scenario. A scenario gets a transcript and a namespace of its own."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable

from server import JSON, MERGE, PATCH, STRATEGIC, Transcript, events_of, names, pick

SCENARIOS: list[Callable[[Transcript], None]] = []


def scenario(body: Callable[[Transcript], None]) -> Callable[[Transcript], None]:
    """Registers a scenario."""
    SCENARIOS.append(body)
    return body


def config(name: str, **data: str) -> JSON:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def pod_spec(**fields: Any) -> JSON:
    """A pod's spec that no scheduler looks at."""
    return {"schedulerName": "nobody", "automountServiceAccountToken": False, "serviceAccountName": "default",
            "containers": [{"name": "main", "image": "registry/worker:1", "env": [{"name": "A", "value": "1"}]}], **fields}  # fmt: skip


def pod(name: str, labels: dict[str, str] | None = None, **fields: Any) -> JSON:
    """A pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}}, "spec": pod_spec(**fields)}


def deployment(name: str, replicas: int = 3, **fields: Any) -> JSON:
    """A Deployment."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec()}, **fields},
    }  # fmt: skip


def wait_for_account(t: Transcript) -> None:
    """Pods need their namespace's service account."""
    t.until("account", t.path("serviceaccounts", "default"), lambda a: a.get("kind"), "ServiceAccount")


# Objects


@scenario
def create_read_update_delete(t: Transcript) -> None:
    """The life of an object."""
    maps = t.path("configmaps")
    made = t.call("create", "POST", maps, config("a", x="1"), show=lambda a: a)
    t.call("create again", "POST", maps, config("a"))
    t.call("read", "GET", f"{maps}/a", show=lambda a: a)
    t.call("missing", "GET", f"{maps}/nothing")
    made["data"]["x"] = "2"
    t.call("replace", "PUT", f"{maps}/a", made, show=pick("data"))
    t.call("replace an old version", "PUT", f"{maps}/a", made)
    made["metadata"].pop("resourceVersion")
    t.call("replace whatever is there", "PUT", f"{maps}/a", made, show=pick("data"))
    made["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000"
    t.call("replace another of that name", "PUT", f"{maps}/a", made)
    t.call("replace what isn't there", "PUT", f"{maps}/b", config("b"))
    t.call("replace by another name", "PUT", f"{maps}/a", config("b"))
    t.call("delete", "DELETE", f"{maps}/a", show=pick("status", "details.name", "details.kind"))
    t.call("delete again", "DELETE", f"{maps}/a")


@scenario
def versions_count(t: Transcript) -> None:
    """A write that changes nothing makes no version."""
    maps = t.path("configmaps")
    first = t.server.send("POST", maps, config("a"))[1]
    same = t.server.send("PATCH", f"{maps}/a", {"data": {"a": "1"}}, type=MERGE)[1]
    other = t.server.send("PATCH", f"{maps}/a", {"data": {"a": "2"}}, type=MERGE)[1]
    versions = [item["metadata"]["resourceVersion"] for item in (first, same, other)]
    t.note("unchanged", versions[0] == versions[1])
    t.note("changed", versions[1] != versions[2])


@scenario
def names_and_namespaces(t: Transcript) -> None:
    """What a name may be."""
    maps = t.path("configmaps")
    t.call("upper case", "POST", maps, config("Abc"))
    t.call("no name", "POST", maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})
    generated = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    answer = t.call("generated", "POST", maps, generated, show=pick("metadata.generateName"))
    t.note("generated name", [answer["metadata"]["name"].startswith("made-"), len(answer["metadata"]["name"])])
    other = config("x")
    other["metadata"]["namespace"] = "default"
    t.call("another namespace", "POST", maps, other)
    t.call("no such namespace", "POST", "/api/v1/namespaces/not-there/configmaps", config("x"))
    t.call("bad label", "POST", maps, {**config("l"), "metadata": {"name": "l", "labels": {"a b": "c"}}})
    t.call("bad label value", "POST", maps, {**config("l"), "metadata": {"name": "l", "labels": {"a": "c d"}}})
    t.call("bad key", "POST", maps, config("k", **{"a/b": "c"}))
    t.call("wrong kind", "POST", maps, {**config("w"), "kind": "Secret"})
    t.call("wrong version", "POST", maps, {**config("w"), "apiVersion": "v2"})
    t.call("version on create", "GET", maps, show=names and (lambda a: len(a["items"])))


@scenario
def dry_run(t: Transcript) -> None:
    """A dry run answers and changes nothing."""
    maps = t.path("configmaps")
    t.call("create", "POST", f"{maps}?dryRun=All", config("a"), show=pick("data"))
    t.call("not there", "GET", f"{maps}/a")
    t.server.send("POST", maps, config("a"))
    t.call("patch", "PATCH", f"{maps}/a?dryRun=All", {"data": {"z": "9"}}, type=MERGE, show=pick("data"))
    t.call("unchanged", "GET", f"{maps}/a", show=pick("data"))
    t.call("delete", "DELETE", f"{maps}/a?dryRun=All")
    t.call("still there", "GET", f"{maps}/a", show=pick("data"))
    t.call("what is that", "POST", f"{maps}?dryRun=Some", config("b"))


@scenario
def bad_requests(t: Transcript) -> None:
    """What no server should choke on."""
    maps = t.path("configmaps")
    t.call("no JSON", "POST", maps, raw=b"{this is not json")
    t.call("empty", "POST", maps, raw=b"   ")
    t.call("a list", "POST", maps, raw=b"[]")
    t.call("wrong type of a field", "POST", t.path("deployments", group="apps"), {**deployment("a"), "spec": {"replicas": "many"}})
    t.call("unknown resource", "GET", t.path("gadgets"))
    t.refused("unknown group", "GET", "/apis/nothing.example/v1/things")
    t.call("unknown media type", "PATCH", f"{maps}/a", raw=b"x", type="application/x-www-form-urlencoded")
    t.call("bad selector", "GET", f"{maps}?labelSelector=a%20in%20(")
    t.call("bad field", "GET", f"{maps}?fieldSelector=data.a%3Db")
    t.call("wrong token", "GET", maps, token="nonsense")
    t.call("put on a list", "PUT", maps, config("a"))
    big = config("big", a="x" * (3 << 20))
    t.call("too large", "POST", maps, big)
    t.call("data too large", "POST", maps, config("big", a="x" * ((1 << 20) + 1)))
    deep = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"data":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    t.call("deep", "POST", maps, raw=deep)


# Lists and selectors


@scenario
def lists(t: Transcript) -> None:
    """Selectors and pages."""
    maps = t.path("configmaps")
    for index in range(7):
        item = config(f"item-{index}")
        item["metadata"]["labels"] = {"parity": "even" if index % 2 == 0 else "odd", "index": str(index)}
        t.server.send("POST", maps, item)
    own = "name!=kube-root-ca.crt"

    def mine(answer: JSON) -> list[str]:
        return [name for name in names(answer) if name.startswith("item-")]

    for selector in ("parity=even", "parity!=even", "parity in (odd)", "index notin (1,2)", "index", "!index", "index=3,parity=odd"):
        t.call(selector, "GET", f"{maps}?labelSelector={selector.replace(' ', '%20').replace('=', '%3D')}", show=mine)
    t.call("by name", "GET", f"{maps}?fieldSelector=metadata.name%3Ditem-3", show=names)
    t.call("not by name", "GET", f"{maps}?labelSelector=index&fieldSelector=metadata.name!%3Ditem-3", show=names)
    t.note("own", bool(own))
    first = t.call("first page", "GET", f"{maps}?labelSelector=index&limit=3", show=names)
    # A page shows the state of the first page, whatever happened since.
    t.server.send("DELETE", f"{maps}/item-5")
    token = first["metadata"]["continue"]
    second = t.call("second page", "GET", f"{maps}?labelSelector=index&limit=3&continue={token}", show=names)
    token = second["metadata"]["continue"]
    last = t.call("last page", "GET", f"{maps}?labelSelector=index&limit=3&continue={token}", show=names)
    t.note("no more", last["metadata"].get("continue", ""))
    t.note("same version", first["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"])
    t.call("bad token", "GET", f"{maps}?limit=3&continue=nonsense")
    t.call("kind of a list", "GET", f"{maps}?labelSelector=nothing", show=pick("kind", "apiVersion", "items"))
    t.call("all of them", "DELETE", f"{maps}?labelSelector=parity%3Deven", show=pick("kind"))
    t.call("what is left", "GET", f"{maps}?labelSelector=index", show=names)


@scenario
def tables(t: Transcript) -> None:
    """What `kubectl get` asks for."""
    t.server.send("POST", t.path("configmaps"), config("a"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

    def shape(answer: JSON) -> JSON:
        return [answer["kind"], [c["name"] for c in answer["columnDefinitions"]], [r["cells"][0] for r in answer["rows"]]]

    t.call("a ConfigMap", "GET", t.path("configmaps", "a"), accept=accept, show=shape)
    wait_for_account(t)
    t.server.send("POST", t.path("pods"), pod("p"))
    t.call("pods", "GET", t.path("pods"), accept=accept, show=lambda a: [[c["name"] for c in a["columnDefinitions"]], [r["cells"][:3] for r in a["rows"]]])
    t.server.send("POST", t.path("deployments", group="apps"), deployment("d"))
    t.call("deployments", "GET", t.path("deployments", group="apps"), accept=accept, show=lambda a: [c["name"] for c in a["columnDefinitions"]])
    t.call("leases", "GET", t.path("leases", group="coordination.k8s.io"), accept=accept, show=lambda a: [c["name"] for c in a["columnDefinitions"]])
    t.call("our own", "GET", t.path("swarmautoscalers", group="swarmscale.dev"), accept=accept, show=lambda a: [c["name"] for c in a["columnDefinitions"]])


# Watches


@scenario
def watches(t: Transcript) -> None:
    """A watch tells everything after a version, in order, as its selector sees it."""
    maps = t.path("configmaps")
    first = t.server.send("POST", maps, config("a"))[1]
    version = first["metadata"]["resourceVersion"]
    t.server.send("PATCH", f"{maps}/a", {"metadata": {"labels": {"on": "yes"}}}, type=MERGE)
    t.server.send("PATCH", f"{maps}/a", {"data": {"b": "2"}}, type=MERGE)
    t.server.send("PATCH", f"{maps}/a", {"metadata": {"labels": None}}, type=MERGE)
    t.server.send("DELETE", f"{maps}/a")
    field = "fieldSelector=metadata.name%3Da"
    events = t.server.watch(f"{maps}?watch=1&resourceVersion={version}&{field}&timeoutSeconds=3", 4)
    t.note("all", list(events_of(events)))
    events = t.server.watch(f"{maps}?watch=1&resourceVersion={version}&labelSelector=on%3Dyes&timeoutSeconds=3", 3)
    t.note("with a label", list(events_of(events)))
    t.note("state at the end", [events[-1]["object"].get("data"), events[-1]["object"]["metadata"].get("labels")])
    t.server.send("POST", maps, config("b"))
    events = t.server.watch(f"{maps}?watch=1&fieldSelector=metadata.name%3Db&timeoutSeconds=2", 5)
    t.note("from nothing", list(events_of(events)))
    begin = time.monotonic()
    t.server.watch(f"{maps}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dnothing&timeoutSeconds=1", 1)
    t.note("ends in time", time.monotonic() - begin < 20)


@scenario
def watch_goes_on(t: Transcript) -> None:
    """A watch tells what happens while it lasts."""
    maps = t.path("configmaps")
    version = t.server.send("GET", maps)[1]["metadata"]["resourceVersion"]
    seen: list[JSON] = []
    path = f"{maps}?watch=1&resourceVersion={version}&labelSelector=live&timeoutSeconds=30"
    thread = threading.Thread(target=lambda: seen.extend(t.server.watch(path, 3)))
    thread.start()
    item = config("live")
    item["metadata"]["labels"] = {"live": ""}
    t.server.send("POST", maps, item)
    t.server.send("PATCH", f"{maps}/live", {"data": {"a": "2"}}, type=MERGE)
    t.server.send("DELETE", f"{maps}/live")
    thread.join()
    t.note("seen", list(events_of(seen)))
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    t.note("versions rise", versions == sorted(set(versions)))


@scenario
def single_object_watch(t: Transcript) -> None:
    """A watch of a version that is no version, or of one still to come."""
    maps = t.path("configmaps")
    t.refused("no version", "GET", f"{maps}?watch=1&resourceVersion=yesterday")
    t.refused("list no version", "GET", f"{maps}?resourceVersion=yesterday")


# Patches


@scenario
def json_patches(t: Transcript) -> None:
    """RFC 6902."""
    maps = t.path("configmaps")
    t.server.send("POST", maps, config("a", x="1"))
    path = f"{maps}/a"
    ops = [{"op": "add", "path": "/data/y", "value": "2"}, {"op": "test", "path": "/data/x", "value": "1"}, {"op": "replace", "path": "/data/x", "value": "3"}]
    t.call("add and replace", "PATCH", path, ops, type=PATCH, show=pick("data"))
    t.call("copy and move", "PATCH", path, [{"op": "copy", "from": "/data/x", "path": "/data/z"}, {"op": "move", "from": "/data/y", "path": "/data/w"}], type=PATCH, show=pick("data"))
    t.call("escapes", "PATCH", path, [{"op": "add", "path": "/metadata/annotations", "value": {"a.b/c": "d"}}, {"op": "replace", "path": "/metadata/annotations/a.b~1c", "value": "e"}], type=PATCH, show=pick("metadata.annotations"))
    t.call("remove", "PATCH", path, [{"op": "remove", "path": "/data/w"}], type=PATCH, show=pick("data"))
    t.call("remove what isn't there", "PATCH", path, [{"op": "remove", "path": "/data/none"}], type=PATCH)
    t.call("a test that fails", "PATCH", path, [{"op": "test", "path": "/data/x", "value": "9"}], type=PATCH)
    t.call("no array", "PATCH", path, {"op": "add"}, type=PATCH)
    t.call("old version", "PATCH", path, [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}, {"op": "add", "path": "/data/q", "value": "1"}], type=PATCH)


@scenario
def merge_patches(t: Transcript) -> None:
    """RFC 7386."""
    maps = t.path("configmaps")
    t.server.send("POST", maps, config("a", x="1", y="2"))
    t.call("merge", "PATCH", f"{maps}/a", {"data": {"x": None, "z": "3"}}, type=MERGE, show=pick("data"))
    t.refused("no object", "PATCH", f"{maps}/a", raw=b'"x"', type=MERGE)
    t.call("missing", "PATCH", f"{maps}/none", {"data": {}}, type=MERGE)
    t.call("old version", "PATCH", f"{maps}/a", {"metadata": {"resourceVersion": "1"}, "data": {"z": "4"}}, type=MERGE)
    t.call("immutable name", "PATCH", f"{maps}/a", {"metadata": {"name": "b"}}, type=MERGE)


@scenario
def strategic_patches(t: Transcript) -> None:
    """Lists are merged by their keys."""
    wait_for_account(t)
    sets = t.path("deployments", group="apps")
    item = deployment("a", replicas=0)
    spec = item["spec"]["template"]["spec"]
    spec["containers"].append({"name": "side", "image": "registry/side:1", "ports": [{"containerPort": 80}, {"containerPort": 81}]})
    spec["volumes"] = [{"name": "one", "emptyDir": {}}, {"name": "two", "emptyDir": {}}]
    spec["tolerations"] = [{"key": "a", "operator": "Exists"}]
    t.server.send("POST", sets, item)

    def patch(label: str, change: JSON, *shown: str) -> None:
        body = {"spec": {"template": {"spec": change}}}
        fields = pick(*(f"spec.template.spec.{field}" for field in shown))
        t.call(label, "PATCH", f"{sets}/a", body, type=STRATEGIC, show=fields)

    patch("image by name", {"containers": [{"name": "side", "image": "registry/side:2"}]}, "containers")
    patch("a variable more", {"containers": [{"name": "main", "env": [{"name": "B", "value": "2"}]}]}, "containers.0.env")
    patch("a variable less", {"containers": [{"name": "main", "env": [{"name": "A", "$patch": "delete"}]}]}, "containers.0.env")
    patch("a third container", {"containers": [{"name": "third", "image": "registry/third:1"}]}, "containers")
    patch("one less", {"containers": [{"name": "third", "$patch": "delete"}]}, "containers")
    patch("ports", {"containers": [{"name": "side", "ports": [{"containerPort": 81, "name": "metrics"}]}]}, "containers.1.ports")
    patch("volumes", {"volumes": [{"name": "two", "$patch": "delete"}, {"name": "three", "emptyDir": {}}]}, "volumes")
    patch("retain", {"volumes": [{"name": "one", "emptyDir": None, "configMap": {"name": "x"}, "$retainKeys": ["name", "configMap"]}]}, "volumes")
    patch("tolerations are one value", {"tolerations": [{"key": "b", "operator": "Exists"}]}, "tolerations")
    patch("order", {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": [{"name": "main", "tty": True}]}, "containers")
    patch("replace all", {"containers": [{"$patch": "replace"}, {"name": "only", "image": "registry/only:1"}]}, "containers")
    t.refused("no key", "PATCH", f"{sets}/a", {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}, type=STRATEGIC)
    t.call("custom resources have none", "PATCH", t.path("swarmautoscalers", "x", "swarmscale.dev"), {"spec": {}}, type=STRATEGIC)
    finalizers = t.path("configmaps")
    t.server.send("POST", finalizers, {**config("f"), "metadata": {"name": "f", "finalizers": ["example.com/a"]}})
    t.call("a set of values", "PATCH", f"{finalizers}/f", {"metadata": {"finalizers": ["example.com/b"]}}, type=STRATEGIC, show=pick("metadata.finalizers"))
    t.call("less of it", "PATCH", f"{finalizers}/f", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}, type=STRATEGIC, show=pick("metadata.finalizers"))
    t.server.send("PATCH", f"{finalizers}/f", {"metadata": {"finalizers": None}}, type=MERGE)


# Workloads


@scenario
def defaults(t: Transcript) -> None:
    """What the server fills in."""
    wait_for_account(t)
    item = deployment("a", replicas=0)
    container = item["spec"]["template"]["spec"]["containers"][0]
    container["readinessProbe"] = {"httpGet": {"port": 8080}}
    container["livenessProbe"] = {"exec": {"command": ["true"]}}
    container["lifecycle"] = {"preStop": {"httpGet": {"port": 1}}}
    container["resources"] = {"limits": {"cpu": "1000m", "memory": "0.5Gi"}}
    container["env"].append({"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    item["spec"]["template"]["spec"]["volumes"] = [
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "swarmscale.dev"}}]}},
        {"name": "config", "configMap": {"name": "x"}}, {"name": "none"},
    ]  # fmt: skip
    t.call("deployment", "POST", t.path("deployments", group="apps"), item, show=lambda a: a)
    t.call("without replicas", "POST", t.path("deployments", group="apps"), {**deployment("b"), "spec": {k: v for k, v in deployment("b")["spec"].items() if k != "replicas"}}, show=pick("spec.replicas"))
    t.call("recreate", "POST", t.path("deployments", group="apps"), deployment("c", 0, strategy={"type": "Recreate"}), show=pick("spec.strategy"))
    t.call("service", "POST", t.path("services"), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"app": "a"}}}, show=pick("spec.ports", "spec.type", "spec.sessionAffinity", "spec.selector"))
    t.call("secret", "POST", t.path("secrets"), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "value"}}, show=lambda a: a)


@scenario
def workload_validation(t: Transcript) -> None:
    """What a Deployment and a pod must not be."""
    wait_for_account(t)
    path = t.path("deployments", group="apps")
    t.call("negative", "POST", path, deployment("a", -1))
    bad = deployment("a")
    bad["spec"]["template"]["metadata"]["labels"] = {"app": "b"}
    t.call("labels", "POST", path, bad)
    bad = deployment("a")
    bad["spec"]["template"]["spec"]["containers"] = []
    t.call("no containers", "POST", path, bad)
    bad = deployment("a")
    bad["spec"]["template"]["spec"]["containers"][0].pop("image")
    t.call("no image", "POST", path, bad)
    bad = deployment("a")
    bad["spec"]["template"]["spec"]["containers"].append(bad["spec"]["template"]["spec"]["containers"][0])
    t.call("two of a name", "POST", path, bad)
    t.call("no movement", "POST", path, deployment("a", 1, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}))
    t.call("a strategy", "POST", path, deployment("a", 1, strategy={"type": "Slowly"}))
    t.server.send("POST", path, deployment("a", 0))
    t.call("selector stays", "PATCH", f"{path}/a", {"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}}, type=MERGE)
    t.call("pod", "POST", t.path("pods"), pod("p"), show=lambda a: [a["status"]["phase"], a["status"]["qosClass"], a["spec"]["restartPolicy"]])
    t.call("image may change", "PATCH", t.path("pods", "p"), {"spec": {"containers": [{"name": "main", "image": "registry/worker:2"}]}}, type=STRATEGIC, show=pick("spec.containers.0.image"))
    t.call("command may not", "PATCH", t.path("pods", "p"), {"spec": {"containers": [{"name": "main", "command": ["x"]}]}}, type=STRATEGIC)
    t.call("mount of nothing", "POST", t.path("pods"), pod("q", containers=[{"name": "main", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]))


@scenario
def scale(t: Transcript) -> None:
    """The scale subresource, with preconditions."""
    wait_for_account(t)
    t.server.send("POST", t.path("deployments", group="apps"), deployment("a", 2))
    path = t.path("deployments", "a", "apps") + "/scale"
    now = t.call("read", "GET", path, show=pick("kind", "apiVersion", "metadata.name", "spec", "status.selector"))
    now["spec"]["replicas"] = 4
    t.server.send("PATCH", t.path("deployments", "a", "apps"), {"metadata": {"labels": {"new": "yes"}}}, type=MERGE)
    t.call("an old version", "PUT", path, now)
    now["metadata"].pop("resourceVersion")
    t.call("write", "PUT", path, now, show=pick("spec"))
    t.call("patch", "PATCH", path, {"spec": {"replicas": 1}}, type=MERGE, show=pick("spec"))
    t.call("patch to none", "PATCH", path, {"spec": {"replicas": 0}}, type=MERGE, show=pick("spec"))
    t.call("dry", "PATCH", f"{path}?dryRun=All", {"spec": {"replicas": 9}}, type=MERGE, show=pick("spec"))
    t.call("deployment", "GET", t.path("deployments", "a", "apps"), show=pick("spec.replicas"))
    t.call("negative", "PATCH", path, {"spec": {"replicas": -1}}, type=MERGE)
    t.call("nothing to scale", "GET", t.path("deployments", "none", "apps") + "/scale")


def managers(answer: JSON) -> JSON:
    """Who owns the count."""
    return [[entry["manager"], entry["operation"]] for entry in answer["metadata"].get("managedFields", []) if "f:replicas" in entry["fieldsV1"].get("f:spec", {})]


@scenario
def owners_of_fields(t: Transcript) -> None:
    """Who set the count stands in the managed fields."""
    path = t.path("deployments", group="apps")
    t.server.send("POST", path, deployment("a", 0), agent="maker/1")
    t.call("maker", "GET", f"{path}/a", show=managers)
    t.server.send("PATCH", f"{path}/a?fieldManager=changer", {"spec": {"paused": True, "replicas": 0, "minReadySeconds": 1}}, type=MERGE)
    t.call("not changed", "GET", f"{path}/a", show=managers)
    t.server.send("PATCH", f"{path}/a?fieldManager=changer", {"spec": {"replicas": 2}}, type=MERGE)
    t.call("changer", "GET", f"{path}/a", show=managers)


@scenario
def apply_on_the_server(t: Transcript) -> None:
    """Server-side apply: ownership, conflicts, and fields that are left out again."""
    media = "application/apply-patch+yaml"
    maps = t.path("configmaps")
    wanted = config("a", x="1", y="2")
    t.call("made", "PATCH", f"{maps}/a?fieldManager=one", wanted, type=media, show=pick("data"))
    t.call("no manager", "PATCH", f"{maps}/a", wanted, type=media)
    t.call("another value", "PATCH", f"{maps}/a?fieldManager=two", config("a", x="9"), type=media)
    t.call("by force", "PATCH", f"{maps}/a?fieldManager=two&force=true", config("a", x="9"), type=media, show=pick("data"))
    t.call("left out", "PATCH", f"{maps}/a?fieldManager=one", config("a", z="3"), type=media, show=pick("data"))
    sets = t.path("deployments", group="apps")
    wanted = deployment("a", 0)
    t.call("deployment", "PATCH", f"{sets}/a?fieldManager=one", wanted, type=media, show=pick("spec.template.spec.containers"))
    wanted["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "2"}]
    t.call("another variable", "PATCH", f"{sets}/a?fieldManager=one", wanted, type=media, show=pick("spec.template.spec.containers"))


class Node:
    """Plays the part of a node for the pods of a scenario's namespace, on either server."""

    def __init__(self, t: Transcript) -> None:
        self.t = t
        wait_for_account(t)

    def pods(self) -> list[JSON]:
        """The pods that are there."""
        return self.t.server.send("GET", self.t.path("pods"))[1]["items"]

    def run(self, item: JSON, ready: bool = True, restarts: int = 0, bind: bool = True) -> None:
        """Binds a pod and says that it runs."""
        path = self.t.path("pods", item["metadata"]["name"])
        if bind and not item["spec"].get("nodeName"):
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": item["metadata"]["name"]}, "target": {"kind": "Node", "name": "suite"}}
            self.t.server.send("POST", f"{path}/binding", binding)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now}],
                  "containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": ready, "restartCount": restarts, "state": {"running": {"startedAt": now}}}]}  # fmt: skip
        self.t.server.send("PATCH", f"{path}/status", {"status": status}, type=STRATEGIC)

    def run_all(self) -> None:
        """Runs what waits, and confirms what ends."""
        for item in self.pods():
            if item["metadata"].get("deletionTimestamp"):
                self.end(item)
            elif not any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", [])):
                self.run(item)

    def end(self, item: JSON) -> None:
        """Confirms that a pod has ended."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": item["metadata"]["uid"]}}
        self.t.server.send("DELETE", self.t.path("pods", item["metadata"]["name"]), options)

    def until(self, label: str, path: str, show: Callable[[JSON], JSON], wanted: JSON) -> None:
        """Plays until something is as wanted."""
        deadline = time.monotonic() + 60
        while True:
            answer = self.t.server.send("GET", path)[1]
            value = show(answer)
            if value == wanted or time.monotonic() > deadline:
                return self.t.note(label, value)
            self.run_all()
            time.sleep(0.05)


@scenario
def pods_end_gracefully(t: Transcript) -> None:
    """A pod that runs goes when its node confirms it; one that doesn't run goes at once."""
    node = Node(t)
    path = t.path("pods")
    t.server.send("POST", path, pod("waiting"))
    t.call("delete a waiting one", "DELETE", f"{path}/waiting", show=pick("metadata.name", "kind"))
    t.call("gone", "GET", f"{path}/waiting")
    t.server.send("POST", path, pod("running", terminationGracePeriodSeconds=7))
    node.run(t.server.send("GET", f"{path}/running")[1])
    t.call("runs", "GET", f"{path}/running", show=pick("status.phase", "spec.nodeName"))
    t.call("delete a running one", "DELETE", f"{path}/running", show=pick("metadata.deletionGracePeriodSeconds"))
    t.call("still there", "GET", f"{path}/running", show=lambda a: [a["metadata"]["deletionGracePeriodSeconds"], "deletionTimestamp" in a["metadata"]])
    t.call("shorter", "DELETE", f"{path}/running", {"gracePeriodSeconds": 3}, show=pick("metadata.deletionGracePeriodSeconds"))
    t.call("not longer", "DELETE", f"{path}/running", {"gracePeriodSeconds": 60}, show=pick("metadata.deletionGracePeriodSeconds"))
    t.call("another pod of that name", "DELETE", f"{path}/running", {"gracePeriodSeconds": 0, "preconditions": {"uid": "x"}})
    t.call("confirmed", "DELETE", f"{path}/running", {"gracePeriodSeconds": 0})
    t.call("now gone", "GET", f"{path}/running")
    t.server.send("POST", path, pod("kept", **{}))
    t.server.send("PATCH", f"{path}/kept", {"metadata": {"finalizers": ["example.com/x"]}}, type=MERGE)
    t.call("held by a finalizer", "DELETE", f"{path}/kept", show=lambda a: "deletionTimestamp" in a["metadata"])
    t.server.send("PATCH", f"{path}/kept", {"metadata": {"finalizers": None}}, type=MERGE)
    t.call("let go", "GET", f"{path}/kept")


@scenario
def status_is_apart(t: Transcript) -> None:
    """The status is written through its own address, and only there."""
    Node(t)
    path = t.path("pods")
    t.server.send("POST", path, {**pod("a"), "status": {"phase": "Running"}})
    t.call("not on create", "GET", f"{path}/a", show=pick("status.phase"))
    t.server.send("PATCH", f"{path}/a", {"status": {"phase": "Failed"}}, type=MERGE)
    t.call("not beside the spec", "GET", f"{path}/a", show=pick("status.phase"))
    t.call("by itself", "PATCH", f"{path}/a/status", {"status": {"phase": "Running", "podIP": "10.0.0.1"}, "spec": {"nodeName": "x"}}, type=MERGE, show=pick("status.phase", "status.podIP", "spec.nodeName"))
    condition = {"type": "Ready", "status": "True"}
    t.call("conditions by type", "PATCH", f"{path}/a/status", {"status": {"conditions": [condition]}}, type=STRATEGIC, show=lambda a: sorted(c["type"] for c in a["status"]["conditions"]))
    t.call("and another", "PATCH", f"{path}/a/status", {"status": {"conditions": [{"type": "example.com/x", "status": "False"}]}}, type=STRATEGIC, show=lambda a: sorted(c["type"] for c in a["status"]["conditions"]))
    t.call("old version", "PATCH", f"{path}/a/status", {"metadata": {"resourceVersion": "1"}, "status": {"message": "x"}}, type=MERGE)


def counts(answer: JSON) -> JSON:
    """The counts of a Deployment's status."""
    status = answer.get("status", {})
    return [status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")]


@scenario
def rollout(t: Transcript) -> None:
    """A Deployment comes up, scales, rolls to a new template and goes."""
    node = Node(t)
    path = t.path("deployments", "web", "apps")
    t.server.send("POST", t.path("deployments", group="apps"), deployment("web", 3))
    node.until("up", path, counts, [3, 3, 3, 3, 0])
    t.server.send("PATCH", f"{path}/scale", {"spec": {"replicas": 5}}, type=MERGE)
    node.until("five", path, counts, [5, 5, 5, 5, 0])
    t.server.send("PATCH", path, {"spec": {"template": {"metadata": {"annotations": {"new": "1"}}}}}, type=MERGE)
    node.until("new template", t.path("replicasets", group="apps"), lambda a: sorted(i["spec"]["replicas"] for i in a["items"]), [0, 5])
    node.until("all new", path, counts, [5, 5, 5, 5, 0])
    t.call("conditions", "GET", path, show=lambda a: sorted([c["type"], c["status"], c["reason"]] for c in a["status"]["conditions"]))
    t.call("generation", "GET", path, show=lambda a: [a["metadata"]["generation"], a["status"]["observedGeneration"] == a["metadata"]["generation"], a["metadata"]["annotations"]["deployment.kubernetes.io/revision"]])
    t.call("sets", "GET", t.path("replicasets", group="apps"), show=lambda a: sorted([i["spec"]["replicas"], i["metadata"]["annotations"]["deployment.kubernetes.io/revision"], i["metadata"]["ownerReferences"][0]["kind"]] for i in a["items"]))
    t.server.send("PATCH", path, {"spec": {"template": {"metadata": {"annotations": None}}}}, type=MERGE)
    node.until("back", t.path("replicasets", group="apps"), lambda a: sorted([i["spec"]["replicas"], i["metadata"]["annotations"]["deployment.kubernetes.io/revision"]] for i in a["items"]), [[0, "2"], [5, "3"]])
    t.call("delete", "DELETE", path, {"propagationPolicy": "Background"}, show=pick("status"))
    node.until("nothing left", t.path("replicasets", group="apps"), names, [])
    node.until("no pods", t.path("pods"), names, [])


@scenario
def stuck_rollout(t: Transcript) -> None:
    """While a rollout is stuck, another count is spread over its sets in proportion to their sizes."""
    node = Node(t)
    path, sets = t.path("deployments", "web", "apps"), t.path("replicasets", group="apps")

    def sizes(answer: JSON) -> JSON:
        return sorted([i["spec"]["replicas"], i["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"]] for i in answer["items"])

    t.server.send("POST", t.path("deployments", group="apps"), deployment("web", 10))
    node.until("up", path, counts, [10, 10, 10, 10, 0])
    t.server.send("PATCH", path, {"spec": {"template": {"metadata": {"annotations": {"new": "1"}}}}}, type=MERGE)
    # Nobody runs the new pods.
    t.until("stuck", sets, sizes, [[5, "13"], [8, "13"]])
    for count, wanted in ((6, [[3, "8"], [5, "8"]]), (4, [[2, "5"], [3, "5"]]), (8, [[4, "10"], [6, "10"]])):
        t.server.send("PATCH", f"{path}/scale", {"spec": {"replicas": count}}, type=MERGE)
        t.until(f"{count} wanted", sets, sizes, wanted)
    t.server.send("DELETE", path, {"propagationPolicy": "Background"})


@scenario
def recreate(t: Transcript) -> None:
    """Recreate ends all old pods before it begins new ones."""
    node = Node(t)
    path = t.path("deployments", "web", "apps")
    t.server.send("POST", t.path("deployments", group="apps"), deployment("web", 2, strategy={"type": "Recreate"}))
    node.until("up", path, counts, [2, 2, 2, 2, 0])
    t.server.send("PATCH", path, {"spec": {"template": {"metadata": {"annotations": {"new": "1"}}}}}, type=MERGE)
    t.until("old ones end", t.path("pods"), lambda a: sorted("deletionTimestamp" in i["metadata"] for i in a["items"]), [True, True])
    node.until("new ones", t.path("pods"), lambda a: [("deletionTimestamp" in i["metadata"], i["metadata"].get("annotations")) for i in a["items"]], [(False, {"new": "1"})] * 2)


@scenario
def victims(t: Transcript) -> None:
    """Who goes first when a ReplicaSet shrinks: unassigned, not ready, cheap, restarted."""
    node = Node(t)
    spec = {"replicas": 8, "selector": {"matchLabels": {"app": "v"}}, "template": {"metadata": {"labels": {"app": "v"}}, "spec": pod_spec()}}
    sets = t.path("replicasets", group="apps")
    t.server.send("POST", sets, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "v"}, "spec": spec})
    t.until("eight", t.path("pods"), lambda a: len(a["items"]), 8)
    roles = ["unassigned", "not ready", "cheap", "middling", "restarted", "plain", "costly", "costliest"]
    for role, item in zip(roles, node.pods()):
        path = t.path("pods", item["metadata"]["name"])
        costs = {"cheap": "-5", "middling": "-1", "costly": "10", "costliest": "100"}
        annotations = {"controller.kubernetes.io/pod-deletion-cost": costs[role]} if role in costs else {}
        t.server.send("PATCH", path, {"metadata": {"labels": {"role": role.replace(" ", "-")}, "annotations": annotations}}, type=MERGE)
        if role != "unassigned":
            node.run(item, ready=role != "not ready", restarts=3 if role == "restarted" else 0)
    costs_count = t.server.name == "local"

    def left(answer: JSON) -> list[str]:
        return sorted(i["metadata"]["labels"]["role"] for i in answer["items"] if not i["metadata"].get("deletionTimestamp"))

    t.server.send("PATCH", f"{sets}/v/scale", {"spec": {"replicas": 6}}, type=MERGE)
    t.until("six", t.path("pods"), left, sorted(["cheap", "middling", "restarted", "plain", "costly", "costliest"]))
    # The old server knows no costs; there only what comes before them is the same.
    if costs_count:
        for count, wanted in ((5, ["middling", "restarted", "plain", "costly", "costliest"]), (2, ["costly", "costliest"]), (1, ["costliest"])):
            t.server.send("PATCH", f"{sets}/v/scale", {"spec": {"replicas": count}}, type=MERGE)
            answer = t.until("", t.path("pods"), left, sorted(wanted))
            t.lines.pop()
            assert left(answer) == sorted(wanted), f"{count} left: {left(answer)}, not {wanted}"
    t.server.send("DELETE", f"{sets}/v", {"propagationPolicy": "Background"})


@scenario
def adoption(t: Transcript) -> None:
    """A ReplicaSet takes orphans that match, and lets go what matches no longer."""
    Node(t)
    t.server.send("POST", t.path("pods"), pod("orphan", {"app": "v"}))
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "v"}}, "template": {"metadata": {"labels": {"app": "v"}}, "spec": pod_spec()}}
    t.server.send("POST", t.path("replicasets", group="apps"), {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "v"}, "spec": spec})
    t.until("adopted", t.path("pods", "orphan"), lambda a: [r["kind"] for r in a["metadata"].get("ownerReferences", [])], ["ReplicaSet"])
    t.until("one more", t.path("pods"), lambda a: len(a["items"]), 2)
    t.server.send("PATCH", t.path("pods", "orphan"), {"metadata": {"labels": {"app": "other"}}}, type=MERGE)
    t.until("released", t.path("pods", "orphan"), lambda a: a["metadata"].get("ownerReferences", []), [])
    t.until("replaced", t.path("pods"), lambda a: len(a["items"]), 3)


# Garbage


@scenario
def propagation(t: Transcript) -> None:
    """Dependents go with their owner, or stay, or go before it."""
    maps = t.path("configmaps")

    def family(name: str) -> None:
        owner = t.server.send("POST", maps, config(name))[1]
        child = config(f"{name}-child")
        child["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}]
        t.server.send("POST", maps, child)

    for name in ("background", "orphan", "foreground"):
        family(name)
    t.call("background", "DELETE", f"{maps}/background", {"propagationPolicy": "Background"}, show=pick("status"))
    t.until("child goes", f"{maps}/background-child", lambda a: a.get("reason"), "NotFound")
    t.call("orphan", "DELETE", f"{maps}/orphan", {"propagationPolicy": "Orphan"}, show=pick("metadata.finalizers"))
    t.until("owner goes", f"{maps}/orphan", lambda a: a.get("reason"), "NotFound")
    t.call("child stays", "GET", f"{maps}/orphan-child", show=pick("metadata.ownerReferences"))
    t.call("foreground", "DELETE", f"{maps}/foreground", {"propagationPolicy": "Foreground"}, show=pick("metadata.finalizers"))
    t.until("child gone", f"{maps}/foreground-child", lambda a: a.get("reason"), "NotFound")
    t.until("owner gone", f"{maps}/foreground", lambda a: a.get("reason"), "NotFound")
    family("stranger")
    t.call("bad policy", "DELETE", f"{maps}/stranger", {"propagationPolicy": "Later"})
    t.call("wrong identity", "DELETE", f"{maps}/stranger", {"preconditions": {"uid": "x"}})
    lost = config("lost")
    lost["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "00000000-0000-4000-8000-000000000001"}]
    t.server.send("POST", maps, lost)
    t.until("without an owner", f"{maps}/lost", lambda a: a.get("reason"), "NotFound")


@scenario
def finalizers(t: Transcript) -> None:
    """An object with a finalizer waits."""
    maps = t.path("configmaps")
    t.server.send("POST", maps, {**config("a"), "metadata": {"name": "a", "finalizers": ["example.com/x"]}})
    t.call("delete", "DELETE", f"{maps}/a", show=lambda a: a.get("kind"))
    t.call("waits", "GET", f"{maps}/a", show=lambda a: "deletionTimestamp" in a["metadata"])
    t.call("no new ones", "GET", f"{maps}/a", show=pick("metadata.finalizers"))
    t.call("let go", "PATCH", f"{maps}/a", {"metadata": {"finalizers": []}}, type=MERGE)
    t.call("gone", "GET", f"{maps}/a")
    t.call("bad finalizer", "POST", maps, {**config("b"), "metadata": {"name": "b", "finalizers": ["nonsense"]}})


@scenario
def namespaces(t: Transcript) -> None:
    """A namespace takes its contents along."""
    name = f"{t.namespace}-inner"
    t.call("create", "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, show=pick("status.phase"))
    t.server.send("POST", f"/api/v1/namespaces/{name}/configmaps", config("a"))
    t.until("account", f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda a: a.get("kind"), "ServiceAccount")
    t.call("delete", "DELETE", f"/api/v1/namespaces/{name}")
    t.until("gone", f"/api/v1/namespaces/{name}", lambda a: a.get("reason"), "NotFound")
    t.call("contents", "GET", f"/api/v1/namespaces/{name}/configmaps", show=names)
    t.call("bad name", "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}})


# Leases, events, tokens


@scenario
def leases(t: Transcript) -> None:
    """What leader election does."""
    path = t.path("leases", group="coordination.k8s.io")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
             "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.123456Z", "leaseTransitions": 0}}  # fmt: skip
    made = t.call("create", "POST", path, lease, show=lambda a: a)
    t.call("create again", "POST", path, lease)
    made["spec"]["renewTime"] = "2026-01-01T00:00:05.000000Z"
    renewed = t.call("renew", "PUT", f"{path}/l", made, show=pick("spec"))
    t.call("lost race", "PUT", f"{path}/l", made)
    renewed["metadata"].pop("resourceVersion")
    t.call("without a version", "PUT", f"{path}/l", renewed)
    t.call("bad duration", "POST", path, {**lease, "metadata": {"name": "m"}, "spec": {"leaseDurationSeconds": 0}})
    t.call("put makes one", "PUT", f"{path}/n", {**lease, "metadata": {"name": "n"}}, show=pick("metadata.name"))


@scenario
def events(t: Transcript) -> None:
    """Events of both groups are the same events."""
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Normal", "reason": "Made", "message": "words", "count": 1,
             "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "source": {"component": "suite"},
             "involvedObject": {"kind": "Pod", "name": "p", "namespace": t.namespace, "apiVersion": "v1"}}  # fmt: skip
    t.call("create", "POST", t.path("events"), event, show=pick("reason", "message", "count"))
    t.call("in the new group", "GET", f"/apis/events.k8s.io/v1/namespaces/{t.namespace}/events/e", show=pick("note", "reason", "regarding.name", "deprecatedCount"))
    t.call("counted", "PATCH", t.path("events", "e"), {"count": 2, "lastTimestamp": "2026-01-01T00:01:00Z"}, type=MERGE, show=pick("count"))
    new = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "f"}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Made", "note": "words",
           "action": "Making", "reportingController": "example.com/suite", "reportingInstance": "suite-1", "regarding": {"kind": "Pod", "name": "p", "namespace": t.namespace, "apiVersion": "v1"}}  # fmt: skip
    t.call("create a new one", "POST", f"/apis/events.k8s.io/v1/namespaces/{t.namespace}/events", new, show=pick("note"))
    t.call("in the old group", "GET", t.path("events", "f"), show=pick("message", "involvedObject.name"))
    t.call("by object", "GET", t.path("events") + "?fieldSelector=involvedObject.name%3Dp,type%3DNormal", show=names)
    t.call("by another", "GET", t.path("events") + "?fieldSelector=involvedObject.name%3Dq", show=names)
    t.call("elsewhere", "POST", t.path("events"), {**event, "metadata": {"name": "g"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}})


@scenario
def tokens(t: Transcript) -> None:
    """A token that is bound to a pod, and what a review says of it."""
    Node(t)
    made = t.server.send("POST", t.path("pods"), pod("p"))[1]
    path = t.path("serviceaccounts", "default") + "/token"
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["swarmscale.dev"], "expirationSeconds": 600, "boundObjectRef": bound}}
    answer = t.call("issued", "POST", path, request, show=lambda a: [bool(a["status"]["token"]), a["spec"]["audiences"], a["spec"]["expirationSeconds"]])
    token = answer["status"]["token"]

    def review(label: str, token: str, audiences: list[str]) -> None:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences}}

        def show(answer: JSON) -> JSON:
            status = answer.get("status", {})
            user = status.get("user") or {}
            name = user.get("username", "").replace(t.namespace, "NAMESPACE")
            extra = {key: value == [made["metadata"]["uid"]] if key.endswith("uid") else value for key, value in (user.get("extra") or {}).items()}
            return [status.get("authenticated", False), name, status.get("audiences") or [], {key: extra[key] for key in sorted(extra) if "pod" in key}]

        t.call(label, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", body, show=show)

    review("good", token, ["swarmscale.dev"])
    review("another audience", token, ["somebody.else"])
    review("nonsense", "nonsense", ["swarmscale.dev"])
    t.call("not good for the API", "GET", t.path("pods"), token=token)
    t.call("too short", "POST", path, {**request, "spec": {**request["spec"], "expirationSeconds": 10}})
    t.call("no such account", "POST", t.path("serviceaccounts", "none") + "/token", request)
    t.call("another pod", "POST", path, {**request, "spec": {**request["spec"], "boundObjectRef": {**bound, "uid": "x"}}})
    t.server.send("DELETE", t.path("pods", "p"))
    access = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    t.call("may I", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", access, show=pick("status.allowed"))


# Our own types


def autoscaler(**fields: Any) -> JSON:
    """A SwarmAutoscaler."""
    return {"apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": {"name": "a"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, **fields}}  # fmt: skip


@scenario
def swarm_autoscalers(t: Transcript) -> None:
    """Defaults, validation, status and generations of our own types are those of the CRD."""
    path = t.path("swarmautoscalers", group="swarmscale.dev")
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Band", "lower": 70, "upper": 85}}}
    made = t.call("create", "POST", path, autoscaler(metrics=[metric], drain={}, fallback={"replicas": 3}, behavior={"scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}}), show=lambda a: a)
    t.call("no spec", "POST", path, {**autoscaler(), "metadata": {"name": "b"}, "spec": None})
    t.call("a wrong type", "POST", path, {**autoscaler(minReplicas="five"), "metadata": {"name": "b"}})
    t.call("out of bounds", "POST", path, {**autoscaler(maxReplicas=0), "metadata": {"name": "b"}})
    t.call("no choice", "POST", path, {**autoscaler(drain={"strategy": "Sometimes"}), "metadata": {"name": "b"}})
    t.call("unknown fields go", "POST", path, {**autoscaler(nonsense=1), "metadata": {"name": "c"}}, show=pick("spec"))
    t.call("status not by itself", "PATCH", f"{path}/a", {"status": {"currentReplicas": 4}}, type=MERGE, show=pick("status", "metadata.generation"))
    t.call("status", "PATCH", f"{path}/a/status", {"status": {"currentReplicas": 4, "desiredReplicas": 5}}, type=MERGE, show=pick("status", "metadata.generation"))
    t.call("spec not by status", "PATCH", f"{path}/a/status", {"spec": {"maxReplicas": 7}, "metadata": {"labels": {"x": "y"}}}, type=MERGE, show=pick("spec.maxReplicas", "metadata.labels"))
    t.call("generation", "PATCH", f"{path}/a", {"spec": {"maxReplicas": 50}}, type=MERGE, show=pick("metadata.generation"))
    t.call("an annotation is none", "PATCH", f"{path}/a", {"metadata": {"annotations": {"swarmscale.dev/paused": "true"}}}, type=MERGE, show=pick("metadata.generation"))
    made["metadata"].pop("resourceVersion")
    t.call("a version is needed", "PUT", f"{path}/a", made)
    budget = {"apiVersion": "swarmscale.dev/v1alpha1", "kind": "APIBudget", "metadata": {"name": "claude"}, "spec": {"models": ["claude-*"], "limits": {"requestsPerMinute": 4000, "inputTokensPerMinute": "2M"}}}
    t.call("budget", "POST", t.path("apibudgets", group="swarmscale.dev"), budget, show=lambda a: a)
    t.call("bad budget", "POST", t.path("apibudgets", group="swarmscale.dev"), {**budget, "metadata": {"name": "b"}, "spec": {"reserve": 99}})


# Discovery and logs


@scenario
def discovery(t: Transcript) -> None:
    """Each served type looks the same in discovery: names, scope, verbs that matter, subresources."""
    served = {"/api/v1": ["configmaps", "endpoints", "events", "namespaces", "nodes", "pods", "secrets", "serviceaccounts", "services"],
              "/apis/apps/v1": ["deployments", "replicasets"], "/apis/coordination.k8s.io/v1": ["leases"], "/apis/events.k8s.io/v1": ["events"],
              "/apis/authentication.k8s.io/v1": ["tokenreviews"], "/apis/swarmscale.dev/v1alpha1": ["apibudgets", "swarmautoscalers"]}  # fmt: skip
    for path, resources in served.items():

        def show(answer: JSON, resources: list[str] = resources) -> JSON:
            rows = []
            for item in answer["resources"]:
                base, _, sub = item["name"].partition("/")
                # Services can be deleted all at once since Kubernetes 1.23.
                verbs = [verb for verb in item["verbs"] if (base, verb) != ("services", "deletecollection")]
                if base in resources and sub in ("", "status", "scale", "log", "token"):
                    rows.append([item["name"], item["kind"], item["namespaced"], sorted(item.get("shortNames", [])), sorted(verbs)])
            return sorted(rows)

        t.call(path, "GET", path, show=show)
    t.call("core", "GET", "/api", show=pick("versions"))
    for path in ("/healthz", "/readyz", "/livez"):
        status, text = t.server.send("GET", path)
        t.note(path, [status, text])


@scenario
def logs(t: Transcript) -> None:
    """Questions for logs that nobody can answer."""
    Node(t)
    t.server.send("POST", t.path("pods"), pod("p", containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]))
    t.call("which container", "GET", t.path("pods", "p") + "/log")
    t.call("none of these", "GET", t.path("pods", "p") + "/log?container=c")
    t.call("no such pod", "GET", t.path("pods", "q") + "/log")
    t.call("negative tail", "GET", t.path("pods", "p") + "/log?container=a&tailLines=-1")
