"""What a control plane needs besides its processes: binaries, small files, small requests, the list of what is up."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .processes import ClusterError

REPOSITORY = Path(__file__).resolve().parents[3]


def report(message: str) -> None:
    """Progress, for people: on standard error."""
    print(f"control-plane: {message}", file=sys.stderr, flush=True)


# -- Files and small requests


def kubernetes_binaries(*arguments: str) -> Path:
    """The folder with the binaries; builds them when the machine has none, which takes minutes and says so."""
    program = REPOSITORY / "scripts/lib/kubernetes-binaries"
    result = subprocess.run([str(program), *(arguments or ("--control-plane",))], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError("no Kubernetes binaries; see above")
    return Path(result.stdout.strip())


def binary_version(binary: Path) -> tuple[int, int, int]:
    """The version that a Kubernetes binary tells."""
    text = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise ClusterError(f"{binary} --version says {text!r}")
    return (int(match[1]), int(match[2]), int(match[3]))


def no_fsync(etcd: Path) -> list[str]:
    """--unsafe-no-fsync where this etcd has it: from 3.4.10 and 3.5 on, not in the older help text."""
    flag = "--unsafe-no-fsync"
    known = subprocess.run([str(etcd), flag, "--version"], capture_output=True, check=False).returncode == 0
    return [flag] if known else []


def write_kubeconfig(path: Path, server: str, authority: str, user: Sequence[str]) -> None:
    """A kubeconfig with one context."""
    lines = [
        "apiVersion: v1", "kind: Config", "clusters:", "- name: test", "  cluster:", f"    server: {server}", f"    {authority}",
        "users:", "- name: admin", "  user:", *(f"    {line}" for line in user),
        "contexts:", "- name: test", "  context:", "    cluster: test", "    user: admin", "    namespace: default",
        "current-context: test", "",
    ]  # fmt: skip
    write_private(path, "\n".join(lines))


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def base64_of(path: Path) -> str:
    """A file as kubeconfigs hold it inline."""
    return base64.b64encode(path.read_bytes()).decode()


def direct() -> urllib.request.OpenerDirector:
    """An opener that no *_proxy variable can lead away from loopback."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Whether a health URL says yes. `unix:PATH`: whether somebody accepts there. Certificates of such ports are nobody's business."""
    if url.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(url.removeprefix("unix:")) == 0
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def component_entry(
    arguments: Sequence[str], log: Path, ready_url: str | None, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """What state.json keeps of a component."""
    return {"arguments": list(arguments), "log": str(log), "readyURL": ready_url, "environment": environment or {}}


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """A request to the JSON gateway of etcd."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST")
    try:
        with direct().open(request, timeout=30) as answer:
            result: dict[str, Any] = json.load(answer)
            return result
    except OSError as error:
        raise ClusterError(f"etcd does not answer {url}: {error}") from error


# -- The list of what is up, for `down-all`


def _registry() -> Path:
    path = Path(tempfile.gettempdir()) / f"swarmscale-control-planes.{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _entry_of(folder: Path) -> Path:
    return _registry() / hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def register(folder: Path) -> None:
    """Writes down that a control plane was started."""
    _entry_of(folder).write_text(str(folder), encoding="utf-8")


def unregister(folder: Path) -> None:
    """Forgets it."""
    _entry_of(folder).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        _registry().rmdir()


def registered() -> list[Path]:
    """The folders of all control planes of this user that were started and not taken down."""
    return sorted(Path(entry.read_text(encoding="utf-8")) for entry in _registry().iterdir())
