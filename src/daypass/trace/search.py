"""The path of one token, request or user through the logs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter
from typing import Annotated

from daypass._core.clock import parse_rfc3339
from daypass.trace.events import Event, account_of, read_event
from daypass.trace.lines import Unread, read_objects

LIMIT_EXCHANGES = 100_000
"""As many are remembered."""
LIMIT_LISTED = 100
LIMIT_SOURCES = 1000
TOKEN_REQUEST = b"/token"
"""In the path of every TokenRequest."""
_CLOCKS_DIFFER_SECONDS = 60

Exchange = dict[str, Event]
"""The door's line about a TokenRequest and the API server's event, by `part`; or one of them."""


@dataclass(slots=True, kw_only=True)
class Source:
    """Where requests came from."""

    source: Annotated[str, "the address; empty: the lines have none"]
    requests: Annotated[int, "how many lines of door and gates it has"] = 0
    refused: Annotated[int, "how many of them were refused"] = 0
    first: Annotated[str, "the time of the first one"] = ""
    last: Annotated[str, "the time of the last one"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What the logs have about a token, a request or a user."""

    lines: Annotated[
        list[Event], "its lines by time: the last 100 of door and API server, and of gates"
    ]
    sources: Annotated[list[Source], "where its requests came from"]
    others: Annotated[list[Event], "the last 100 other tokens of the same credentials"]
    credentials: Annotated[
        dict[str, bool | None], "whether the Secret of each credential exists; null: not known"
    ]
    notes: Annotated[list[str], "what is missing, or not certain"]


def read_events(files: Sequence[str], words: Sequence[bytes], unread: Unread) -> Iterator[Event]:
    """Yield the events of all files whose lines have one of these words, by time.

    Of each file, one line is in memory at a time. Raises DaypassError.
    """

    def events(file: str) -> Iterator[Event]:
        return filter(None, map(read_event, read_objects(file, words, unread)))

    return merge(*map(events, files), key=attrgetter("time"))


@dataclass(slots=True)
class Exchanges:
    """TokenRequests and lines of the door, joined by the ID of the audit event.

    The door's client cannot choose that. Who sends requests to the API server itself can, and so
    repeat one: an event and a line are joined once. `on_drop`: gets an exchange that is forgotten,
    since there are too many.
    """

    on_drop: Callable[[Exchange], None] = lambda exchange: None
    known: dict[str, Exchange] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    dropped: int = 0
    repeated: int = 0
    skew_seconds: float = 0.0

    def take(self, event: Event) -> None:
        """Join a line of the door, or an event of the API server."""
        self.parts.add(event.part)
        exchange = self.known.setdefault(event.audit, {})
        if (known := exchange.setdefault(event.part, event)) is not event:
            if known != event:  # else it was shipped twice
                self.repeated += 1
                self.known[f"{event.audit}\n{self.repeated}"] = {event.part: event}
        elif len(exchange) == 2:
            times = [parse_rfc3339(each.time) for each in exchange.values()]
            first, *rest = [each.timestamp() for each in times if each] or [0]
            self.skew_seconds = max(self.skew_seconds, *(abs(each - first) for each in rest), 0)
        if len(self.known) > LIMIT_EXCHANGES:
            self.dropped += 1
            self.on_drop(self.known.pop(next(iter(self.known))))

    def notes(self) -> Iterator[str]:
        """Yield what is missing, or not certain."""
        if "door" not in self.parts:
            yield "there is no line of a door that passed a request"
        if "api-server" not in self.parts:
            yield "there is no audit event of a TokenRequest"
        if self.dropped:
            yield f"{self.dropped} exchanges were forgotten: name the logs of a shorter time"
        if self.repeated:
            yield f"past the door, an audit ID was chosen that another has: {self.repeated} times"
        if self.skew_seconds > _CLOCKS_DIFFER_SECONDS:
            yield f"the clocks of door and API server differ by {self.skew_seconds:.0f} s"


class Search:
    """Collects what the logs have about `what`: a JTI, a request ID, an audit ID or a user."""

    def __init__(self, what: str) -> None:
        self._names = {what, account_of(what)} - {""}
        self._exchanges = Exchanges()
        self._tokens: set[str] = set()
        self._lines: deque[Event] = deque(maxlen=LIMIT_LISTED)
        self._sources: dict[str, Source] = {}

    @property
    def words(self) -> list[bytes]:
        """What a line has that may matter."""
        last = (name.rpartition("/")[2] for name in self._names)
        return [TOKEN_REQUEST, *(name.encode(errors="replace") for name in last)]

    def take(self, event: Event) -> None:
        """Collect an event, if it matters."""
        if event.audit:
            self._exchanges.take(event)
        elif self._is_meant(event):
            self._count(event)
            self._lines.append(event)
            if event.request in self._names:
                self._tokens.add(event.jti)

    def _is_meant(self, event: Event) -> bool:
        names = (event.jti, event.request, event.audit, event.account, event.user)
        return not self._names.isdisjoint(names)

    def _count(self, line: Event) -> None:
        if len(self._sources) < LIMIT_SOURCES or line.client in self._sources:
            source = self._sources.setdefault(line.client, Source(source=line.client))
            source.requests += line.code != 0  # the authorizer's events are about requests too
            source.refused += line.is_refused
            source.first = min(source.first or line.time, line.time)
            source.last = max(source.last, line.time)

    def result(self, unread: Unread) -> Traced:
        """Return what was found."""
        every, lines, others = self._exchanges.known.values(), list[Event](), list[Event]()
        self._names |= self._tokens - {""}
        for exchange in every:
            if "door" not in exchange:
                exchange["api-server"].reason = "no line of the door"
            if any(map(self._is_meant, exchange.values())):
                lines += exchange.values()
                for line in exchange.values():
                    if line.part == "door":
                        self._count(line)
        credentials, tokens = {line.credential for line in lines} - {""}, {it.jti for it in lines}
        for exchange in every:
            event = exchange.get("api-server")
            if event and event.credential in credentials and event.jti not in tokens:
                others.append(event)
        counts = {
            "requests": sum(each.requests for each in self._sources.values()),
            "lines of door and API server": len(lines),
            "other tokens": len(others),
        }
        notes = [
            f"{count} {what}: not all are listed"
            for what, count in counts.items()
            if count > LIMIT_LISTED
        ]
        if len(self._sources) == LIMIT_SOURCES:
            notes.append("there are more sources")
        return Traced(
            lines=sorted([*lines[-LIMIT_LISTED:], *self._lines], key=attrgetter("time")),
            sources=sorted(self._sources.values(), key=attrgetter("first")),
            others=others[-LIMIT_LISTED:],
            credentials=dict.fromkeys(sorted(credentials)),
            notes=[*self._exchanges.notes(), *notes, *unread.notes()],
        )
