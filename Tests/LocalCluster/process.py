"""A local cluster as a process of the tests, and kubectl for it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from server import Server


class LocalCluster:
    """Runs local-cluster in a folder of its own, or in a given one that stays."""

    def __init__(self, *arguments: str, folder: Path | None = None) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="local-cluster.")
        self.folder = folder or Path(self._temporary.name)
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.unlink(missing_ok=True)
        command = [os.environ["SWARMSCALE_LOCAL_CLUSTER"], "--kubeconfig", str(self.kubeconfig), *arguments]
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if "listening" not in line:
            self.stop()
            raise AssertionError(f"local-cluster: {line}{(self.folder / 'log').read_text()}")
        self.server = Server("local", self.kubeconfig)

    def stop(self) -> int:
        """Ends it by SIGTERM; its exit status."""
        self.process.terminate()
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.stop()
        if self._temporary:
            self._temporary.cleanup()
