"""What a reviewer of logs should look at: requests past the door, new sources, many identities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from daypass._core.clock import parse_rfc3339, rfc3339, utc
from daypass._core.findings import Finding, failure
from daypass._core.hints import command
from daypass.trace.events import USER, Event
from daypass.trace.lines import Unread
from daypass.trace.search import LIMIT_LISTED, TOKEN_REQUEST, Exchange, Exchanges

WORDS = (b"audit_id", TOKEN_REQUEST, b"jti")
"""What a line has that may matter."""
LIMIT_PAIRS = 100_000
"""As many identities and sources are compared."""
LIMIT_PAST = 1000
_LISTED_NAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What is unusual in logs."""

    findings: Annotated[list[Finding], "what was found, at most 100 of each kind"]
    notes: Annotated[list[str], "what is missing, or not certain"]


@dataclass(slots=True)
class _Pair:
    """What an identity did from a source. `first`: when that first succeeded; empty: never.

    `example`: a token or a request.
    """

    example: str
    first: str = ""
    count: int = 0


class Review:
    """Collects what may be unusual.

    `since`: from when a source is new (Unix time); None: half of the time of the logs. `many`: how
    many identities of one source are usual. `files`: for hints.
    """

    def __init__(self, files: Sequence[str], *, since: float | None, many: int) -> None:
        self._since, self._many, self._files = since, many, files
        self._exchanges = Exchanges(on_drop=self._note_past)
        self._past: list[Event] = []
        self._past_count = self._left_out = 0
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._times: dict[str, tuple[str, str]] = {}

    def take(self, event: Event) -> None:
        """Collect an event."""
        first, last = self._times.get(event.part, (event.time, event.time))
        self._times[event.part] = min(first, event.time), max(last, event.time)
        if event.audit and (event.part == "door" or event.code == 201):
            self._exchanges.take(event)
        if event.account and event.client and event.part != "api-server":
            if (pair := self._pairs.get((event.account, event.client))) is None:
                if len(self._pairs) >= LIMIT_PAIRS:
                    self._left_out += 1
                    return
                pair = self._pairs[event.account, event.client] = _Pair(event.jti or event.request)
            if not event.is_refused:
                pair.count += 1
                if not pair.first:
                    pair.first, pair.example = event.time, event.jti or event.request

    def _note_past(self, exchange: Exchange) -> None:
        """Remember an exchange without a line of the door."""
        event = exchange.get("api-server")
        if event is not None and "door" not in exchange and _may_use_the_door(event.user):
            self._past_count += 1
            if len(self._past) < LIMIT_PAST:
                self._past.append(event)

    def result(self, unread: Unread) -> Reviewed:
        """Return what is unusual."""
        doors = set()
        for exchange in self._exchanges.known.values():
            self._note_past(exchange)
            if len(exchange) == 2:
                doors.add(exchange["api-server"].client)
        first, last = self._times.get("door", ("", ""))
        past = [each for each in self._past if first <= each.time <= last]
        notes = list(self._exchanges.notes())
        if unknown := self._past_count - len(past):
            notes.append(f"for the time of {unknown} TokenRequests, the door's log has no lines")
        if self._left_out:
            notes.append(f"{self._left_out} requests were not compared: too many sources")
        found = (self._past_the_door(past, doors), self._new_sources(), self._many_identities())
        return Reviewed(
            findings=[each for kind in found for each in islice(kind, LIMIT_LISTED)],
            notes=[*notes, *unread.notes()],
        )

    def _past_the_door(self, past: Iterable[Event], doors: Collection[str]) -> Iterator[Finding]:
        for event in past:
            fact = (
                f"{event.user} obtained a token of {event.account} at {event.time}, "
                f"from {event.client or 'an unknown address'}, without a line of the door"
            )
            if event.client in doors:
                fact += "; the door has that address, too: its client may have gone away"
            yield self._finding("past-the-door", fact, event.jti or event.audit)

    def _new_sources(self) -> Iterator[Finding]:
        times = [time for pair in self._times.values() for time in map(parse_rfc3339, pair) if time]
        if not times:
            return
        middle = (min(times).timestamp() + max(times).timestamp()) / 2
        since = middle if self._since is None else self._since
        earlier: dict[str, list[str]] = defaultdict(list)
        later: list[tuple[str, str, _Pair]] = []
        for (account, source), pair in self._pairs.items():
            if (first := parse_rfc3339(pair.first)) is None:
                continue
            if first.timestamp() < since:
                earlier[account].append(source)
            else:
                later.append((account, source, pair))
        for account, source, pair in later:
            if account in earlier:
                fact = (
                    f"{account} came from {source} {pair.count} times, first at {pair.first}; "
                    f"before {rfc3339(utc(since))} from {_list(earlier[account])}"
                )
                yield self._finding("new-source", fact, pair.example)

    def _many_identities(self) -> Iterator[Finding]:
        accounts: dict[str, dict[str, _Pair]] = defaultdict(dict)
        for (account, source), pair in self._pairs.items():
            accounts[source][account] = pair
        for source, pairs in accounts.items():
            if len(pairs) > self._many:
                used = sum(pair.first != "" for pair in pairs.values())
                asked = f"{source} asked for {len(pairs)} identities, {used} with success"
                fact = f"{asked}: {_list([*pairs])}"
                yield self._finding("many-identities", fact, next(iter(pairs.values())).example)

    def _finding(self, check: str, fact: str, example: str) -> Finding:
        return failure(check, fact, command("trace", example, *self._files) if example else "")


def _may_use_the_door(user: str) -> bool:
    """Return whether it is no part of Kubernetes: those request tokens for Pods."""
    is_system = user.startswith("system:") and not user.startswith(USER)
    return not is_system and not user.startswith(f"{USER}kube-system:")


def _list(names: list[str]) -> str:
    more = len(names) - _LISTED_NAMES
    return ", ".join(names[:_LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
