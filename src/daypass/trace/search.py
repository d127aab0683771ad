"""What logs have about a token, a request or a user."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from operator import attrgetter
from typing import Annotated

from daypass._core.clock import parse_rfc3339
from daypass.trace.events import Event, account_of, read_event, read_objects

LIMIT_EXCHANGES = 100_000
LIMIT_SOURCES = 100_000
"""As many are remembered."""
PAST_THE_DOOR = "no line of the door"
NO_DOOR_LOG = "there is no line of the door"
LIMIT_LISTED = 100
_NOT_ALL = f"of lines, sources and others, the last {LIMIT_LISTED} are listed: there may be more"
_CLOCKS_DIFFER = timedelta(minutes=1)

Exchange = dict[str, Event]
"""The door's line about a TokenRequest and the API server's event, by `component`, or one."""


@dataclass(slots=True, kw_only=True)
class Source:
    """What an identity did from an address, at the door and at gates."""

    account: Annotated[str, "NAMESPACE/NAME; empty: it was not verified"]
    source: Annotated[str, "the address; empty: the lines have none"]
    requests: Annotated[int, "how many lines there are"] = 0
    refused: Annotated[int, "how many of these requests were refused"] = 0
    first: Annotated[str, "when the first one passed; empty: none did"] = ""
    last: Annotated[str, "the time of the last one"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What the logs have about a token, a request or a user."""

    lines: Annotated[list[Event], "its lines by time: the last 100 of exchanges, and of gates"]
    sources: Annotated[list[Source], "where its requests came from"]
    others: Annotated[list[Event], "the last 100 other tokens of the same credentials"]
    credentials: Annotated[dict[str, bool | None], "whether each Secret exists; null: not known"]
    notes: Annotated[list[str], "what is missing, or not certain"]


class Logs:
    """Collects what logs have about a JTI, the ID of a request or an audit event, or a user.

    What was refused has room of its own, as anyone can send it: `_tried` are sources without
    success.
    """

    def __init__(self, what: str) -> None:
        self._exchanges: dict[str, Exchange] = {}
        self._sources: dict[tuple[str, str], Source] = {}
        self._tried: dict[tuple[str, str], Source] = {}
        self._components: set[str] = set()
        self._refused: dict[str, Exchange] = {}
        self._names = {what, account_of(what)} - {""}
        # A client chooses the ID of its request, which may be the name of another user.
        self._requests = set[str]() if {":", "/"} & {*what} else {what} - {""}
        self._tokens: set[str] = set()
        self._lines: deque[Event] = deque(maxlen=LIMIT_LISTED)
        self._counts: Counter[str] = Counter()

    def read(self, files: Sequence[str]) -> None:
        """Read logs by time. Of each one, a line is in memory at a time. Raises DaypassError."""
        # What any line that matters has. Past the door, a path may have `%74oken`: an event
        # of a TokenRequest is known by its subresource.
        named = [each.rpartition("/")[2] for each in self._names]
        words = [each.encode(errors="replace") for each in ("/token", '"token', *named)]
        found = (map(read_event, read_objects(file, words, self._counts)) for file in files)
        for event in merge(*(filter(None, each) for each in found), key=attrgetter("time")):
            self.take(event)

    def take(self, event: Event) -> None:
        """Collect an event, if it matters."""
        self._components.add(event.component)
        is_meant = self._is_meant(event, self._names)
        if event.audit and (event.may_use_the_door or is_meant):
            self._join(event, self._refused if event.is_refused else self._exchanges)
        if event.component != "api-server" and is_meant:
            self._count(event)
            if not event.audit:
                self._lines.append(event)
                if event.request in self._requests:
                    self._tokens.add(event.jti)

    def _join(self, event: Event, exchanges: dict[str, Exchange]) -> None:
        """Join the door's line and the API server's event by the ID of the latter.

        The door's client cannot choose that. Who sends requests to the API server itself can, and
        so repeat one: an event and a line are joined once, and what the door has seen refused is
        not joined to what was accepted.
        """
        exchange = exchanges.setdefault(event.audit, {})
        if exchange.setdefault(event.component, event) != event:  # else it was shipped twice
            self._counts["audit IDs were repeated, as only a client past the door can"] += 1
            exchanges[f"{event.audit}\n{self._counts.total()}"] = {event.component: event}
        elif len(exchange) == 2:
            times = [time for each in exchange.values() if (time := parse_rfc3339(each.time))]
            if times and max(times) - min(times) > _CLOCKS_DIFFER:
                self._counts["times of exchanges differ: door or API server has a wrong clock"] += 1
        if len(exchanges) > LIMIT_EXCHANGES:
            self._counts["exchanges were forgotten: name the logs of a shorter time"] += 1
            exchanges.pop(next(iter(exchanges)))

    def _is_meant(self, event: Event, names: set[str]) -> bool:
        own = (event.jti, event.audit, event.account, event.user)
        return event.request in self._requests or not names.isdisjoint(own)

    def _count(self, line: Event) -> None:
        pair = line.account, line.client
        if (found := self._sources.get(pair)) is None:
            found = self._tried.pop(pair, None) or Source(account=pair[0], source=pair[1])
            room = self._tried if line.is_refused else self._sources
            if len(room) >= LIMIT_SOURCES:
                self._counts["requests were not compared: they have too many sources"] += 1
                return
            room[pair] = found
        found.requests += line.code != 0  # the authorizer's events are about requests too
        found.refused += line.is_refused
        found.last = max(found.last, line.time)
        if not line.is_refused and (not found.first or line.time < found.first):
            found.first = line.time

    def _notes(self) -> Iterator[str]:
        """Yield what is missing, or not certain."""
        if "door" not in self._components:
            yield NO_DOOR_LOG
        if "api-server" not in self._components:
            yield "there is no event of the API server about a TokenRequest"
        yield from (f"{count} {what}" for what, count in self._counts.items())

    def result(self) -> Traced:
        """Return what was found about `what`."""
        lines, others = list[Event](), list[Event]()
        names = (self._names | self._tokens) - {""}
        every = [*self._refused.values(), *self._exchanges.values()]
        for exchange in every:
            if "door" not in exchange:
                exchange["api-server"].reason = PAST_THE_DOOR
            if any(self._is_meant(each, names) for each in exchange.values()):
                lines += exchange.values()
        for line in lines:
            if line.component == "door" and not self._is_meant(line, self._names):
                self._count(line)
        credentials, tokens = {line.credential for line in lines} - {""}, {it.jti for it in lines}
        for exchange in every:
            event = exchange.get("api-server")
            if event and event.credential in credentials and event.jti not in tokens:
                others.append(event)
        sources = [*self._tried.values(), *self._sources.values()]
        most = max(len(lines), len(self._lines), len(sources), len(others))
        return Traced(
            lines=sorted([*lines[-LIMIT_LISTED:], *self._lines], key=attrgetter("order")),
            # The last are listed: those that were accepted.
            sources=sorted(sources, key=lambda it: (it.first != "", it.last))[-LIMIT_LISTED:],
            others=others[-LIMIT_LISTED:],
            credentials=dict.fromkeys(sorted(credentials)),
            notes=[*self._notes(), *[_NOT_ALL] * (most >= LIMIT_LISTED)],
        )
