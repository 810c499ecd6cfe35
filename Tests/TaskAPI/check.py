"""Starts `swarmscale tasks serve` and lets schemathesis loose on it; then a life of a task, and the same after kill -9."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs/api/tasks.yaml"


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


def main(program, examples):
    tool = schemathesis()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder)
        task = life(server)
        server.kill()
        server = Server(program, folder)
        after(server, task)
        # Without waits of up to a minute, which `life` tries; the rest is the file as it is.
        text = SPEC.read_text()
        wait = text[text.index("      parameters:\n        - name: wait"):text.index("      requestBody:", text.index("- name: wait"))]
        spec = Path(folder) / "tasks.yaml"
        spec.write_text(text.replace(wait, ""))
        try:
            result = subprocess.run(
                [tool, "run", str(spec), "--url", server.url, "--max-examples", examples, "--seed", "1",
                 "--checks", "all", "--exclude-checks", "ignored_auth,missing_required_header",
                 "--phases", "examples,coverage,fuzzing,stateful", "--request-timeout", "90", "--generation-database", "none"],
                env={**os.environ, "SCHEMATHESIS_HOOKS": "", "NO_COLOR": "1"}, cwd=folder)
        finally:
            server.end()
        if result.returncode:
            fail("the server doesn't do as docs/api/tasks.yaml says")
    print("Tests/TaskAPI: passed")


main(*sys.argv[1:])
