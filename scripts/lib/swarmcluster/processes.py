"""Processes that outlive the command which started them, and are ended by exact identity.

A process id alone is not an identity: ids are reused. Every process is remembered by its id and its start time (clock ticks
since boot, from /proc/ID/stat), and nothing is ever signalled unless both still agree.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence


class ClusterError(Exception):
    """Something that the person at the terminal can act on; printed without a traceback."""


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, for as long as it lives."""

    pid: int
    start_time: int

    @staticmethod
    def of(pid: int) -> ProcessIdentity | None:
        """The identity of a running process; None when there is none, or only its unreaped remains."""
        fields = _stat_fields(pid)
        # A process whose first thread has ended looks like a zombie while the others still run, and hold its ports.
        if fields is None or fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1):
            return None
        return ProcessIdentity(pid, int(fields[19]))

    @property
    def is_alive(self) -> bool:
        """Whether exactly this process still runs (stopped counts as running)."""
        return ProcessIdentity.of(self.pid) == self

    @property
    def is_paused(self) -> bool:
        """Whether the process is stopped by SIGSTOP."""
        fields = _stat_fields(self.pid)
        return self.is_alive and fields is not None and fields[0] == "T"

    def signal(self, number: int) -> bool:
        """Sends a signal; False when the process is gone."""
        if not self.is_alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait_until_gone(self, seconds: float) -> bool:
        """Waits for the end of the process."""
        deadline = time.monotonic() + seconds
        while self.is_alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def terminate(self, grace_seconds: float = 10) -> None:
        """SIGTERM, then SIGKILL after the grace time. A paused process is killed at once: it could not act on SIGTERM."""
        if not self.is_paused:
            self.signal(signal.SIGTERM)
            if self.wait_until_gone(grace_seconds):
                return
        self.kill()

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        self.signal(signal.SIGKILL)
        if not self.wait_until_gone(10):
            raise ClusterError(f"process {self.pid} does not end after SIGKILL")


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/ID/stat from the state on: the command name before it may hold anything, even spaces."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def start_daemon(arguments: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> ProcessIdentity:
    """Starts a program in a session of its own, with its output appended to `log`, and returns at once."""
    inherited = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    inherited.update(environment or {})
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=inherited,
        )
    identity = ProcessIdentity.of(process.pid)
    # The Popen object must not be waited on in __del__: the daemon is meant to outlive us.
    process.returncode = 0
    if identity is None:
        raise ClusterError(f"{arguments[0]} ended at once; see {log}\n{tail(log)}")
    return identity


def wait_for_end(identity: ProcessIdentity) -> None:
    """Blocks until a process that isn't a child of ours has ended."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except (AttributeError, OSError):
        while identity.is_alive:
            time.sleep(0.5)
        return
    try:
        if identity.is_alive:
            select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def poll(what: str, seconds: float, attempt: Callable[[], bool], alive: Callable[[], None] = lambda: None) -> None:
    """Calls `attempt` until it returns true; `alive` may raise to give up early."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not attempt():
        alive()
        if time.monotonic() >= deadline:
            raise ClusterError(f"{what}: not after {seconds:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a file, for error messages."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses.

    They lie below the kernel's range of ephemeral ports, so that no outgoing connection takes one while its owner restarts.
    """
    low, high = 20_000, 32_767
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            port = low + int.from_bytes(os.urandom(4), "big") % (high - low)
            if port in ports:
                continue
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                candidate.close()
                continue
            held.append(candidate)
            ports.append(port)
        return ports
    finally:
        for candidate in held:
            candidate.close()
