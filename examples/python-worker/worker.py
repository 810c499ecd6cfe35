"""A worker in Python, with the standard library alone: it shares its work with others through the sidecar.

    python3 worker.py QUEUE [NUMBER]

It takes NUMBER tasks (for ever without) whose payload is {"numbers": [...]}, adds the numbers step by step, saves where it is after each
step, and completes with the sum. Another worker that gets the task later goes on behind the last checkpoint. All tasks' sums are added to
the key `totals.QUEUE` by compare-and-set, and each end is told to whoever listens to `events.QUEUE`.

SWARMSCALE_URL: where the sidecar is, or `swarmscale tasks serve` (default http://127.0.0.1:8787).
"""
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ.get("SWARMSCALE_URL", "http://127.0.0.1:8787")
LEASE = 30


class Refused(Exception):
    """The API's answer to something that can't be done; `type` says what (docs/api/coordination.yaml)."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.type = error["type"]
        self.details = error.get("details", {})


def call(method, path, body=None, timeout=90):
    """Says something once."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as answer:
        raise Refused(json.load(answer)["error"]) from None


def insist(method, path, body):
    """Says it until it is heard: for the steps of tasks, which do no more when they are said twice."""
    pause = 0.2
    while True:
        try:
            return call(method, path, body)
        except (urllib.error.URLError, OSError):
            pass
        except Refused as refused:
            if refused.type not in ("engine_unavailable", "timeout"):
                raise
        time.sleep(pause)
        pause = min(2 * pause, 5)


class Task:
    """A task that is held; its lease is renewed until `with` ends."""

    def __init__(self, claim):
        self.payload = claim["payload"]
        self.checkpoint = claim.get("checkpoint")
        self.is_lost = False
        self._path = "/v1/tasks/" + urllib.parse.quote(claim["id"], safe="")
        self._epoch = claim["epoch"]
        self._done = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def step(self, verb, **members):
        return insist("POST", f"{self._path}/{verb}", {"epoch": self._epoch, **members})

    def save(self, number, state):
        """Sets what the next worker begins with, should this one end here."""
        before = self.checkpoint["step"] if self.checkpoint else None
        self.step("checkpoint", step=number, replacing=before, reference=state)
        self.checkpoint = {"step": number, "reference": state}

    def _beat(self):
        while not self._done.wait(LEASE / 3):
            try:
                self.step("heartbeat", leaseSeconds=LEASE)
            except Refused:
                self.is_lost = True
                return

    def __enter__(self):
        self._heart.start()
        return self

    def __exit__(self, *_):
        self._done.set()


def change(key, update):
    """Reads a key, changes its value and writes it, and begins anew when somebody else was faster."""
    path = "/v1/state/keys/" + urllib.parse.quote(key, safe="")
    while True:
        try:
            entry = call("GET", path)
            expected = {"ifRevision": entry["revision"]}
        except Refused as refused:
            if refused.type != "unknown_item":
                raise
            entry, expected = {"value": None}, {"ifAbsent": True}
        value = update(entry["value"])
        try:
            call("PUT", path, {"value": value, **expected})
            return value
        except Refused as refused:
            if refused.type != "conflict":
                raise


def work(task, queue):
    saved = task.checkpoint["reference"] if task.checkpoint else {"next": 0, "sum": 0}
    numbers, total = task.payload["numbers"], saved["sum"]
    for index in range(saved["next"], len(numbers)):
        if task.is_lost:
            return
        total += numbers[index]
        task.save(index + 1, {"next": index + 1, "sum": total})
    # Once more than once is possible before this line, never behind it: the result is the task's one result.
    if task.step("complete", result={"sum": total})["duplicate"]:
        return
    change(f"totals.{queue}", lambda value: {"sum": (value or {"sum": 0})["sum"] + total})
    call("POST", "/v1/agent-messages", {"subject": f"events.{queue}", "payload": {"sum": total}})


def main(queue, number=None):
    left = None if number is None else int(number)
    while left is None or left > 0:
        try:
            claim = {"queue": queue, "leaseSeconds": LEASE, "worker": os.environ.get("HOSTNAME") or "python"}
            tasks = call("POST", "/v1/tasks/next?wait=20", claim)["tasks"]
        except (urllib.error.URLError, OSError, Refused) as error:
            print(f"no task: {error}", file=sys.stderr)
            time.sleep(1)
            continue
        for one in tasks:
            with Task(one) as task:
                try:
                    work(task, queue)
                except Refused as refused:
                    # Somebody else has it by now.
                    if refused.type not in ("stale_epoch", "checkpoint_conflict", "unknown_task"):
                        task.step("fail", reason=str(refused))
            left = None if left is None else left - 1


if __name__ == "__main__":
    main(*sys.argv[1:])
