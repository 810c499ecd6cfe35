"""Label selectors in the text form of the API: `a=b,c!=d,e in (x,y),f notin (z),g,!h`."""

from __future__ import annotations

import functools
import re
from typing import Callable, Mapping

Labels = Mapping[str, str]
_TERM = re.compile(r"\s*(?:(!)\s*([^\s=!,()]+)|([^\s=!,()]+)\s*(?:(==|=|!=)\s*([\w.-]*)|(?:\s(in|notin)\s*\(([^)]*)\)))?)\s*(?:,|$)")


@functools.lru_cache(maxsize=4096)
def compile_selector(text: str) -> Callable[[Labels], bool]:
    """A predicate over labels; the empty selector matches everything."""
    tests: list[Callable[[Labels], bool]] = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise ValueError(f"not a label selector: {text!r}")
        tests.append(_test(match))
        position = match.end()
    if len(tests) == 1:
        return tests[0]
    return lambda labels: all(test(labels) for test in tests)


def _test(match: re.Match[str]) -> Callable[[Labels], bool]:
    absent, absent_key, key, operator, value, set_operator, values = match.groups()
    if absent:
        return lambda labels: absent_key not in labels
    if set_operator:
        chosen = frozenset(item.strip() for item in values.split(","))
        if set_operator == "in":
            return lambda labels: labels.get(key) in chosen
        return lambda labels: labels.get(key) not in chosen
    if operator in ("=", "=="):
        return lambda labels: labels.get(key) == value
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: key in labels
