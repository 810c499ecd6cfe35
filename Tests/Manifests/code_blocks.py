"""The code blocks of README and docs, and what is to be done with each.

A block says by its language what it is, and what a person would type has a marker on the line above:

    <!-- run -->                  a shell block that a test runs: all those of a page, in order, in one shell
    <!-- not run: REASON -->      one that no test runs, and why

`yaml` blocks are checked by the API server, and need none; `swift` blocks are parsed. Blocks without a language, `text`, `console` and `json`
show what programs print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from support import REPOSITORY

#: Languages of what a person types into a shell.
SHELL = {"sh", "bash", "shell"}
#: Languages of what programs print.
OUTPUT = {"", "text", "console", "json", "promql"}
#: A line of output never begins with one of these; what does is a command.
COMMAND = re.compile(r"^\s*(\$ |kubectl |helm |swift |swarmscale |scripts/|Tests/|docker |kind |curl |\.build/)")
MARKER = re.compile(r"^<!-- (run|not run: (.+)) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    #: `run`, `not run`, or nothing.
    marker: str
    reason: str

    @property
    def is_shell(self) -> bool:
        """Whether a person would type it: by its language, or by what it begins with."""
        return self.language in SHELL or self.language in OUTPUT and any(COMMAND.match(line) for line in self.text.splitlines())

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README, and every page of docs/."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    return blocks_of(page.read_text(), str(page.relative_to(REPOSITORY)))


def blocks_of(text: str, page: str) -> list[Block]:
    """The fenced blocks of a text; AssertionError for a fence that isn't closed, and for a marker that no block follows."""
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        fence = re.match(r"^( *)(```+)([\w-]*) *$", lines[number])
        if not fence:
            if MARKER.match(lines[number].strip()) and not re.match(r"^ *```", lines[number + 1] if number + 1 < len(lines) else ""):
                raise AssertionError(f"{page}:{number + 1}: no code block follows this marker")
            number += 1
            continue
        end = number + 1
        while end < len(lines) and lines[end].strip() != fence[2]:
            end += 1
        if end == len(lines):
            raise AssertionError(f"{page}:{number + 1}: this block isn't closed")
        marker = MARKER.match(lines[number - 1].strip()) if number else None
        body = "\n".join(line.removeprefix(fence[1]) for line in lines[number + 1 : end]) + "\n"
        kind = marker[1].split(":")[0] if marker else ""
        found.append(Block(page, number + 1, fence[3], body, kind, marker[2] or "" if marker else ""))
        number = end + 1
    return found
