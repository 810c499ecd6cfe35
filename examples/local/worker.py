"""A worker with the `anthropic` SDK: tasks from the queue, Claude through the sidecar."""

import task_queue

try:
    import anthropic
except ImportError:
    raise SystemExit("the Python package anthropic is missing; install it (pip install anthropic), or use fleet.yaml, "
                     "whose workers need Python's standard library alone") from None

# ANTHROPIC_BASE_URL, which the manifest sets, leads to the sidecar. That tries again itself, within the budget: the SDK need not.
CLIENT = anthropic.Anthropic(api_key="local", max_retries=0, timeout=340)


def work(payload: dict) -> dict:
    """One request to Claude, as a stream."""
    try:
        with CLIENT.messages.stream(
                model="claude-sonnet-4-5", max_tokens=max(int(payload.get("outputTokens", 0)), 16),
                messages=[{"role": "user", "content": task_queue.prompt(payload)}]) as stream:
            answer = stream.get_final_message()
    except (anthropic.BadRequestError, anthropic.AuthenticationError, anthropic.PermissionDeniedError,
            anthropic.NotFoundError) as error:
        raise task_queue.GiveUp(str(error)) from error
    return {"outputTokens": answer.usage.output_tokens}


if __name__ == "__main__":
    task_queue.run(work)
