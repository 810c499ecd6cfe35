"""A worker whose tasks are sessions of Claude Code, headless: each a process of its own that talks through the sidecar."""

import json
import os
import shutil
import subprocess
import tempfile

import task_queue

PROGRAM = shutil.which("claude")


def work(payload: dict) -> dict:
    """One session, in an empty folder, without tools."""
    with tempfile.TemporaryDirectory() as folder:
        # ANTHROPIC_BASE_URL, which the manifest sets, leads to the sidecar; that has the budget, and tries again.
        ended = subprocess.run(
            [PROGRAM, "--print", "--output-format", "json", "--max-turns", "1", "--tools", ""],
            input=task_queue.prompt(payload), cwd=folder, capture_output=True, text=True, timeout=1_800,
            env={**os.environ, "ANTHROPIC_API_KEY": "local", "CLAUDE_CONFIG_DIR": folder,
                 "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"claude ended with {ended.returncode}: {(ended.stderr or ended.stdout)[:300]}")
    return {"result": json.loads(ended.stdout).get("result", "")[:2_000]}


if __name__ == "__main__":
    if PROGRAM is None:
        raise SystemExit("the program claude (Claude Code) is not on PATH; install it (npm install -g @anthropic-ai/claude-code), or "
                         "use fleet.yaml, whose workers need Python's standard library alone")
    task_queue.run(work)
