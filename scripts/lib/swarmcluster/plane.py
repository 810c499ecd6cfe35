"""A throw-away control plane on loopback: etcd, kube-apiserver, kube-controller-manager, a test node, a fault proxy."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import json
import os
import secrets
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

from . import pki
from .api import APIStatusError, Connection, Endpoint
from .processes import ClusterError, ProcessIdentity, free_ports, poll, start_daemon, tail
from .support import (
    REPOSITORY,
    answers,
    base64_of,
    binary_version,
    component_entry,
    kubernetes_binaries,
    no_fsync,
    post,
    register,
    report,
    unregister,
    write_kubeconfig,
    write_private,
)

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "test-node", "fault-proxy")
DEFAULT_CONTROLLERS = (
    "deployment", "replicaset", "statefulset", "garbagecollector", "namespace", "serviceaccount",
    "serviceaccount-token", "disruption",
)  # fmt: skip
METRICS_APIS = (
    ("metrics.k8s.io", "v1beta1"),
    ("custom.metrics.k8s.io", "v1beta1"),
    ("custom.metrics.k8s.io", "v1beta2"),
    ("external.metrics.k8s.io", "v1beta1"),
)
# Memory is plentiful and the cores are few: fewer garbage collections make 10,000 pods about a third quicker.
GO_ENVIRONMENT = {"GOGC": os.environ.get("GOGC", "400")}
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
_MADE_FILES = (
    "state.json", "kubeconfig", "kubeconfig-cert", "kubeconfig-faults", "tokens.csv", "token", "fault-proxy-requests.jsonl",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What `up` is to start."""

    controllers: Sequence[str] = DEFAULT_CONTROLLERS
    metrics: bool = True
    node: bool = True
    nodes: int = 1
    fault_proxy: bool = False
    watch_cache: bool = True
    address: str = "127.0.0.1"
    metrics_source: str = "synthetic"
    extra_api_server: Sequence[str] = ()
    extra_controller_manager: Sequence[str] = ()


class ControlPlane:
    """A control plane in a folder. All that it knows is in the folder's state.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.state: dict[str, Any] = {}

    # -- State

    @property
    def state_file(self) -> Path:
        """Where the state lies; its presence means that the control plane was started and not yet taken down."""
        return self.folder / "state.json"

    def load(self) -> ControlPlane:
        """Reads the state of a control plane that is up."""
        try:
            self.state = json.loads(self.state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ClusterError(f"no control plane in {self.folder}; start one: scripts/control-plane up {self.folder}") from None
        return self

    def save(self) -> None:
        """Writes the state, whole or not at all."""
        new = self.folder / ".state.json.new"
        new.write_text(json.dumps(self.state, indent=2) + "\n", encoding="utf-8")
        new.chmod(0o600)
        new.replace(self.state_file)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time in a folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def identity(self, component: str) -> ProcessIdentity | None:
        """The process of a component as last started, alive or not."""
        entry = self.state.get("components", {}).get(component)
        if not entry or not entry.get("pid"):
            return None
        return ProcessIdentity(entry["pid"], entry["startTime"])

    def log(self, component: str) -> Path:
        """A component's log."""
        return self.folder / f"{component}.log"

    def connection(self, timeout: float = 10) -> Connection:
        """The admin's connection."""
        return Connection(Endpoint.from_state(self.state), timeout)

    # -- Up

    def up(self, options: Options) -> None:
        """Starts everything and returns when it is ready; on failure nothing stays behind."""
        if self.state_file.exists():
            raise ClusterError(f"{self.folder} has a control plane already; take it down first: control-plane down {self.folder}")
        begin = time.monotonic()
        binaries = kubernetes_binaries()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare(options, binaries)
        register(self.folder)
        try:
            self._start_all(options)
        except BaseException:
            self.down(keep_logs=True)
            raise
        report(f"ready in {time.monotonic() - begin:.1f} s: {self.folder}/kubeconfig")

    def _prepare(self, options: Options, binaries: Path) -> None:
        names = ["etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "metrics", "control", "fault-proxy", "fault-control"]
        ports = dict(zip(names, free_ports(len(names))))
        tokens = {name: secrets.token_hex(16) for name in ("admin", "adminSecond", "nobody", "invalid")}
        folder = self.folder
        keys = folder / "pki"
        shutil.rmtree(keys, ignore_errors=True)
        keys.mkdir(mode=0o700)
        authority = pki.make_authority(keys, "ca")
        names_of_server = ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "IP:127.0.0.1"]
        names_of_server += [f"IP:{SERVICE_ADDRESS}", f"IP:{options.address}"]
        pki.make_certificate(keys, "server", authority, "/CN=kube-apiserver", names_of_server)
        pki.make_certificate(keys, "admin", authority, "/O=system:masters/CN=admin-certificate")
        pki.make_certificate(keys, "kubelet-client", authority, "/O=system:masters/CN=kube-apiserver-kubelet-client")
        pki.make_certificate(
            keys, "metrics", authority, "/CN=test-metrics", ["DNS:localhost", "DNS:test-metrics.kube-system.svc", "IP:127.0.0.1"]
        )
        front = pki.make_authority(keys, "front-proxy-ca")
        pki.make_certificate(keys, "front-proxy-client", front, "/CN=front-proxy-client")
        pki.make_public_key(pki.make_key(keys / "service-account.key"), keys / "service-account.pub")
        if options.fault_proxy:
            faults = pki.make_authority(keys, "fault-proxy-ca")
            pki.make_certificate(keys, "fault-proxy", faults, "/CN=fault-proxy", ["DNS:localhost", "IP:127.0.0.1"])
        write_private(
            folder / "tokens.csv",
            f'{tokens["admin"]},admin,admin,"system:masters"\n{tokens["adminSecond"]},admin,admin,"system:masters"\n'
            f'{tokens["nobody"]},nobody,nobody,"swarmscale:nobody"\n',
        )
        write_private(folder / "token", tokens["admin"])
        server = f"https://{options.address}:{ports['kube-apiserver']}"
        self.state = {
            "version": 1,
            "folder": str(folder),
            "host": options.address,
            "server": server,
            "caFile": str(authority.certificate),
            "kubeconfig": str(folder / "kubeconfig"),
            "kubeconfigCert": str(folder / "kubeconfig-cert"),
            "kubeconfigFaults": str(folder / "kubeconfig-faults") if options.fault_proxy else None,
            "clientCertificateFile": str(keys / "admin.crt"),
            "clientKeyFile": str(keys / "admin.key"),
            "tokens": tokens,
            "tokenFile": str(folder / "token"),
            "ports": ports,
            "controlURL": f"http://127.0.0.1:{ports['control']}" if options.node or options.metrics else None,
            "faultServer": f"https://127.0.0.1:{ports['fault-proxy']}" if options.fault_proxy else None,
            "faultControlURL": f"http://127.0.0.1:{ports['fault-control']}" if options.fault_proxy else None,
            "faultCAFile": str(keys / "fault-proxy-ca.crt") if options.fault_proxy else None,
            "binaries": str(binaries),
            "kubernetesVersion": ".".join(map(str, binary_version(binaries / "kube-apiserver"))),
            "components": {},
        }
        self._write_kubeconfigs(options)
        self.state["components"] = self._commands(options, binaries)
        self.save()

    def _write_kubeconfigs(self, options: Options) -> None:
        state, keys = self.state, self.folder / "pki"
        with_token = f"token: {state['tokens']['admin']}"
        write_kubeconfig(self.folder / "kubeconfig", state["server"], f"certificate-authority: {keys / 'ca.crt'}", [with_token])
        write_kubeconfig(
            self.folder / "kubeconfig-cert",
            state["server"],
            f"certificate-authority-data: {base64_of(keys / 'ca.crt')}",
            [f"client-certificate-data: {base64_of(keys / 'admin.crt')}", f"client-key-data: {base64_of(keys / 'admin.key')}"],
        )
        if options.fault_proxy:
            authority = f"certificate-authority: {keys / 'fault-proxy-ca.crt'}"
            write_kubeconfig(self.folder / "kubeconfig-faults", state["faultServer"], authority, [with_token])

    def _commands(self, options: Options, binaries: Path) -> dict[str, Any]:
        ports, folder = self.state["ports"], self.folder
        etcd = f"http://127.0.0.1:{ports['etcd']}"
        peer = f"http://127.0.0.1:{ports['etcd-peer']}"
        commands = {
            "etcd": [
                str(binaries / "etcd"), "--name=default", f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--quota-backend-bytes=8589934592",
                "--heartbeat-interval=10", "--election-timeout=100", "--logger=zap", "--log-level=warn", *no_fsync(binaries / "etcd"),
            ],
            "kube-apiserver": self._api_server(options, binaries),
            "kube-controller-manager": self._controller_manager(options, binaries),
        }  # fmt: skip
        if options.node or options.metrics:
            commands["test-node"] = [
                sys.executable, str(REPOSITORY / "Tests/Cluster/test_node.py"), "--state", str(self.state_file),
                f"--nodes={options.nodes if options.node else 0}", f"--source={options.metrics_source}",
            ]  # fmt: skip
        if options.fault_proxy:
            commands["fault-proxy"] = [
                sys.executable, str(REPOSITORY / "Tests/Cluster/fault_proxy.py"), "--state", str(self.state_file),
            ]  # fmt: skip
        urls = {
            "etcd": f"{etcd}/health",
            "kube-controller-manager": f"https://127.0.0.1:{ports['kube-controller-manager']}/healthz",
            "test-node": f"http://127.0.0.1:{ports['control']}/ready",
            "fault-proxy": f"http://127.0.0.1:{ports['fault-control']}/ready",
        }
        return {name: component_entry(arguments, self.log(name), urls.get(name)) for name, arguments in commands.items()}

    def _api_server(self, options: Options, binaries: Path) -> list[str]:
        ports, keys = self.state["ports"], self.folder / "pki"
        return [
            str(binaries / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
            f"--bind-address={options.address}", f"--secure-port={ports['kube-apiserver']}", f"--advertise-address={options.address}",
            f"--tls-cert-file={keys / 'server.crt'}", f"--tls-private-key-file={keys / 'server.key'}",
            f"--cert-dir={keys}", f"--client-ca-file={keys / 'ca.crt'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={keys / 'service-account.pub'}",
            f"--service-account-signing-key-file={keys / 'service-account.key'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--endpoint-reconciler-type=none", "--allow-privileged=true", "--profiling=false",
            f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}", f"--kubelet-client-key={keys / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={keys / 'front-proxy-ca.crt'}", "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={keys / 'front-proxy-client.crt'}",
            f"--proxy-client-key-file={keys / 'front-proxy-client.key'}",
            f"--watch-cache={'true' if options.watch_cache else 'false'}",
            *options.extra_api_server,
        ]  # fmt: skip

    def _controller_manager(self, options: Options, binaries: Path) -> list[str]:
        ports, keys = self.state["ports"], self.folder / "pki"
        # 1.20 still has a port without TLS, on by default; the flag itself is gone from 1.24.
        plain = ["--port=0"] if binary_version(binaries / "kube-controller-manager") < (1, 23, 0) else []
        return [
            str(binaries / "kube-controller-manager"),
            f"--kubeconfig={self.folder / 'kubeconfig'}", f"--controllers={','.join(options.controllers)}",
            "--bind-address=127.0.0.1", f"--secure-port={ports['kube-controller-manager']}", f"--cert-dir={keys / 'kcm'}",
            "--leader-elect=false", "--use-service-account-credentials=false",
            f"--service-account-private-key-file={keys / 'service-account.key'}", f"--root-ca-file={keys / 'ca.crt'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}", "--kube-api-qps=2000", "--kube-api-burst=4000",
            "--profiling=false", *plain, *options.extra_controller_manager,
        ]  # fmt: skip

    def _start_all(self, options: Options) -> None:
        # The test node keeps trying until the API server is there; started now, it is ready when that is.
        for name in ("etcd", "kube-apiserver", "test-node"):
            if name in self.state["components"]:
                self.launch(name)
        report(f"etcd and kube-apiserver {self.state['kubernetesVersion']} started; waiting for them")
        self.wait_ready("etcd")
        # It answers a second or two before it is ready; what depends on it starts meanwhile.
        poll("kube-apiserver answers", 60, functools.partial(self._api_server_says, "/livez/ping"), self._all_alive)
        for name in ("kube-controller-manager", "fault-proxy"):
            if name in self.state["components"]:
                self.launch(name)
        if options.metrics:
            install_metrics_apis(self.connection(), self.state["ports"]["metrics"])
        self.wait_ready("kube-apiserver")
        for name in ("kube-controller-manager", "test-node", "fault-proxy"):
            if name in self.state["components"]:
                self.wait_ready(name)
        if options.metrics:
            self._wait_for_metrics_apis()

    def _wait_for_metrics_apis(self) -> None:
        connection = self.connection()
        for group, version in METRICS_APIS:
            path = f"/apis/{group}/{version}"
            poll(f"aggregated API {path}", 40, functools.partial(_is_served, connection, path), self._all_alive)

    def _all_alive(self) -> None:
        for name in self.state["components"]:
            identity = self.identity(name)
            if identity is not None and not identity.is_alive:
                raise ClusterError(f"{name} ended by itself; the end of {self.log(name)}:\n{tail(self.log(name))}")

    # -- Components

    def launch(self, component: str) -> None:
        """Starts a component's process, without waiting for it to serve."""
        entry = self._entry(component)
        identity = self.identity(component)
        if identity is not None and identity.is_alive:
            raise ClusterError(f"{component} runs already (process {identity.pid})")
        started = start_daemon(entry["arguments"], Path(entry["log"]), {**GO_ENVIRONMENT, **entry["environment"]})
        entry["pid"], entry["startTime"] = started.pid, started.start_time
        self.save()

    def wait_ready(self, component: str, seconds: float = 60) -> None:
        """Waits until a component serves."""
        url = self._entry(component)["readyURL"]
        attempt = functools.partial(self._api_server_says, "/readyz") if component == "kube-apiserver" else lambda: answers(url)
        poll(f"{component} ready", seconds, attempt, self._all_alive)

    def _api_server_says(self, path: str) -> bool:
        connection = self.connection(timeout=5)
        try:
            return connection.request("GET", path)[0] == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self, component: str, kill: bool = False) -> None:
        """Ends a component; `start` brings it back at the same ports."""
        self._entry(component)
        identity = self.identity(component)
        if identity is None or not identity.is_alive:
            raise ClusterError(f"{component} isn't running")
        if kill:
            identity.kill()
        else:
            identity.terminate()

    def start(self, component: str) -> None:
        """Starts a component again and waits until it serves."""
        self.launch(component)
        self.wait_ready(component)

    def pause(self, component: str, resume: bool = False) -> None:
        """SIGSTOP or SIGCONT: a process that is there and does not answer."""
        self._entry(component)
        identity = self.identity(component)
        if identity is None or not identity.signal(signal.SIGCONT if resume else signal.SIGSTOP):
            raise ClusterError(f"{component} isn't running")

    def _entry(self, component: str) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = self.state["components"][component]
            return entry
        except KeyError:
            known = ", ".join(self.state["components"])
            raise ClusterError(f"this control plane has no component {component}; it has: {known}") from None

    def compact(self) -> int:
        """Compacts etcd to its newest revision and returns it.

        A write first moves the revision on, so that every version which a client holds from before is lost.
        """
        base = f"http://127.0.0.1:{self.state['ports']['etcd']}/v3/kv"
        key = base64.b64encode(b"/swarmscale-test/compaction").decode()
        answer = post(f"{base}/put", {"key": key, "value": key})
        revision = int(answer["header"]["revision"])
        post(f"{base}/compaction", {"revision": str(revision), "physical": True})
        return revision

    def status(self) -> dict[str, str]:
        """Each component's state: running, paused or stopped."""
        result: dict[str, str] = {}
        for name in self.state["components"]:
            identity = self.identity(name)
            if identity is None or not identity.is_alive:
                result[name] = "stopped"
            else:
                result[name] = "paused" if identity.is_paused else "running"
        return result

    # -- Down

    def down(self, keep_logs: bool = False) -> None:
        """Ends every process of this control plane and removes what it wrote. A folder without one is no error."""
        if self.state_file.exists():
            self.load()
            if "node" in self.state:
                from .node import RealNode

                RealNode(self).down()
            for name in ("supervisor", *reversed(self.state["components"])):
                identity = self.identity(name) if name != "supervisor" else self._supervisor()
                # Nothing is worth saving, so nothing needs time to end well.
                if identity is not None and identity.pid != os.getpid() and identity.is_alive:
                    identity.kill()
        for name in (*_MADE_FILES, ".state.json.new"):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("etcd", "pki"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if not keep_logs:
            for name in {*COMPONENTS, *self.state.get("components", {}), "supervisor"}:
                self.log(name).unlink(missing_ok=True)
        (self.folder / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        unregister(self.folder)

    def supervise(self, watched_pid: int) -> None:
        """Starts a small process that takes everything down when `watched_pid` is gone."""
        watched = ProcessIdentity.of(watched_pid)
        if watched is None:
            raise ClusterError(f"there is no process {watched_pid} to watch")
        program = str(REPOSITORY / "scripts/control-plane")
        arguments = [sys.executable, program, "supervise", str(self.folder), str(watched.pid), str(watched.start_time)]
        started = start_daemon(arguments, self.log("supervisor"))
        self.state["supervisor"] = {"pid": started.pid, "startTime": started.start_time, "watches": watched_pid}
        self.save()

    def _supervisor(self) -> ProcessIdentity | None:
        entry = self.state.get("supervisor")
        return ProcessIdentity(entry["pid"], entry["startTime"]) if entry else None


# -- Aggregated APIs


def install_metrics_apis(connection: Connection, port: int) -> None:
    """Registers the metrics APIs with the aggregation layer; they are served at a port of this machine."""
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "test-metrics", "namespace": "kube-system"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }  # fmt: skip
    poll("the namespace kube-system", 30, lambda: connection.request("GET", "/api/v1/namespaces/kube-system")[0] == 200)
    apply(connection, "/api/v1/namespaces/kube-system/services", service)
    for group, version in METRICS_APIS:
        apply(
            connection,
            "/apis/apiregistration.k8s.io/v1/apiservices",
            {
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"{version}.{group}"},
                "spec": {
                    "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                    "service": {"name": "test-metrics", "namespace": "kube-system", "port": port},
                },
            },
        )  # fmt: skip


def _is_served(connection: Connection, path: str) -> bool:
    return connection.request("GET", path)[0] == 200


def apply(connection: Connection, collection: str, body: dict[str, Any]) -> None:
    """Creates an object, or merges into the one that is there."""
    status, answer = connection.request("POST", collection, body)
    if status == 409:
        path = f"{collection}/{body['metadata']['name']}"
        connection.json("PATCH", path, body, "application/merge-patch+json")
    elif status >= 400:
        raise APIStatusError(status, "POST", collection, answer)
