"""What a reviewer of logs should look at: requests past the door, new sources, many identities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from daypass._core.clock import parse_rfc3339, rfc3339
from daypass._core.findings import Finding, failure
from daypass._core.hints import Placeholder, command
from daypass.trace.events import Event
from daypass.trace.search import LIMIT_LISTED, Logs, Source

_LISTED_NAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What is unusual in logs."""

    findings: Annotated[list[Finding], "what was found, at most 100 of each kind"]
    notes: Annotated[list[str], "what is missing, or not certain"]


_Found = Iterator[tuple[str, str]]
"""Facts, each with what to trace: a token, a request, an audit event or an identity."""


def review(logs: Logs, files: Sequence[str], *, since: datetime | None, many: int) -> Reviewed:
    """Return what is unusual in logs that were read from files.

    `since`: from when a source is new; None: the middle of the logs. `many`: usual identities.
    """
    alone = [it["api-server"] for it in logs.exchanges.values() if "door" not in it]
    past = [*logs.forgotten, *alone]
    first, last = logs.times.get("door", ("", ""))
    within = [event for event in past if first <= event.time <= last]
    found = {
        "past-the-door": [*_past_the_door(logs, within)],
        "new-source": [*_new_sources(logs, since)],
        "many-identities": [*_many_identities(logs, many)],
    }
    revoke = command("identity", "revoke", Placeholder("NAME"), "-n", Placeholder("NAMESPACE"))
    more = {"past-the-door": f"\nif it was not you, somebody has its long-lived token: {revoke}"}
    findings = [
        failure(check, fact, command("trace", example, *files) + more.get(check, ""))
        for check, facts in found.items()
        for fact, example in facts[:LIMIT_LISTED]
    ]
    counts = {
        "TokenRequests: for their time, the door's log has no lines": len(past) - len(within),
        "findings more: not all are listed": sum(map(len, found.values())) - len(findings),
    }
    notes = (f"{count} {what}" for what, count in counts.items() if count)
    return Reviewed(findings=findings, notes=[*logs.notes(), *notes])


def _past_the_door(logs: Logs, past: Sequence[Event]) -> _Found:
    doors = {it["api-server"].client for it in logs.exchanges.values() if len(it) == 2}
    for event in past:
        fact = (
            f"{event.user} obtained a token of {event.account} at {event.time}, "
            f"from {event.client or 'an unknown address'}, without a line of the door"
        )
        if event.client in doors:
            fact += "; the door has that address, too: its client may have gone away"
        yield fact, event.jti or event.audit


def _new_sources(logs: Logs, since: datetime | None) -> _Found:
    limits = [time for it in logs.times.values() for time in map(parse_rfc3339, it) if time]
    if since is None and limits:
        since = min(limits) + (max(limits) - min(limits)) / 2
    earlier, later = defaultdict[str, list[str]](list), list[Source]()
    for each in logs.sources.values():
        first = parse_rfc3339(each.first)
        if since and first and each.account and each.source:
            if first < since:
                earlier[each.account].append(each.source)
            else:
                later.append(each)
    for each in later:
        if since and each.account in earlier:
            fact = (
                f"{each.account} came from {each.source} {each.requests} times, first at "
                f"{each.first}; before {rfc3339(since)} from {_list(earlier[each.account])}"
            )
            yield fact, each.example or each.account


def _many_identities(logs: Logs, many: int) -> _Found:
    by_source = defaultdict[str, list[Source]](list)
    for each in (*logs.sources.values(), *logs.tried.values()):
        if each.account and each.source:
            by_source[each.source].append(each)

    def successes(source: str) -> int:
        return sum(each.first != "" for each in by_source[source])

    for source in sorted(by_source, key=successes, reverse=True):  # the first are listed
        if len(found := by_source[source]) > many:
            asked = f"{source} asked for {len(found)} identities, {successes(source)} with success"
            yield f"{asked}: {_list([each.account for each in found])}", found[0].account


def _list(names: list[str]) -> str:
    more = len(names) - _LISTED_NAMES
    return ", ".join(names[:_LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
