"""Which requests the proxy treats badly, how, and what it has seen."""

from __future__ import annotations

import json
import re
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

LOG_LIMIT = 100_000
RESOURCE_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}


class BadRule(Exception):
    """A rule that makes no sense."""


@dataclass
class Action:
    """What happens to a request. `delaySeconds` goes with any other; of the rest, one.

    Without any of the rest the request is forwarded as it is.
    """

    delaySeconds: float = 0
    # Answered by the proxy; the API server never sees the request.
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    # Connection reset: before anything is forwarded; after the server has answered (the write happened, the client does not know).
    drop: str | None = None
    # Silence with the connection open, and nothing forwarded: a half-open connection.
    stall: bool | None = None
    # After so many bytes of the answer's body: reset, or a clean end in the middle, or silence with the connection open.
    dropAfterBytes: int | None = None
    truncateAfterBytes: int | None = None
    stallAfterBytes: int | None = None
    # After so many events of a watch.
    dropAfterEvents: int | None = None
    stallAfterEvents: int | None = None
    endAfterEvents: int | None = None
    # An ERROR event after so many events, then the end of the stream: {"afterEvents": 0, "code": 410, "reason": "Expired", "message": …}.
    watchError: dict[str, Any] | None = None
    # A line that is no event, after so many events: {"afterEvents": 0, "line": "{oops"}.
    watchGarbage: dict[str, Any] | None = None
    # The server's answer with another body.
    replaceBody: str | None = None

    def __post_init__(self) -> None:
        if self.drop not in (None, "before", "afterForward"):
            raise BadRule(f'drop is "before" or "afterForward", not {self.drop!r}')
        chosen = [
            name for name, value in asdict(self).items() if value is not None and name not in ("delaySeconds", "headers", "body", "status")
        ]
        if self.status is not None or self.body is not None:
            chosen.append("status")
            self.status = self.status or 200
        if len(chosen) > 1:
            raise BadRule(f"one of these at a time: {', '.join(chosen)}")


@dataclass
class Rule:
    """Requests that match, and what happens to them."""

    name: str
    action: Action
    method: str = ""
    path: str = ""
    userAgent: str = ""
    watch: bool | None = None
    skip: int = 0
    times: int | None = None
    hits: int = 0
    seen: int = 0

    @staticmethod
    def of(body: dict[str, Any], number: int) -> Rule:
        """From JSON; the action is under `do`."""
        try:
            fields = dict(body)
            action = Action(**fields.pop("do"))
            rule = Rule(name=fields.pop("name", f"rule-{number}"), action=action, **fields)
            for pattern in (rule.method, rule.path, rule.userAgent):
                re.compile(pattern)
            return rule
        except (TypeError, KeyError, re.error) as error:
            raise BadRule(f"{error!r} in the rule {json.dumps(body)}; see Tests/Cluster/README.md") from None

    def applies(self, request: Request) -> bool:
        """Whether the rule takes this request; counts."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.watch is not None and self.watch != request.is_watch:
            return False
        if self.method and not re.fullmatch(self.method, request.method):
            return False
        if not re.search(self.path, request.target) or not re.search(self.userAgent, request.user_agent):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.hits += 1
        return True


@dataclass
class Request:
    """One request's head."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        """A header's value, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def user_agent(self) -> str:
        """Who asks."""
        return self.header("user-agent")

    @property
    def is_watch(self) -> bool:
        """Whether it is a watch."""
        return re.search(r"[?&]watch=(1|true)\b", self.target) is not None

    @property
    def kind(self) -> str:
        """Verb and resource, as audit logs have them: `list apps/deployments`, `patch apps/deployments/scale`, `get /version`."""
        path = self.target.partition("?")[0].strip("/")
        match = re.fullmatch(r"(?:api/[^/]+|apis/([^/]+)/[^/]+)/(?:namespaces/[^/]+/)?([^/]+)(?:/([^/]+))?(?:/(.+))?", path)
        if match is None:
            return f"{RESOURCE_VERBS.get(self.method, self.method.lower())} /{path}"
        group, resource, name, subresource = match.groups()
        verb = RESOURCE_VERBS.get(self.method, self.method.lower())
        if self.is_watch:
            verb = "watch"
        elif name is None:
            verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        return f"{verb} {group + '/' if group else ''}{resource}{'/' + subresource if subresource else ''}"


@dataclass
class LogEntry:
    """One request as it went."""

    number: int
    time: float
    method: str
    path: str
    kind: str
    userAgent: str
    rule: str | None = None
    status: int = 0
    # What the server answered, also where that got lost; 0: it wasn't asked, or not yet.
    upstream: int = 0
    bytes: int = 0
    events: int = 0
    seconds: float | None = None
    end: str = "open"


class Records:
    """Counters and log."""

    def __init__(self) -> None:
        self.log: deque[LogEntry] = deque(maxlen=LOG_LIMIT)
        self.number = 0
        self.kinds: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    def begin(self, request: Request) -> LogEntry:
        """A request has come."""
        self.number += 1
        entry = LogEntry(self.number, time.time(), request.method, request.target, request.kind, request.user_agent)
        self.kinds[entry.kind] += 1
        self.log.append(entry)
        return entry

    def answered(self, entry: LogEntry, status: int) -> None:
        """The head of its answer is on the way."""
        entry.status = status
        self.statuses[str(status)] += 1

    def ended(self, entry: LogEntry, end: str) -> None:
        """How it ended: complete, dropped, truncated, client-gone, upstream-gone."""
        entry.end = end
        entry.seconds = round(time.time() - entry.time, 6)

    def clear(self) -> None:
        """Forgets all but the numbering."""
        self.log.clear()
        self.kinds.clear()
        self.statuses.clear()

    def entries(self, since: int, pattern: str) -> list[dict[str, Any]]:
        """The log after a number, of paths or kinds that match."""
        wanted = re.compile(pattern)
        return [asdict(entry) for entry in self.log if entry.number > since and (wanted.search(entry.path) or wanted.search(entry.kind))]
