"""What a reviewer of logs should look at: requests past the door, new sources, many identities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from daypass._core.clock import parse_rfc3339, rfc3339, utc
from daypass._core.findings import Finding, failure
from daypass._core.hints import command
from daypass.trace.events import Event
from daypass.trace.search import LIMIT_LISTED, Logs, Source

_LISTED_NAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What is unusual in logs."""

    findings: Annotated[list[Finding], "what was found, at most 100 of each kind"]
    notes: Annotated[list[str], "what is missing, or not certain"]


def review(logs: Logs, files: Sequence[str], *, since: float | None, many: int) -> Reviewed:
    """Return what is unusual in logs that were read from files.

    `since`: from when a source is new (Unix time); None: half of the time of the logs. `many`: how
    many identities of one source are usual.
    """
    alone = [it["api-server"] for it in logs.exchanges.values() if "door" not in it]
    past = [*logs.forgotten, *alone]
    first, last = logs.times.get("door", ("", ""))
    within = [event for event in past if first <= event.time <= last]
    unknown = len(past) - len(within)
    kinds = (
        [*_past_the_door(logs, within)],
        [*_new_sources(logs, _middle(logs) if since is None else since)],
        [*_many_identities(logs, many)],
    )
    found = [each for kind in kinds for each in kind[:LIMIT_LISTED]]
    counts = {
        "TokenRequests: for their time, the door's log has no lines": unknown,
        "findings more: not all are listed": sum(map(len, kinds)) - len(found),
    }
    notes = (f"{count} {what}" for what, count in counts.items() if count)
    findings = [
        failure(check, fact, command("trace", example, *files) if example else "")
        for check, fact, example in found
    ]
    return Reviewed(findings=findings, notes=[*logs.notes(), *notes])


_Found = tuple[str, str, str]
"""A check, a fact, and an example of it: a token, a request or an audit event."""


def _past_the_door(logs: Logs, past: Sequence[Event]) -> Iterator[_Found]:
    doors = {it["api-server"].client for it in logs.exchanges.values() if len(it) == 2}
    for event in past:
        fact = (
            f"{event.user} obtained a token of {event.account} at {event.time}, "
            f"from {event.client or 'an unknown address'}, without a line of the door"
        )
        if event.client in doors:
            fact += "; the door has that address, too: its client may have gone away"
        yield "past-the-door", fact, event.jti or event.audit


def _middle(logs: Logs) -> float:
    times = [time for limits in logs.times.values() for time in map(parse_rfc3339, limits) if time]
    return (min(times).timestamp() + max(times).timestamp()) / 2 if times else 0.0


def _new_sources(logs: Logs, since: float) -> Iterator[_Found]:
    earlier: dict[str, list[str]] = defaultdict(list)
    later: list[Source] = []
    for each in logs.sources.values():
        if each.account and each.source and (first := parse_rfc3339(each.first)):
            if first.timestamp() < since:
                earlier[each.account].append(each.source)
            else:
                later.append(each)
    for each in later:
        if each.account in earlier:
            fact = (
                f"{each.account} came from {each.source} {each.requests} times, first at "
                f"{each.first}; before {rfc3339(utc(since))} from {_list(earlier[each.account])}"
            )
            yield "new-source", fact, each.example


def _many_identities(logs: Logs, many: int) -> Iterator[_Found]:
    by_source: dict[str, list[Source]] = defaultdict(list)
    for each in (*logs.sources.values(), *logs.tried.values()):
        if each.account and each.source:
            by_source[each.source].append(each)
    # The first are listed: those with most success.
    successes = {source: sum(it.first != "" for it in found) for source, found in by_source.items()}
    for source in sorted(by_source, key=successes.__getitem__, reverse=True):
        if len(found := by_source[source]) > many:
            asked = f"{source} asked for {len(found)} identities"
            used = f"{successes[source]} with success"
            names = _list([each.account for each in found])
            yield "many-identities", f"{asked}, {used}: {names}", found[0].account


def _list(names: list[str]) -> str:
    more = len(names) - _LISTED_NAMES
    return ", ".join(names[:_LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
