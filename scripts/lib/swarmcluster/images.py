"""Container images without a container engine: a tar of one layer, as `ctr images import` takes it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Sequence

from .processes import ClusterError


def compile_static(source: Path, target: Path) -> None:
    """A static program from one C file."""
    command = ["gcc", "-static", "-O2", "-Wall", "-pthread", "-o", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"gcc cannot compile {source}:\n{result.stderr}")


def libraries_of(binary: Path) -> list[Path]:
    """The shared libraries that a program needs, the loader included; none for a static one."""
    result = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return []
    if missing := re.findall(r"^\s*(\S+) => not found", result.stdout, re.MULTILINE):
        raise ClusterError(f"{binary} needs libraries that are not here: {', '.join(missing)}")
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", result.stdout)]


def write_image(target: Path, reference: str, files: Sequence[tuple[Path, str]], entrypoint: Sequence[str]) -> None:
    """An image from scratch with the given files (source, path in the image), in the format of `docker save`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        seen: set[str] = set()
        for folder in ("tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for source, path in files:
            if path not in seen:
                seen.add(path)
                entry = tarfile.TarInfo(path.lstrip("/"))
                content = source.read_bytes()
                entry.size, entry.mode = len(content), source.stat().st_mode & 0o777
                archive.addfile(entry, io.BytesIO(content))
    data = layer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    config = json.dumps(
        {
            "architecture": _architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/"], "WorkingDir": "/"},
        }
    ).encode()  # fmt: skip
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(target, "w") as archive:
        for name, content in ((config_name, config), ("layer.tar", data), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
