"""What has to be published: the parts of the set of credentials, and which of them comes next.

Nothing here has a side effect. Times are seconds: `now` of the monotonic clock, on which listings
are dated, and `now_unix` of the wall clock, by which the parts close.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from daypass.gate.watch.observation import Observation, ObservedNamespace
from daypass.published.credentials import CredentialPart, CredentialSet, split_uids
from daypass.published.denials import Denials
from daypass.published.snapshot import Published

LEAVES_AFTER = 0.9
"""Of `closeAfter`: the age of a namespace's last listing at which its credentials leave the set, so
that they do not close the parts that they are in."""
RENEWED_AT = 1 / 3
"""Of `closeAfter`: the time left at which a part is renewed."""
TOLERATED_SECONDS = 1
"""Closing times are whole seconds."""

_ACCOUNTS = ""
"""Stands for the ServiceAccounts, where namespaces have names."""


class PartsPlanner:
    """Makes the set from observations. It splits a namespace's UIDs only if they have changed.

    `parts`: how many parts the set has. A part closes `close_after_seconds` after the oldest of the
    listings that its content relies on.
    """

    def __init__(self, parts: int, close_after_seconds: float) -> None:
        self._parts = parts
        self._close_after_seconds = close_after_seconds
        self._split: dict[str, _SplitNamespace] = {}
        self._uids: list[frozenset[str]] = [frozenset()] * parts

    def parts_of(self, observation: Observation, *, now: float, now_unix: float) -> CredentialSet:
        """Return the set; all parts are closed until everything has been listed once."""
        if observation.listed_at is None:
            return CredentialSet.closed(self._parts)
        known = self._known(observation, observation.listed_at, now)
        self._take(known)
        listed = self._listed(known, observation.listed_at)
        offset = now_unix - now + self._close_after_seconds
        return CredentialSet(
            parts=tuple(
                CredentialPart(uids=uids, closes_unix=int(at + offset))
                for uids, at in zip(self._uids, listed, strict=True)
            )
        )

    def _known(
        self, observation: Observation, listed_at: float, now: float
    ) -> dict[str, ObservedNamespace]:
        """Return what is in the set, without the namespaces whose listing is too old.

        If those of the whole cluster are about as old, no namespace leaves: all of it closes.
        """
        oldest = now - LEAVES_AFTER * self._close_after_seconds
        oldest = min(oldest, listed_at - self._close_after_seconds / 2)
        known = {
            name: found
            for name, found in observation.namespaces.items()
            if found.listed_at > oldest
        }
        if observation.accounts:
            known[_ACCOUNTS] = ObservedNamespace(uids=observation.accounts, listed_at=listed_at)
        return known

    def _take(self, known: dict[str, ObservedNamespace]) -> None:
        """Split what has changed, and put the parts together that it changes."""
        changed = 0
        for name in self._split.keys() - known.keys():
            changed |= self._split.pop(name).mask
        for name, found in known.items():
            before = self._split.get(name, _NOTHING)
            if found.uids is before.whole:
                continue
            after = _SplitNamespace(found.uids, tuple(split_uids(found.uids, self._parts)))
            self._split[name] = after
            for number in _numbers(before.mask | after.mask):
                if before.uids(number) != after.uids(number):
                    changed |= 1 << number
        for number in _numbers(changed):
            self._uids[number] = frozenset().union(
                *(each.uids(number) for each in self._split.values())
            )

    def _listed(self, known: dict[str, ObservedNamespace], listed_at: float) -> list[float]:
        """Return for each part when the oldest listing began that it relies on."""
        listed = [listed_at] * self._parts
        open_ = (1 << self._parts) - 1
        for name, found in sorted(known.items(), key=lambda item: item[1].listed_at):
            if found.listed_at >= listed_at or not open_:
                break
            mask = self._split.get(name, _NOTHING).mask
            for number in _numbers(mask & open_):
                listed[number] = found.listed_at
            open_ &= ~mask
        return listed


@dataclass(frozen=True, slots=True)
class _SplitNamespace:
    """`mask`: a bit for each part that has one of its UIDs."""

    whole: frozenset[str]
    split: tuple[frozenset[str], ...]
    mask: int = field(init=False)

    def __post_init__(self) -> None:
        mask = sum(1 << number for number, uids in enumerate(self.split) if uids)
        object.__setattr__(self, "mask", mask)

    def uids(self, number: int) -> frozenset[str]:
        """Return its UIDs in a part."""
        return self.split[number] if self.split else frozenset()


_NOTHING = _SplitNamespace(frozenset(), ())


def _numbers(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def denials_of(
    observation: Observation, *, now: float, now_unix: float, close_after_seconds: float
) -> Denials:
    """Return the denials in force; closed until they have been listed once."""
    if observation.listed_at is None:
        return Denials()
    closes_unix = int(observation.listed_at - now + now_unix + close_after_seconds)
    return Denials.of(observation.denials, now_unix, closes_unix)


class Urgency(IntEnum):
    """Why something is published, the most urgent first."""

    REMOVAL = 0
    """Less passes: a credential is gone, a denial is new, or a clock went back."""
    ADDITION = 1
    """More passes: a credential is new, a denial is over, or it was closed."""
    RENEWAL = 2
    """Only its closing time changes."""


@dataclass(frozen=True, slots=True, order=True)
class PlannedWrite:
    """Something to publish: the part with this number or, without one, the denials.

    `left_seconds`: until what is in force closes.
    """

    urgency: Urgency
    left_seconds: float
    number: int | None = field(compare=False)


Closing: TypeAlias = CredentialPart | Denials


def steps_between(
    published: Published, wanted: Published, *, now_unix: float, close_after_seconds: float
) -> list[PlannedWrite]:
    """Return what to publish, in order: removals, additions, then renewals that are due."""
    numbered: list[tuple[int | None, Closing, Closing]] = [
        (None, published.denials, wanted.denials)
    ]
    pairs = zip(published.credentials.parts, wanted.credentials.parts, strict=True)
    numbered += [(number, before, after) for number, (before, after) in enumerate(pairs)]
    found = []
    for number, before, after in numbered:
        left_seconds = before.closes_unix - now_unix
        is_due = left_seconds < RENEWED_AT * close_after_seconds
        urgency = _urgency(before, after, now_unix, is_due=is_due)
        if urgency is not None:
            found.append(PlannedWrite(urgency, left_seconds, number))
    return sorted(found)


def _urgency(before: Closing, after: Closing, now_unix: float, *, is_due: bool) -> Urgency | None:
    # A later listing never closes earlier: the wall clock was set back.
    is_too_long = before.closes_unix > after.closes_unix + TOLERATED_SECONDS
    if is_too_long or _passes_less(before, after):
        return Urgency.REMOVAL
    if now_unix >= after.closes_unix:
        return None  # more or not, nothing passes
    if now_unix >= before.closes_unix or _passes_less(after, before):
        return Urgency.ADDITION
    return Urgency.RENEWAL if is_due and after.closes_unix > before.closes_unix else None


def _passes_less(before: Closing, after: Closing) -> bool:
    """Return whether `after` refuses a token that `before` lets pass, closing times aside."""
    if isinstance(before, Denials) and isinstance(after, Denials):
        return not after.keys <= before.keys
    if isinstance(before, CredentialPart) and isinstance(after, CredentialPart):
        return before.uids is not after.uids and not before.uids <= after.uids
    raise TypeError
