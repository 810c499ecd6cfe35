"""A real node beside a throw-away control plane: containerd, kubelet, kube-proxy, kube-scheduler. Needs root.

Everything runs on this machine and talks over a bridge of its own, whose address is the node's and the API server's: nothing
listens on an interface that leads outside. What is changed on the machine is written down in state.json, and undone by `down`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Sequence

from .api import APIStatusError, Connection
from .images import compile_static, libraries_of, write_image
from .plane import ControlPlane, Options, apply
from .processes import ClusterError, ProcessIdentity, free_ports, poll
from .support import REPOSITORY, binary_version, component_entry, kubernetes_binaries, report

NODE = "swarmscale-node"
BRIDGE = "swarmscale0"
POD_RANGE = "10.245.0.0/16"
GATEWAY = "10.245.0.1"
PAUSE_IMAGE = "swarmscale.test/pause:1"
BURNER_IMAGE = "swarmscale.test/burner:1"
# Kernel settings that the kubelet, kube-proxy and we change; put back by `down`.
_SYSCTLS = (
    "net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic",
    "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/conf/all/route_localnet",
)  # fmt: skip
# Folders that containerd, the kubelet and the CNI plugins make wherever they are told to live; removed if `up` found none.
_FOLDERS = ("/var/log/pods", "/var/log/containers", "/var/lib/kubelet", "/var/lib/cni", "/run/containerd", "/run/netns")
_CHAIN = re.compile(r"^(KUBE-|CNI-)")


class RealNode:
    """The node of a control plane that has one; its files lie in FOLDER/node."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.folder = plane.folder / "node"

    # -- Up

    def up(self) -> None:
        """Starts the control plane and the node; returns when the node is Ready. On failure nothing stays behind."""
        if os.geteuid() != 0:
            raise ClusterError("a real node needs root (containers, a bridge, iptables); scripts/control-plane does not")
        if self.plane.state_file.exists():
            raise ClusterError(f"{self.plane.folder} has a cluster already; take it down first: scripts/cluster down")
        begin = time.monotonic()
        kubernetes = kubernetes_binaries("--all")
        tools = _node_binaries()
        self._check_machine()
        settings = {name: text for name in _SYSCTLS if (text := _read_sysctl(name)) is not None}
        made = [folder for folder in _FOLDERS if not Path(folder).exists()]
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        try:
            _make_bridge()
            _write_sysctl("net/ipv4/ip_forward", "1")
            self.plane.up(_options())
            self.plane.state["node"] = {
                "name": NODE,
                "sysctls": settings,
                "folders": made,
                "tools": str(tools),
                "kubernetes": str(kubernetes),
            }
            self.plane.state["components"].update(self._commands(kubernetes, tools))
            self.plane.save()
            self._start(kubernetes)
        except BaseException:
            if "node" in self.plane.state and self.plane.state_file.exists():
                self.plane.down(keep_logs=True)
            else:
                self._undo(settings, made)
            raise
        report(f"the cluster is ready in {time.monotonic() - begin:.1f} s: {self.plane.state['kubeconfig']}")

    def _check_machine(self) -> None:
        if BRIDGE in os.listdir("/sys/class/net"):
            raise ClusterError(
                f"the bridge {BRIDGE} is there: another cluster of ours runs, or one was not taken down. Try: scripts/cluster down, or ip link delete {BRIDGE}"
            )
        if _container_processes():
            raise ClusterError("the cgroup k8s.io has processes: containers of another Kubernetes node run on this machine")
        if _chains():
            raise ClusterError("iptables has KUBE- or CNI- chains: a Kubernetes node runs on this machine, and this one would disturb it")

    def _commands(self, kubernetes: Path, tools: Path) -> dict[str, Any]:
        healthz_kubelet, kubelet, proxy, metrics, scheduler = free_ports(5)
        self._write_files(kubelet, healthz_kubelet, tools)
        folder, plane = self.folder, self.plane
        search = {"PATH": f"{folder / 'bin'}:{tools / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        old = binary_version(kubernetes / "kubelet") < (1, 24, 0)
        plain = ["--port=0"] if binary_version(kubernetes / "kube-scheduler") < (1, 23, 0) else []
        commands: dict[str, tuple[list[str], str]] = {
            "containerd": (
                [str(tools / "bin/containerd"), "--config", str(folder / "containerd.toml")],
                f"unix:{folder / 'containerd.sock'}",
            ),
            "kubelet": (
                [
                    str(kubernetes / "kubelet"), f"--config={folder / 'kubelet.json'}", f"--kubeconfig={plane.folder / 'kubeconfig'}",
                    *(["--container-runtime=remote"] if old else []), f"--container-runtime-endpoint=unix://{folder / 'containerd.sock'}",
                    f"--root-dir={folder / 'kubelet'}", f"--cert-dir={folder / 'kubelet-pki'}", f"--hostname-override={NODE}",
                    f"--node-ip={GATEWAY}", "--v=1",
                ],
                f"http://127.0.0.1:{healthz_kubelet}/healthz",
            ),
            "kube-proxy": (
                [
                    str(kubernetes / "kube-proxy"), f"--kubeconfig={plane.folder / 'kubeconfig'}", "--proxy-mode=iptables",
                    "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
                    f"--hostname-override={NODE}", "--masquerade-all=true", "--oom-score-adj=0",
                    f"--healthz-bind-address=127.0.0.1:{proxy}", f"--metrics-bind-address=127.0.0.1:{metrics}",
                ],
                f"http://127.0.0.1:{proxy}/healthz",
            ),
            "kube-scheduler": (
                [
                    str(kubernetes / "kube-scheduler"), f"--kubeconfig={plane.folder / 'kubeconfig'}", "--leader-elect=false",
                    "--bind-address=127.0.0.1", f"--secure-port={scheduler}", f"--cert-dir={folder / 'scheduler-pki'}", *plain,
                ],
                f"https://127.0.0.1:{scheduler}/healthz",
            ),
        }  # fmt: skip
        return {name: component_entry(arguments, plane.log(name), url, search) for name, (arguments, url) in commands.items()}

    def _write_files(self, kubelet_port: int, healthz_port: int, tools: Path) -> None:
        folder = self.folder
        (folder / "cni").mkdir(parents=True, exist_ok=True)
        plugins = [
            {
                "type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True,
                "ipam": {
                    "type": "host-local", "dataDir": str(folder / "addresses"), "ranges": [[{"subnet": POD_RANGE, "gateway": GATEWAY}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]  # fmt: skip
        network = {"cniVersion": "0.4.0", "name": "swarmscale", "plugins": plugins}
        (folder / "cni/10-swarmscale.conflist").write_text(json.dumps(network, indent=2), encoding="utf-8")
        # restrict_oom_score_adj: where the capability to lower it is missing, every sandbox would fail otherwise.
        (folder / "containerd.toml").write_text(
            f"""version = 2
root = "{folder / "containerd"}"
state = "{folder / "run"}"
[grpc]
  address = "{folder / "containerd.sock"}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{tools / "cni"}"
    conf_dir = "{folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
""",
            encoding="utf-8",
        )
        (folder / "resolv.conf").write_text("# no name server: pods find services by their environment\n", encoding="utf-8")
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": GATEWAY, "port": kubelet_port, "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1", "healthzPort": healthz_port,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}, "x509": {"clientCAFile": self.plane.state["caFile"]}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs", "failSwapOn": False, "cgroupsPerQOS": False, "enforceNodeAllocatable": [], "oomScoreAdj": 0,
            "resolvConf": str(folder / "resolv.conf"), "volumePluginDir": str(folder / "volume-plugins"), "maxPods": 250,
            "imageGCHighThresholdPercent": 100, "nodeStatusUpdateFrequency": "5s",
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "registryPullQPS": 0, "eventRecordQPS": 0,
        }  # fmt: skip
        (folder / "kubelet.json").write_text(json.dumps(kubelet, indent=2), encoding="utf-8")

    def _start(self, kubernetes: Path) -> None:
        plane = self.plane
        plane.launch("containerd")
        plane.launch("kube-scheduler")
        self._serve_api_in_cluster()
        plane.wait_ready("containerd")
        images = REPOSITORY / "Tests/Cluster/images"
        for name, reference in (("pause", PAUSE_IMAGE), ("burner", BURNER_IMAGE)):
            compile_static(images / f"{name}.c", self.folder / "bin" / name)
            self.add_image(reference, [(self.folder / "bin" / name, f"/{name}")], [f"/{name}"])
        plane.launch("kubelet")
        plane.launch("kube-proxy")
        for name in ("kube-scheduler", "kubelet", "kube-proxy"):
            plane.wait_ready(name)
        connection = plane.connection()
        poll(f"node {NODE} ready", 60, lambda: _node_ready(connection), plane._all_alive)

    def _serve_api_in_cluster(self) -> None:
        """The endpoints of the service `kubernetes`, which the API server does not write itself here."""
        connection, port = self.plane.connection(), self.plane.state["ports"]["kube-apiserver"]
        subsets = [{"addresses": [{"ip": GATEWAY}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]
        body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "kubernetes"}, "subsets": subsets}
        apply(connection, "/api/v1/namespaces/default/endpoints", body)

    # -- Images and load

    def add_image(self, reference: str, files: Sequence[tuple[Path, str]], entrypoint: Sequence[str]) -> None:
        """Makes an image of files, with the libraries that the programs among them need, and gives it to containerd."""
        all_files = list(files)
        for source, _ in files:
            all_files += [(library, str(library)) for library in libraries_of(source)]
        archive = self.folder / "image.tar"
        try:
            write_image(archive, reference, all_files, entrypoint)
            self.import_image(archive)
        finally:
            archive.unlink(missing_ok=True)

    def import_image(self, archive: Path) -> None:
        """Gives an image archive (docker or OCI format) to containerd."""
        self._ctr("images", "import", str(archive))

    def set_load(self, namespace: str, selector: str, millicores: int | None, total: int | None, mebibytes: int | None) -> int:
        """Tells the burners of a selector what to use; returns how many were told."""
        from .api import query

        connection = self.plane.connection()
        items = connection.json("GET", query(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector))["items"]
        ready = [
            p
            for p in items
            if "deletionTimestamp" not in p["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or ())
        ]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        told = 0
        for pod in ready:
            share = millicores if total is None else total // len(ready)
            paths = ([f"burn?millicores={share}"] if share is not None else []) + (
                [f"memory?mib={mebibytes}"] if mebibytes is not None else []
            )
            try:
                for path in paths:
                    opener.open(f"http://{pod['status']['podIP']}:8080/{path}", timeout=2).close()
                told += 1
            except OSError as error:
                report(f"pod {pod['metadata']['name']} does not answer: {error}")
        return told

    def _ctr(self, *arguments: str, check: bool = True) -> str:
        tools = Path(self.plane.state["node"]["tools"])
        command = [str(tools / "bin/ctr"), "--address", str(self.folder / "containerd.sock"), "--namespace", "k8s.io", *arguments]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"ctr {' '.join(arguments)}: no answer from containerd") from None
        if check and result.returncode != 0:
            raise ClusterError(f"ctr {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    # -- Down

    def down(self) -> None:
        """Ends the pods, then the node's processes, then what they changed on the machine. Called by ControlPlane.down."""
        plane = self.plane
        for name in ("kube-controller-manager", "kube-scheduler"):
            identity = plane.identity(name)
            if identity is not None and identity.is_alive:
                identity.kill()  # nobody makes new pods
        self._delete_pods()
        for name in ("kubelet", "kube-proxy"):
            identity = plane.identity(name)
            if identity is not None and identity.is_alive:
                identity.terminate(5)
        containerd = plane.identity("containerd")
        if containerd is not None and containerd.is_alive:
            self._remove_containers()
            containerd.terminate(5)
        self._undo(plane.state["node"]["sysctls"], plane.state["node"]["folders"])

    def _delete_pods(self) -> None:
        """Through the API where that works; what is left is taken from containerd."""
        kubelet = self.plane.identity("kubelet")
        if kubelet is None or not kubelet.is_alive or kubelet.is_paused:
            return
        connection = self.plane.connection()
        try:
            for pod in connection.json("GET", "/api/v1/pods")["items"]:
                if pod["spec"].get("nodeName"):
                    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
                    connection.request("DELETE", path, {"gracePeriodSeconds": 1, "propagationPolicy": "Background"})

            # Until the sandboxes have ended too, and with them addresses and port mappings. The API forgets the pods up to a
            # minute later, when the kubelet collects its garbage; nobody needs to wait for that.
            poll("the end of all containers", 20, lambda: not self._ctr("tasks", "list", "--quiet").split())
        except (OSError, APIStatusError, ClusterError) as error:
            report(f"pods are not deleted in order ({error}); ending their containers")
        finally:
            connection.close()

    def _remove_containers(self) -> None:
        with contextlib.suppress(ClusterError):
            for task in self._ctr("tasks", "list", "--quiet").split():
                self._ctr("tasks", "delete", "--force", task, check=False)
            for container in self._ctr("containers", "list", "--quiet").split():
                self._ctr("containers", "delete", container, check=False)

    def _undo(self, settings: dict[str, str], made: Sequence[str]) -> None:
        """What is on the machine besides processes that we know: shims, mounts, network namespaces, bridge, chains, settings."""
        for identity in _shims(str(self.folder / "containerd.sock")):
            identity.kill()
        # Where containerd died first, containers outlive their shims.
        for identity in _container_processes():
            identity.kill()
        for place in (str(self.folder), *made):
            _unmount_below(place)
        _remove_network_namespaces()
        if BRIDGE in os.listdir("/sys/class/net"):
            for name in os.listdir(f"/sys/class/net/{BRIDGE}/brif"):
                _quiet("ip", "link", "delete", name)
            _quiet("ip", "link", "delete", BRIDGE)
        _remove_chains()
        for name, text in settings.items():
            _write_sysctl(name, text)
        _remove_cgroups()
        for place in (str(self.folder), *made):
            shutil.rmtree(place, ignore_errors=True)


def _options() -> Options:
    """The control plane of a real node: all controllers, the kubelet as the source of metrics, on the bridge's address."""
    return Options(controllers=["*"], nodes=0, node=False, metrics_source="kubelet", address=GATEWAY)


def _node_binaries() -> Path:
    result = subprocess.run([str(REPOSITORY / "scripts/lib/node-binaries")], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError("no containerd, runc or CNI plugins; see above")
    return Path(result.stdout.strip())


def _node_ready(connection: Connection) -> bool:
    status, body = connection.request("GET", f"/api/v1/nodes/{NODE}")
    if status != 200:
        return False
    conditions = json.loads(body)["status"].get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _quiet(*command: str) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _make_bridge() -> None:
    length = POD_RANGE.partition("/")[2]
    for command in (
        ("ip", "link", "add", BRIDGE, "type", "bridge"),
        ("ip", "address", "add", f"{GATEWAY}/{length}", "dev", BRIDGE),
        ("ip", "link", "set", BRIDGE, "up"),
    ):
        if not _quiet(*command):
            raise ClusterError(f"{' '.join(command)} failed: root and the kernel's bridge module are needed")


def _read_sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _write_sysctl(name: str, text: str) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/sys", name).write_text(text, encoding="ascii")


def _chains() -> list[tuple[str, str, str]]:
    """(command, table, chain) of every chain of Kubernetes or CNI."""
    found = []
    for command in ("iptables", "ip6tables"):
        result = subprocess.run([f"{command}-save"], capture_output=True, text=True, check=False)
        table = ""
        for line in result.stdout.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":") and _CHAIN.match(line[1:]):
                found.append((command, table, line[1:].split()[0]))
    return found


def _remove_chains() -> None:
    """First the rules that jump to them from the built-in chains, then the chains."""
    chains = _chains()
    for command in sorted({command for command, _, _ in chains}):
        result = subprocess.run([f"{command}-save"], capture_output=True, text=True, check=False)
        table = ""
        for line in result.stdout.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith("-A ") and not _CHAIN.match(line[3:]) and re.search(r" -j (KUBE-|CNI-)", line):
                subprocess.run(["sh", "-c", f"{command} -t {table} -D {line[3:]}"], capture_output=True, check=False)
    for command, table, chain in chains:
        _quiet(command, "-t", table, "-F", chain)
    for command, table, chain in chains:
        _quiet(command, "-t", table, "-X", chain)


def _shims(socket_path: str) -> list[ProcessIdentity]:
    """The shims of our containerd, by the socket in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments and b"containerd-shim" in arguments[0] and socket_path.encode() in arguments:
            identity = ProcessIdentity.of(int(entry.name))
            if identity is not None:
                found.append(identity)
    return found


def _unmount_below(folder: str) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), key=len, reverse=True):
        _quiet("umount", "--lazy", mount)


def _remove_network_namespaces() -> None:
    """The CNI namespaces that containerd made and did not remove. Only ours: `up` refuses a machine with another node."""
    for entry in Path("/run/netns").glob("cni-*") if Path("/run/netns").exists() else ():
        _quiet("ip", "netns", "delete", entry.name)


def _cgroups() -> list[Path]:
    """The roots of containerd's containers, in each hierarchy of cgroup v1 or in the one of v2."""
    base = Path("/sys/fs/cgroup")
    return [path for path in (base / "k8s.io", *base.glob("*/k8s.io")) if path.is_dir()]


def _container_processes() -> list[ProcessIdentity]:
    """All processes in containers. Only ours: `up` refuses a machine with another node."""
    found: set[ProcessIdentity] = set()
    for root in _cgroups():
        for file in root.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(identity for pid in file.read_text().split() if (identity := ProcessIdentity.of(int(pid))) is not None)
    return sorted(found, key=lambda identity: identity.pid)


def _remove_cgroups() -> None:
    for root in _cgroups():
        for folder in sorted((path for path in root.rglob("*") if path.is_dir()), key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            root.rmdir()
