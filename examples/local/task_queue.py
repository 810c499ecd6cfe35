"""Takes tasks from swarmscale's queue and works on them; the standard library is enough.

    run(work, slots=2)      # work(payload) -> a result as JSON, or an exception

A task is held under a lease that is renewed while `work` runs, and is completed or failed under the epoch that came with it.
When the fleet shrinks the sidecar says `draining`: nothing new is taken, what was taken and not begun is handed back, what is
being worked on is finished. SIGTERM does the same, and ends.
"""

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request

QUEUE_URL = os.environ.get("SWARMSCALE_TASKS", "")
QUEUE = os.environ.get("QUEUE", "reviewers")
WORKER = os.environ.get("SWARMSCALE_POD") or os.uname().nodename
SIDECAR_URL = os.environ.get("ANTHROPIC_BASE_URL", "http://127.0.0.1:8787")
# Short, so that an order to drain is seen soon.
WAIT_SECONDS = 2
LEASE_SECONDS = 30


class GiveUp(Exception):
    """What no further attempt can mend: the task becomes a dead letter at once."""


def call(url: str, body=None, timeout: float = 30, headers: dict | None = None):
    """Sends JSON (or asks, without a body) and gives the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


class Worker:
    """The slots of one worker."""

    def __init__(self, work, slots: int) -> None:
        self.work = work
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.held: dict[str, int] = {}  # the epoch of each task that is being worked on
        self.threads = [threading.Thread(target=self.slot, daemon=True) for _ in range(slots)]

    def run(self) -> None:
        """Works until SIGTERM; ends when the last task is done."""
        signal.signal(signal.SIGTERM, lambda *_: self.ending.set())
        threading.Thread(target=self.keep_leases, daemon=True).start()
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        print("ended in good order", flush=True)

    def slot(self) -> None:
        """One task after the other."""
        while not self.ending.is_set():
            try:
                if self.draining():
                    self.ending.wait(0.5)
                    continue
                tasks = call(f"{QUEUE_URL}/v1/tasks/next?wait={WAIT_SECONDS}",
                             {"queue": QUEUE, "worker": WORKER, "leaseSeconds": LEASE_SECONDS})["tasks"]
                for task in tasks:
                    if self.draining():
                        self.step(task, "release")
                        print("handed back", task["id"], flush=True)
                    else:
                        self.take(task)
            except (OSError, ValueError) as error:  # the queue or the sidecar is away
                print("waiting:", error, flush=True)
                self.ending.wait(1)

    def draining(self) -> bool:
        """Whether this worker is to take nothing new."""
        return self.ending.is_set() or call(f"{SIDECAR_URL}/v1/activity")["draining"]

    def take(self, task: dict) -> None:
        """Works on a task, and says how it ended."""
        self.hold(task["id"], task["epoch"])
        try:
            result = self.work(task["payload"])
        except Exception as error:  # whatever it is: the queue decides whether there is another attempt
            print("failed", task["id"], repr(error), flush=True)
            self.step(task, "fail", reason=repr(error)[:500], retry=not isinstance(error, GiveUp))
        else:
            self.step(task, "complete", result=result)
            print("done", task["id"], json.dumps(result), flush=True)
        finally:
            self.hold(task["id"], None)

    def hold(self, task: str, epoch: int | None) -> None:
        """Notes what is being worked on, and tells the sidecar when that changes between something and nothing."""
        with self.lock:
            before = bool(self.held)
            if epoch is None:
                self.held.pop(task, None)
            else:
                self.held[task] = epoch
            if bool(self.held) != before:
                try:
                    call(f"{SIDECAR_URL}/v1/activity", {"state": "busy" if self.held else "idle"})
                except (OSError, ValueError) as error:
                    print("the sidecar doesn't hear:", error, flush=True)

    def step(self, task: dict, verb: str, **members) -> None:
        """A further step with a task. Said again until it is heard: the queue knows a repetition by the epoch."""
        for attempt in range(10):
            try:
                call(f"{QUEUE_URL}/v1/tasks/{task['id']}/{verb}", {"epoch": task["epoch"], **members})
                return
            except urllib.error.HTTPError as error:
                if error.code not in (429, 500, 502, 503):
                    print(verb, task["id"], "is refused:", error.read().decode(errors="replace").strip(), flush=True)
                    return
            except OSError as error:
                print(verb, task["id"], "isn't heard:", error, flush=True)
            time.sleep(min(0.2 * 2**attempt, 5))

    def keep_leases(self) -> None:
        """Renews the leases of all that is being worked on: a call of minutes must not lose its task."""
        while True:
            time.sleep(LEASE_SECONDS / 3)
            with self.lock:
                held = list(self.held.items())
            for task, epoch in held:
                try:
                    call(f"{QUEUE_URL}/v1/tasks/{task}/heartbeat", {"epoch": epoch, "leaseSeconds": LEASE_SECONDS})
                except (OSError, ValueError) as error:
                    print("heartbeat", task, error, flush=True)


def prompt(payload: dict) -> str:
    """A text of about as many tokens as the task says: four letters each."""
    words = "Review this change, please. "
    return (words * (max(int(payload.get("inputTokens", 0)), 8) * 4 // len(words) + 1))[:200_000]


def run(work, slots: int | None = None) -> None:
    """Works on tasks until SIGTERM."""
    if not QUEUE_URL:
        raise SystemExit("SWARMSCALE_TASKS is not set: it says where the queue is; `swarmscale local` sets it")
    Worker(work, slots or int(os.environ.get("SWARMSCALE_SLOTS", "1"))).run()
