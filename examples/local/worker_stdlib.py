"""A worker with nothing but Python's standard library: tasks from the queue, Claude through the sidecar."""

import urllib.error

import task_queue


def work(payload: dict) -> dict:
    """One request to Claude."""
    try:
        answer = task_queue.call(f"{task_queue.SIDECAR_URL}/v1/messages", {
            "model": "claude-sonnet-4-5", "max_tokens": max(int(payload.get("outputTokens", 0)), 16),
            "messages": [{"role": "user", "content": task_queue.prompt(payload)}]},
            timeout=340, headers={"x-api-key": "local", "anthropic-version": "2023-06-01"})
    except urllib.error.HTTPError as error:
        text = f"{error.code} {error.read().decode(errors='replace')[:300]}"
        # The sidecar has tried again what is worth it; a request that is wrong stays wrong.
        if error.code in (400, 401, 403, 404, 413):
            raise task_queue.GiveUp(text) from error
        raise RuntimeError(text) from error
    return {"outputTokens": answer["usage"]["output_tokens"]}


if __name__ == "__main__":
    task_queue.run(work)
