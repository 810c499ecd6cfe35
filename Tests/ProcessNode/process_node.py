"""Runs a process node on a real control plane and looks at it with kubectl; called by `run`."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
NODE = "processes"
# A wait ends when what it waits for has come; the bound only ends one that would last for ever.
PATIENCE_SECONDS = 120.0


class Failure(Exception):
    """Something that must hold doesn't."""


def check(holds: bool, what: str) -> None:
    """Fails unless something holds."""
    if not holds:
        raise Failure(what)
    print(f"ok: {what}", flush=True)


def eventually(what: str, look: Callable[[], bool]) -> float:
    """Waits until something holds and gives the seconds that it took."""
    begin = time.monotonic()
    while not look():
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise Failure(f"waited in vain for: {what}")
        time.sleep(0.1)
    return time.monotonic() - begin


def deployment(name: str, replicas: int, script: str, grace: int = 2, **container: Any) -> dict[str, Any]:
    """A Deployment bound to the node, whose pods run a shell script; `exec` in it leaves one process."""
    labels = {"app": name}
    main = {"name": "main", "image": "none", "command": ["sh", "-c", script], **container}
    spec = {"nodeName": NODE, "terminationGracePeriodSeconds": grace, "containers": [main]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


class Rig:
    """The control plane, the node and kubectl."""

    def __init__(self, folder: pathlib.Path, programs: pathlib.Path) -> None:
        self.folder = folder
        self.programs = programs
        self.plane = folder / "plane"
        self.state = folder / "state"
        found = subprocess.run([str(REPOSITORY / "scripts/lib/kubernetes-binaries")], check=True, capture_output=True, text=True)
        self.kubectl_path = pathlib.Path(found.stdout.strip().splitlines()[-1]) / "kubectl"
        self.node: subprocess.Popen[bytes] | None = None

    def control_plane(self, *arguments: str) -> None:
        """Runs scripts/control-plane."""
        subprocess.run([str(REPOSITORY / "scripts/control-plane"), *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kubectl(self, *arguments: str, given: str | None = None, must: bool = True) -> str:
        """Runs kubectl and gives its output."""
        command = [str(self.kubectl_path), "--kubeconfig", str(self.plane / "kubeconfig"), *arguments]
        result = subprocess.run(command, input=given, capture_output=True, text=True)
        if must and result.returncode != 0:
            raise Failure(f"kubectl {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    def apply(self, thing: dict[str, Any]) -> None:
        """Applies an object."""
        self.kubectl("apply", "-f", "-", given=json.dumps(thing))

    def pods(self, app: str) -> list[dict[str, Any]]:
        """The pods of a Deployment."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-l", f"app={app}", "-o", "json"))["items"]
        return items

    def rolled_out(self, app: str) -> None:
        """Waits until a Deployment is where it should be."""
        self.kubectl("rollout", "status", f"deployment/{app}", f"--timeout={PATIENCE_SECONDS:.0f}s")

    def start_node(self) -> None:
        """Starts the node; its output goes to node.log."""
        with (self.folder / "node.log").open("ab") as log:
            command = [str(self.programs / "process-node-testbed"), str(self.plane / "kubeconfig"), NODE, str(self.state), str(self.programs / "swarmscale-shim"), "400", "400"]
            self.node = subprocess.Popen(command, stdout=log, stderr=log)

    def node_cpu(self) -> float:
        """The seconds of CPU that the node itself has used."""
        assert self.node
        fields = pathlib.Path(f"/proc/{self.node.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def node_memory(self) -> int:
        """The node's resident memory in MiB."""
        assert self.node
        status = pathlib.Path(f"/proc/{self.node.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1024

    def processes(self) -> list[str]:
        """The command lines of processes that the node's containers started: their environment names its folder."""
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if str(self.state).encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def stop(self) -> None:
        """Ends everything."""
        if self.node and self.node.poll() is None:
            self.node.kill()
            self.node.wait()
        subprocess.run([str(REPOSITORY / "scripts/control-plane"), "down", str(self.plane)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def serve(rig: Rig) -> None:
    """A Deployment with probes, all on one port, rolled out and rolled out anew."""
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    web = deployment("web", 3, 'exec python3 -m http.server --bind "$POD_IP" 8080', env=env, readinessProbe=probe)
    rig.apply(web)
    rig.rolled_out("web")
    pods = rig.pods("web")
    check(len({pod["status"]["podIP"] for pod in pods}) == 3, "three pods serve one port at addresses of their own")
    env.append({"name": "VERSION", "value": "2"})
    rig.apply(web)
    rig.rolled_out("web")
    eventually("the old pods to go", lambda: len(rig.pods("web")) == 3)
    check(not {pod["metadata"]["uid"] for pod in pods} & {pod["metadata"]["uid"] for pod in rig.pods("web")}, "a rollout replaces all pods")
    nodes = json.loads(rig.kubectl("get", "nodes", "-o", "json"))["items"]
    ready = [c for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready" and c["status"] == "True"]
    check(len(ready) == 1, "the node is Ready")
    rig.kubectl("delete", "deployment", "web")


def end_stubborn(rig: Rig) -> None:
    """A pod that ignores SIGTERM and has daemons goes when its grace period is over."""
    script = "trap '' TERM; (setsid sleep 4711 &); env > env; while :; do sleep 1; done"
    rig.apply(deployment("stubborn", 1, script, grace=1, env=[{"name": "FOLDER", "value": str(rig.state)}]))
    rig.rolled_out("stubborn")
    eventually("the daemon", lambda: any("sleep 4711" in line for line in rig.processes()))
    rig.kubectl("delete", "deployment", "stubborn")
    took = eventually("the pod to go", lambda: not rig.pods("stubborn"))
    check(not any("4711" in line for line in rig.processes()), f"a stubborn pod is gone after {took:.1f} s, its daemon with it")


def use_token(rig: Rig) -> None:
    """A projected token is one that the server accepts, for the pod's account."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "token"},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "none", "command": ["sh", "-c", "cp /tokens/token /out/token"], "volumeMounts": [{"name": "tokens", "mountPath": "/tokens"}, {"name": "out", "mountPath": "/out"}]}],
            "volumes": [
                {"name": "tokens", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}},
                {"name": "out", "hostPath": {"path": str(rig.folder / "out"), "type": "DirectoryOrCreate"}},
            ],
        },
    }
    eventually("the default account", lambda: bool(rig.kubectl("get", "serviceaccount", "default", must=False)))
    rig.apply(pod)
    eventually("the pod's end", lambda: rig.kubectl("get", "pod", "token", "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"))
    token = (rig.folder / "out" / "token").read_text()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = json.loads(rig.kubectl("create", "-o", "json", "-f", "-", given=json.dumps(review)))["status"]
    check(status.get("authenticated") is True and status["user"]["username"].endswith(":default"), "the server accepts the pod's token")
    check(status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["token"], "the token is bound to the pod")


def measure(rig: Rig, count: int) -> None:
    """Many pods at once: how long they take to start and to end, and what the node itself needs for them."""
    rig.apply(deployment("many", 0, "exec sleep 100000"))
    before, begin = rig.node_cpu(), time.monotonic()
    rig.kubectl("scale", "deployment", "many", f"--replicas={count}")
    rig.rolled_out("many")
    took, cpu = time.monotonic() - begin, rig.node_cpu() - before
    idle, window = rig.node_cpu(), 15.0
    time.sleep(window)
    idle = (rig.node_cpu() - idle) / window
    memory = rig.node_memory()
    begin = time.monotonic()
    rig.kubectl("scale", "deployment", "many", "--replicas=0")
    eventually("all to end", lambda: not rig.pods("many"))
    end = time.monotonic() - begin
    print(f"{count} pods: ready after {took:.1f} s, node CPU {cpu:.2f} s; idle {idle * 1000:.1f} millicores, {memory} MiB; ended after {end:.1f} s")


def outlive_server(rig: Rig) -> None:
    """The API server starts anew with an empty memory; the pods live on and the node follows it again."""
    rig.apply(deployment("calm", 2, "exec sleep 100000"))
    rig.rolled_out("calm")
    before = {pod["metadata"]["uid"] for pod in rig.pods("calm")}
    rig.control_plane("compact", str(rig.plane), "--restart")
    rig.kubectl("scale", "deployment", "calm", "--replicas=4")
    rig.rolled_out("calm")
    pods = rig.pods("calm")
    restarts = sum(container["restartCount"] for pod in pods for container in pod["status"]["containerStatuses"])
    check(before < {pod["metadata"]["uid"] for pod in pods} and restarts == 0, "pods outlive the API server, and the node follows it again")
    rig.kubectl("delete", "deployment", "calm")


def kill_node(rig: Rig) -> None:
    """SIGKILL to the node ends every process; a new node runs the pods anew."""
    assert rig.node
    rig.apply(deployment("lives", 5, "(setsid sleep 4712 &); (setsid setsid sleep 4712 &); exec sleep 4712", env=[{"name": "FOLDER", "value": str(rig.state)}]))
    rig.rolled_out("lives")
    eventually("all processes", lambda: sum("sleep 4712" in line for line in rig.processes()) == 15)
    names = {pod["metadata"]["name"] for pod in rig.pods("lives")}
    rig.node.send_signal(signal.SIGKILL)
    rig.node.wait()
    took = eventually("all processes to end", lambda: not rig.processes())
    check(True, f"killing the node ended 15 processes of 5 pods within {took:.1f} s")
    rig.start_node()

    def restarted() -> bool:
        pods = rig.pods("lives")
        states = [container for pod in pods for container in pod["status"].get("containerStatuses", [])]
        return len(states) == 5 and all(state["restartCount"] == 1 and "running" in state["state"] for state in states)

    eventually("the pods to run anew", restarted)
    check({pod["metadata"]["name"] for pod in rig.pods("lives")} == names, "a new node runs the same pods anew")


def end_node(rig: Rig) -> None:
    """SIGTERM to the node ends its pods and says so."""
    assert rig.node
    rig.node.send_signal(signal.SIGTERM)
    code = rig.node.wait(PATIENCE_SECONDS)
    check(code == 0, "the node ends well when asked to")
    check(not rig.processes(), "no process is left")
    pods = [pod["status"] for pod in rig.pods("lives") if pod["status"].get("phase") == "Failed"]
    check(len(pods) == 5 and all(status["reason"] == "Terminated" for status in pods), "the pods' status says why they ended")
    node = json.loads(rig.kubectl("get", "node", NODE, "-o", "json"))
    ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    check(ready["status"] == "False", "the node isn't Ready any more")


def main() -> int:
    """Runs all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--pods", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="process-node-") as name:
        rig = Rig(pathlib.Path(name), options.bin.resolve())
        try:
            rig.control_plane("up", str(rig.plane), "--no-node", "--no-metrics")
            rig.start_node()
            for step in (serve, end_stubborn, use_token):
                step(rig)
            measure(rig, options.pods)
            for step in (outlive_server, kill_node, end_node):
                step(rig)
        except Failure as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            print((rig.folder / "node.log").read_text()[-4000:], file=sys.stderr)
            return 1
        finally:
            rig.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
