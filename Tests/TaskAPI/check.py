"""Starts `swarmscale tasks serve` and lets schemathesis loose on it; a life of a task, and the same after kill -9; streams; and the worker
in Python of examples/, straight at the server and, where there is one, through a sidecar."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs/api/coordination.yaml"


def fail(text):
    sys.exit(f"Tests/TaskAPI: {text}")


class Server:
    """A queue's server in a process of its own."""

    def __init__(self, program, folder):
        self.process = subprocess.Popen(
            [program, "tasks", "serve", "--data", folder], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.match(r"task queue: (http://127\.0\.0\.1:\d+)/v1/tasks, in .* \(durable: node\)$", line)
        if not match:
            fail(f"the server says {line!r}")
        self.url = match[1]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(timeout=30):
            fail(f"the server ended with {code}")

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def schemathesis():
    """The program, installed into a folder that later runs find again."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "swarmscale/schemathesis-4.32.5"
    program = home / "bin/schemathesis"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin/pip"), "install", "-q", "schemathesis==4.32.5"], check=True)
    return str(program)


def life(server):
    """A task's life, seen from outside."""
    status, answer = server.ask("POST", "/v1/tasks", {"queue": "life", "key": "k", "payload": {"n": 7}})
    task = answer["tasks"][0]["id"]
    assert status == 201, (status, answer)
    for wait in ["-1", "61", "x"]:
        assert server.ask("POST", f"/v1/tasks/next?wait={wait}", {"queue": "life", "worker": "w"})[0] == 400, wait
    _, answer = server.ask("POST", "/v1/tasks/next?wait=5", {"queue": "life", "worker": "w", "leaseSeconds": 30})
    assert [one["id"] for one in answer["tasks"]] == [task], answer
    head = {"epoch": 1, "step": 1, "reference": "blob-1"}
    assert server.ask("POST", f"/v1/tasks/{task}/checkpoint", head)[0] == 200
    return task


def after(server, task):
    """What is left of it after kill -9: the lease, the checkpoint, the key."""
    status, answer = server.ask("POST", f"/v1/tasks/{task}/complete", {"epoch": 1, "result": "done"})
    assert (status, answer) == (200, {"state": "done", "duplicate": False}), (status, answer)
    _, answer = server.ask("POST", "/v1/tasks", {"queue": "life", "key": "k", "payload": 1})
    assert answer["tasks"] == [{"id": task, "duplicate": True}], answer
    _, answer = server.ask("GET", f"/v1/tasks/{task}")
    assert answer["result"] == "done", answer


class Stream:
    """Server-sent events of a path, as they come."""

    def __init__(self, url, path):
        self.answer = urllib.request.urlopen(url + path, timeout=60)
        assert self.answer.headers["content-type"] == "text/event-stream", self.answer.headers

    def next(self):
        fields = {}
        for line in self.answer:
            text = line.decode().rstrip("\n")
            if not text:
                if "event" in fields:
                    return fields["event"], json.loads(fields["data"]), fields.get("id")
                fields = {}
            elif not text.startswith(":"):
                name, value = text.split(": ", 1)
                fields[name] = value
        return None


def streams(url, ask):
    """A watch with its resumption, messages, and a request with its answer."""
    ask("PUT", "/v1/state/keys/watched.a", {"value": 1})
    watch = Stream(url, "/v1/state/watch?prefix=watched.")
    assert watch.next()[:2][0] == "put"
    event, data, position = watch.next()
    assert event == "current" and str(data["revision"]) == position, (event, data, position)
    ask("PUT", "/v1/state/keys/watched.a", {"value": 2})
    event, data, position = watch.next()
    assert (event, data["value"]) == ("put", 2), (event, data)
    watch.answer.close()
    ask("DELETE", "/v1/state/keys/watched.a")
    again = Stream(url, f"/v1/state/watch?prefix=watched.&after={position}")
    event, data, _ = again.next()
    assert (event, data["key"]) == ("removed", "watched.a"), (event, data)
    again.answer.close()
    listener = Stream(url, "/v1/agent-messages?subject=adder")
    assert listener.next()[0] == "listening"

    def add():
        _, message, _ = listener.next()
        ask("POST", "/v1/agent-messages", {"subject": message["replyTo"], "payload": message["payload"] + 1})

    adder = threading.Thread(target=add)
    adder.start()
    status, answer = ask("POST", "/v1/agent-messages/request", {"subject": "adder", "payload": 6, "timeoutSeconds": 60})
    assert (status, answer["payload"]) == (200, 7), (status, answer)
    adder.join()
    listener.answer.close()


def worker(url, ask, queue):
    """The worker in Python: two of them on six tasks, one of which goes on behind a checkpoint."""
    payloads = [{"numbers": list(range(number))} for number in range(2, 8)]
    total = sum(sum(one["numbers"]) for one in payloads)
    ask("POST", "/v1/tasks", {"queue": queue, "tasks": [{"payload": one} for one in payloads]})
    _, answer = ask("POST", "/v1/tasks/next", {"queue": queue, "worker": "gone"})
    held = answer["tasks"][0]
    head = {"epoch": held["epoch"], "step": 1, "reference": {"next": 1, "sum": 1000}}
    assert ask("POST", f"/v1/tasks/{held['id']}/checkpoint", head)[0] == 200
    assert ask("POST", f"/v1/tasks/{held['id']}/release", {"epoch": held["epoch"]})[0] == 200
    events = Stream(url, f"/v1/agent-messages?subject=events.{queue}")
    assert events.next()[0] == "listening"
    program = ROOT / "examples/python-worker/worker.py"
    workers = [subprocess.Popen([sys.executable, str(program), queue, "3"], env={**os.environ, "SWARMSCALE_URL": url})
               for _ in range(2)]
    sums = [events.next()[1]["payload"]["sum"] for _ in payloads]
    for one in workers:
        if code := one.wait(timeout=120):
            fail(f"examples/python-worker/worker.py ended with {code}")
    events.answer.close()
    # The sum that the checkpoint had was taken over, its first number (0) wasn't added again.
    assert sum(sums) == total + 1000, (sums, total)
    assert ask("GET", f"/v1/state/keys/totals.{queue}")[1]["value"] == {"sum": total + 1000}
    assert ask("GET", f"/v1/tasks/stats?queue={queue}")[1]["done"] == len(payloads)


class Sidecar:
    """A sidecar in front of the server."""

    def __init__(self, program, url, folder):
        ready = Path(folder) / "sidecar-url"
        self.process = subprocess.Popen(
            [program, "--tasks", url, "--listen", "127.0.0.1:0", "--ready-file", str(ready), "--log-level", "error",
             "--slots", "4"])
        while not ready.exists():
            if self.process.poll() is not None:
                fail("the sidecar doesn't start")
            time.sleep(0.05)
        self.url = ready.read_text().strip()

    ask = Server.ask

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(timeout=30):
            fail(f"the sidecar ended with {code}")


def main(program, examples):
    tool = schemathesis()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder)
        task = life(server)
        server.kill()
        server = Server(program, folder)
        after(server, task)
        streams(server.url, server.ask)
        worker(server.url, server.ask, "python")
        sidecar_program = Path(program).parent / "swarmscale-sidecar"
        if sidecar_program.exists():
            sidecar = Sidecar(str(sidecar_program), server.url, folder)
            streams(sidecar.url, sidecar.ask)
            worker(sidecar.url, sidecar.ask, "python-sidecar")
            sidecar.end()
        else:
            print("Tests/TaskAPI: without swarmscale-sidecar beside swarmscale, nothing goes through a sidecar")
        # Without waits of up to a minute, which `life` tries, and without streams, which have no end; the rest is the file as it is.
        text = SPEC.read_text()
        begin = text.index("        - name: wait")
        wait = text[begin:text.index("        - {$ref", begin)]
        spec = Path(folder) / "coordination.yaml"
        spec.write_text(text.replace(wait, ""))
        try:
            result = subprocess.run(
                [tool, "run", str(spec), "--url", server.url, "--max-examples", examples, "--seed", "1",
                 "--checks", "all", "--exclude-checks", "ignored_auth,missing_required_header",
                 # No schema says that a batch's keys differ, or that a sum has 64 bits: the conformance suite sends those.
                 "--exclude-operation-id", "change", "--exclude-operation-id", "add",
                 "--exclude-operation-id", "watch", "--exclude-operation-id", "subscribe",
                 "--phases", "examples,coverage,fuzzing,stateful", "--request-timeout", "90", "--generation-database", "none"],
                env={**os.environ, "SCHEMATHESIS_HOOKS": "", "NO_COLOR": "1"}, cwd=folder)
        finally:
            server.end()
        if result.returncode:
            fail("the server doesn't do as docs/api/coordination.yaml says")
    print("Tests/TaskAPI: passed")


main(*sys.argv[1:])
