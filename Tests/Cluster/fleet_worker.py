"""An agent as people write them: tasks from a queue, several turns each with the anthropic SDK. Run by e2e_fleet.py in containers.

It knows nothing of Swarmscale but two words at /v1/activity of its ANTHROPIC_BASE_URL: it says `busy` before it takes a task and `idle` after,
and takes none while the answer says `draining` (docs/sidecar.md).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import anthropic

QUEUE, NAME, SIDECAR = os.environ["QUEUE"], os.environ["HOSTNAME"], os.environ["ANTHROPIC_BASE_URL"]


def call(url: str, body: Any = None) -> Any:
    """GET, or POST of JSON; the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
        return json.loads(answer.read())


def say(state: str) -> bool:
    """Tells the sidecar that this worker is busy or idle; whether it is to take no task."""
    return bool(call(f"{SIDECAR}/v1/activity", {"state": state})["draining"])


def work(client: anthropic.Anthropic, task: dict[str, Any]) -> list[str]:
    """The turns of a task, with a pause for a tool between them; what went wrong."""
    failures = []
    for turn in range(task["turns"]):
        if turn:
            time.sleep(task["tool"])
        try:
            with client.messages.stream(
                model="claude-sonnet-4-5", max_tokens=1000, messages=[{"role": "user", "content": f"<<out={task['tokens']}>> task {task['id']}, turn {turn}"}]
            ) as stream:
                message = stream.get_final_message()
            if message.usage.output_tokens != task["tokens"]:
                failures.append(f"turn {turn}: {message.usage.output_tokens} tokens")
        except Exception as error:  # Whatever it is, the test is told.
            failures.append(f"turn {turn}: {error!r}")
    return failures


def main() -> None:
    """Works until it is ended."""
    # No retries of its own: what the sidecar doesn't mend would show.
    client = anthropic.Anthropic(max_retries=0)
    while True:
        if call(f"{SIDECAR}/v1/activity")["draining"] or say("busy"):
            task = None
        else:
            task = call(f"{QUEUE}/take", {"worker": NAME})["task"]
        if task:
            failures = work(client, task)
            call(f"{QUEUE}/done", {"worker": NAME, "id": task["id"], "failures": failures})
        say("idle")
        if not task:
            time.sleep(0.5)


# At once, in the middle of whatever it does: whoever sends it is to have waited. As the first process of its container it would ignore it.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    try:
        main()
    except (urllib.error.URLError, ConnectionError, TimeoutError) as failure:
        # The sidecar may start after this container: before Kubernetes 1.29 nothing orders the two.
        print(failure, file=sys.stderr, flush=True)
        time.sleep(0.5)
