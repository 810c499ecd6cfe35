"""One container of an unpacked image, run by runc as a restricted pod would be. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any, Sequence


class Container:
    """A process in its own pid, mount, ipc and uts namespaces; on this machine's network, so that loopback is reached.

    As Pod Security "restricted" has it: a read-only root, no capability, no new privileges. Only seccomp is missing: that the
    full node adds.
    """

    def __init__(self, runc: Path, root: Path, config: dict[str, Any], arguments: Sequence[str] = (), mounts: Sequence[tuple[Path, str]] = (), environment: Sequence[str] = ()) -> None:  # fmt: skip
        """`config` is the image's own: its user, its environment and (without `arguments`) its command are what counts."""
        self._runc = [str(runc), "--root", str(root.parent / "runc")]
        self._name = f"swarmscale-image-test-{uuid.uuid4().hex[:12]}"
        self._folder = tempfile.TemporaryDirectory(prefix="swarmscale-image-bundle.")
        user, _, group = config["User"].partition(":")
        no_capabilities: dict[str, list[str]] = {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")}
        options = ["nosuid", "nodev", "noexec"]
        specification = {
            "ociVersion": "1.0.2", "hostname": "image-test", "root": {"path": str(root), "readonly": True},
            "process": {
                "args": list(arguments) or [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())],
                "env": [*config["Env"], *environment], "cwd": config.get("WorkingDir") or "/", "noNewPrivileges": True,
                "user": {"uid": int(user), "gid": int(group)}, "capabilities": no_capabilities,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": options},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=755", "size=64k"]},
                {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro", *options]},
                *({"destination": there, "type": "bind", "source": str(here), "options": ["bind", "ro"]} for here, there in mounts),
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")], "cgroupsPath": f"/{self._name}",
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sysrq-trigger"], "readonlyPaths": ["/proc/sys", "/proc/irq", "/proc/bus"],
            },
        }  # fmt: skip
        Path(self._folder.name, "config.json").write_text(json.dumps(specification), encoding="utf-8")
        self._output = Path(self._folder.name, "output")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Container:
        """Starts it; what it writes is found in `output`."""
        with self._output.open("wb") as output:
            command = [*self._runc, "run", "--bundle", self._folder.name, self._name]
            # A session of its own: Ctrl-C at the terminal ends the test, which then ends the container.
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        return self

    def wait(self, seconds: float) -> int:
        """Waits for its end; returns its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=seconds)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process is None or self._process.poll() is not None

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts; 0 before it has one."""
        result = subprocess.run([*self._runc, "state", self._name], capture_output=True, text=True, check=False)
        return int(json.loads(result.stdout).get("pid", 0)) if result.returncode == 0 else 0

    def terminate(self) -> None:
        """SIGTERM, as the kubelet sends it."""
        os.kill(self.pid, signal.SIGTERM)

    def close(self) -> None:
        """Ends it whatever it does, and removes what was made for it."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if pid := self.pid:
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        subprocess.run([*self._runc, "delete", "--force", self._name], capture_output=True, check=False)
        self._folder.cleanup()

    def __enter__(self) -> Container:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
