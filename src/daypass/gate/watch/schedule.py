"""What has to be published, from what was observed: the shards of the set of credentials, and which
of them comes next.

Nothing here has a side effect. Times are seconds: `now` of the monotonic clock, on which listings
are dated, and `now_unix` of the wall clock, by which the shards close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from daypass.rules.published import Denial, Denials, Published, Shard, shard_of, split_credentials

LEAVES_AFTER = 0.9
"""Of `closeAfter`: the age of a namespace's last listing at which its credentials leave the set, so
that they do not close the shards that they are in."""
RENEWED_AT, LATE_AT = 1 / 3, 1 / 9
"""Of `closeAfter`: the time left at which a shard is renewed, and at which that is as urgent as an
addition."""
TOLERATED_SECONDS = 1
"""Closing times are whole seconds."""

SETTLE_SECONDS = 15.0
"""How long the first set waits for a further listing."""
TICK_SECONDS = 0.5
"""At least as often, a publisher looks for what has to be published: a deadline may have passed."""

PACE_SECONDS = 0.25
"""How long a round of writing lasts, and the pause after it. istiod delivers a change once there
was no other for 100 ms (PILOT_DEBOUNCE_AFTER), or after 10 s. On one machine, Envoy's main thread
reads files that have changed."""

Number: TypeAlias = int | None
"""Of a shard; None for the denials."""
_Key: TypeAlias = tuple[str, str]
"""The kind of objects, and their namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedNamespace:
    """What counts of a namespace, without what is beyond the limit.

    `listed_at`: when the oldest listing began that they rely on (monotonic).
    """

    credentials: frozenset[str]
    listed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a watch knows about a cluster at a time. Times are seconds of the monotonic clock.

    - `namespaces`: Secrets of identities, by namespace with the label, once they were listed.
    - `accounts`: ServiceAccounts, the same; if tokens that are bound to no Secret may pass.
    - `listed_at`: when the older of the listings of namespaces and of denials began; None until
      both have succeeded.
    - `progress_at`: when something was listed for the first time, most recently; None before.
    - `is_complete`: every namespace with the label was listed, or may not be.
    - `unwatched`: those of which credentials may be missing, and why.
    - `left_out`: how many credentials of a namespace are beyond the limit, by namespace.
    """

    namespaces: Mapping[str, ObservedNamespace] = field(default_factory=dict)
    accounts: Mapping[str, ObservedNamespace] = field(default_factory=dict)
    denials: tuple[Denial, ...] = ()
    listed_at: float | None = None
    progress_at: float | None = None
    is_complete: bool = False
    unwatched: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def is_settled(self, now: float) -> bool:
        """Whether everything is listed, or what is missing has made no progress for long."""
        if self.listed_at is None or self.progress_at is None:
            return False
        return self.is_complete or now - self.progress_at >= SETTLE_SECONDS

    def problems(self) -> dict[str, str]:
        """Return whose tokens are refused, and why, by kind of problem."""
        found = {}
        by_reason: dict[str, list[str]] = {}
        for name, why in sorted(self.unwatched.items()):
            by_reason.setdefault(why, []).append(name)
        if by_reason:
            found["namespaces"] = "\n".join(
                f"tokens of these namespaces are refused: {', '.join(names)}\n{why}"
                for why, names in by_reason.items()
            )
        if left_out := ", ".join(sorted(self.left_out)):
            found["leftOut"] = f"the newest credentials of these namespaces are refused: {left_out}"
        return found


class ShardsPlanner:
    """Makes the set from observations. Only what has changed of a namespace is compared.

    `shards`: how many the set has. A shard closes `close_after_seconds` after the oldest of the
    listings that its content relies on.
    """

    def __init__(self, shards: int, close_after_seconds: float) -> None:
        self._shards = shards
        self._close_after_seconds = close_after_seconds
        self._credentials: dict[_Key, frozenset[str]] = {}
        self._numbers: dict[_Key, set[int]] = {}
        self._content = [frozenset[str]()] * shards

    def wanted(self, observation: Observation, *, now: float, now_unix: float) -> Published:
        """Return what is to be in force: nothing, until everything has been listed once."""
        if observation.listed_at is None:
            return Published.closed(self._shards)
        known = self._known(observation, observation.listed_at, now)
        self._take({key: found.credentials for key, found in known.items()})
        listed = self._listed(known, observation.listed_at)
        offset = now_unix - now + self._close_after_seconds
        return Published(
            shards=tuple(
                Shard(credentials=content, closes_unix=int(at + offset))
                for content, at in zip(self._content, listed, strict=True)
            ),
            denials=Denials.of(observation.denials, now_unix, int(observation.listed_at + offset)),
        )

    def _known(
        self, observation: Observation, listed_at: float, now: float
    ) -> dict[_Key, ObservedNamespace]:
        """Return what is in the set, without that whose listing is too old.

        If those of the whole cluster are about as old, no namespace leaves: all of it closes.
        """
        oldest = now - LEAVES_AFTER * self._close_after_seconds
        oldest = min(oldest, listed_at - self._close_after_seconds / 2)
        kinds = {"secrets": observation.namespaces, "accounts": observation.accounts}
        return {
            (kind, name): found
            for kind, namespaces in kinds.items()
            for name, found in namespaces.items()
            if found.listed_at > oldest
        }

    def _take(self, credentials: dict[_Key, frozenset[str]]) -> None:
        """Change the content of the shards as the credentials have changed."""
        nothing = frozenset[str]()
        removed, added = set[str](), set[str]()
        for key in self._credentials.keys() | credentials.keys():
            before, after = self._credentials.get(key, nothing), credentials.get(key, nothing)
            if after is not before:
                removed |= before - after
                added |= after - before
                self._numbers[key] = {shard_of(each, self._shards) for each in after}
        for key in self._credentials.keys() - credentials.keys():
            del self._numbers[key]
        self._credentials = credentials
        changes = (split_credentials(each, self._shards) for each in (removed, added))
        for number, (less, more) in enumerate(zip(*changes, strict=True)):
            if less or more:
                self._content[number] = self._content[number] - less | more

    def _listed(self, known: dict[_Key, ObservedNamespace], listed_at: float) -> list[float]:
        """Return for each shard when the oldest listing began that it relies on."""
        listed = [listed_at] * self._shards
        for key, found in known.items():
            if found.listed_at < listed_at:
                for number in self._numbers[key]:
                    listed[number] = min(listed[number], found.listed_at)
        return listed


class Urgency(IntEnum):
    """Why something is published, the most urgent first."""

    REMOVAL = 0
    """Less passes: a credential is gone, a denial is new, or a clock went back."""
    ADDITION = 1
    """More passes: a credential is new, a denial is over, or it was closed."""
    RENEWAL = 2
    """Only its closing time changes."""


Closing: TypeAlias = Shard | Denials


def steps_between(
    published: Published, wanted: Published, *, now_unix: float, close_after_seconds: float
) -> dict[Number, Urgency]:
    """Return what to publish: numbers of shards, and None for the denials. What closes first, or
    has closed, comes first.
    """
    pairs: list[tuple[Number, Closing, Closing]] = [(None, published.denials, wanted.denials)]
    pairs += zip(range(len(wanted.shards)), published.shards, wanted.shards, strict=True)
    steps = {}
    for number, before, after in sorted(pairs, key=lambda pair: pair[1].closes_unix):
        left = (before.closes_unix - now_unix) / close_after_seconds
        urgency = _urgency(before, after, now_unix, is_due=left < RENEWED_AT)
        if urgency is not None:
            steps[number] = min(urgency, Urgency.ADDITION) if left < LATE_AT else urgency
    return steps


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
    match before, after:
        case Shard(credentials=old), Shard(credentials=new):
            return old is not new and not old <= new
        case Denials(keys=old), Denials(keys=new):
            return not new <= old
    raise TypeError


class Turns:
    """Chooses what is published next, in rounds that have each shard at most once.

    The most urgent comes first, and of those alike what was published longest ago. After a removal,
    what was published longest ago comes first once, and renewals last: so additions by one tenant
    delay no removal of another's, and removals by one tenant close no shard of another's.
    """

    def __init__(self) -> None:
        self._round = 0
        self._round_of: dict[Number, int] = {}
        self._is_by_age = False

    def begin(self) -> None:
        """Begin a round."""
        self._round += 1

    def next(self, steps: Mapping[Number, Urgency]) -> tuple[Number, Urgency] | None:
        """Return which of these steps comes next, and count it as done, whether it succeeds or not;
        None at the end of the round.
        """
        left = {n: each for n, each in steps.items() if self._round_of.get(n) != self._round}
        if not left:
            return None
        number = min(left, key=lambda n: self._order(n, left[n]))
        self._round_of[number] = self._round
        self._is_by_age = left[number] is Urgency.REMOVAL and not self._is_by_age
        return number, left[number]

    def _order(self, number: Number, urgency: Urgency) -> tuple[int, int, int]:
        age = self._round_of.get(number, 0)
        if self._is_by_age:
            return urgency is Urgency.RENEWAL, age, urgency
        return urgency, age, 0
