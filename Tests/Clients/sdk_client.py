"""One conversation of the anthropic SDK: prints what came of it as JSON. Run by clients.py inside a virtual environment."""

from __future__ import annotations

import json
import sys

import anthropic


def main() -> None:
    """Sends one message, as a stream or not, with the SDK's default retries."""
    client = anthropic.Anthropic()
    request = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "<<out=20>> é \"quoted\" \\ and a newline\n"}],
    }
    try:
        if sys.argv[1] == "stream":
            with client.messages.stream(**request) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**request)
    except anthropic.APIStatusError as error:
        print(json.dumps({"error": type(error).__name__, "status": error.status_code}))
        return
    except Exception as error:  # A cut stream surfaces as the HTTP library's own error.
        print(json.dumps({"error": type(error).__name__}))
        return
    print(json.dumps({"output": message.usage.output_tokens, "stop": message.stop_reason}))


main()
