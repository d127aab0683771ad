"""Which tokens the gate has to refuse, from what is there now and what was there before.

A signature says nothing about the Secret that a token hangs on, or about its ServiceAccount. So
whatever is gone is refused by its UID, until the last token that could name it has ended: an hour
for tokens of an hour. UIDs are never used twice, so what is made again under the same name is
another one, and is let in.

An entry is fresh at first: where the list is published in parts, it is in one that is small, and
soon in force. From time to time the fresh ones settle, in two steps: an entry is with the others,
too, and at the next time only there. What has ended is forgotten then, and not in between.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daypass.gate.decision import SKEW_SECONDS
from daypass.render.envoy.filters import RevocationSnapshot

LIMIT = 20_000
"""Entries for single objects. Beyond it, whole namespaces are refused: the fullest ones first."""
GRAIN_SECONDS = 60
"""How often the bound for the age of tokens is another one."""
SETTLE_SECONDS = 600
"""How often entries settle. For so long one is with the fresh ones and with the others."""
SETTLE_SOON_SECONDS = 60
"""The same where many are fresh."""
FRESH_LIMIT = 500
"""Fresh entries at most; those beyond it have settled from the beginning."""
FORMAT = 1
DAMAGES = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What a record that is none raises."""


class ObjectKind(StrEnum):
    """What a token names by its UID."""

    SECRET = "secret"  # noqa: S105 - a kind
    SERVICE_ACCOUNT = "serviceAccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedObject:
    """An object that is there no more, and since when at the latest (seconds, UTC)."""

    kind: ObjectKind
    namespace: str
    since_unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What somebody has denied by hand: a `jti` or a UID, until a time (seconds, UTC)."""

    is_token: bool
    name: str
    until_unix: float


class RevocationList:
    """The list, kept up by whoever sees the objects; not safe to share between threads.

    `longest_lifetime_seconds`: no token that the gate takes lives longer. `followed`: namespaces
    that somebody looks at, so that the others' tokens are refused; None: all are.
    `recorded_since_unix`: tokens that were issued before are refused, since the record of what was
    revoked until then is lost; 0 where it never was.
    """

    __slots__ = (
        "_fresh", "_fresh_limit", "_gone", "_known", "_limit", "_namespaces", "_settled_at",
        "_settling", "followed", "longest_lifetime_seconds", "orders", "recorded_since_unix",
    )  # fmt: skip

    def __init__(
        self, longest_lifetime_seconds: int, *, limit: int = LIMIT, fresh_limit: int = FRESH_LIMIT
    ) -> None:
        self.longest_lifetime_seconds = longest_lifetime_seconds
        self.orders: tuple[Denial, ...] = ()
        self.followed: frozenset[str] | None = None
        self.recorded_since_unix = 0
        self._limit, self._fresh_limit = limit, fresh_limit
        self._known: dict[ObjectKind, dict[str, str]] = {kind: {} for kind in ObjectKind}
        self._gone: dict[str, RevokedObject] = {}
        self._namespaces: dict[str, float] = {}
        self._fresh: set[str] = set()
        self._settling: set[str] = set()
        self._settled_at = 0.0

    @property
    def oldest_unix(self) -> float | None:
        """Since when the oldest entry is on the list; None where there is none."""
        return min((gone.since_unix for gone in self._gone.values()), default=None)

    def listed(
        self,
        kind: ObjectKind,
        present: Mapping[str, str],
        now_unix: float,
        *,
        namespace: str | None = None,
    ) -> None:
        """All that there is of a kind now, everywhere or in a namespace: UIDs and their namespaces.
        Whatever else was known there is gone.
        """
        for uid, place in list(self._known[kind].items()):
            if namespace in (None, place) and uid not in present:
                self.gone(kind, uid, place, now_unix)
        self._known[kind].update(present)

    def namespace_gone(self, namespace: str, now_unix: float) -> None:
        """A whole namespace is there no more, and with it all that was in it."""
        for kind in ObjectKind:
            self.listed(kind, {}, now_unix, namespace=namespace)

    def known_namespaces(self) -> frozenset[str]:
        """Where anything is known to be."""
        return frozenset(name for known in self._known.values() for name in known.values())

    def present(self, kind: ObjectKind, uid: str, namespace: str) -> None:
        """An object is there."""
        self._known[kind][uid] = namespace

    def gone(self, kind: ObjectKind, uid: str, namespace: str, now_unix: float) -> None:
        """An object is there no more, also one that was never seen."""
        self._known[kind].pop(uid, None)
        if namespace in self._namespaces:
            self._namespaces[namespace] = now_unix
            return
        if uid not in self._gone:
            self._gone[uid] = RevokedObject(kind=kind, namespace=namespace, since_unix=now_unix)
            if len(self._fresh) < self._fresh_limit:
                self._fresh.add(uid)
        self._keep_limit()

    def settle(self, now_unix: float, *, is_in_force: bool) -> None:
        """Let the fresh ones settle, and forget what has ended, where it is time.

        `is_in_force`: whether what `revoked` gave last is; otherwise none leaves the fresh ones.
        """
        many = len(self._fresh) > self._fresh_limit / 2
        every = SETTLE_SOON_SECONDS if many else SETTLE_SECONDS
        if abs(now_unix - self._settled_at) < every:
            return
        self._settled_at = now_unix
        self._forget(now_unix)
        self._fresh &= self._gone.keys()
        if is_in_force:
            self._fresh -= self._settling
        self._settling = set(self._fresh)

    def revoked(self, now_unix: float, *, closed: bool) -> RevocationSnapshot:
        """What is to be refused now."""
        uids = {
            kind: {
                uid
                for uid, gone in self._gone.items()
                if gone.kind is kind and (self.followed is None or gone.namespace in self.followed)
            }
            for kind in ObjectKind
        }
        orders = [order for order in self.orders if order.until_unix > now_unix]
        ordered = {order.name for order in orders if not order.is_token}
        listed = uids[ObjectKind.SECRET] | uids[ObjectKind.SERVICE_ACCOUNT]
        return RevocationSnapshot(
            followed=self.followed,
            secrets=uids[ObjectKind.SECRET] | ordered,
            service_accounts=uids[ObjectKind.SERVICE_ACCOUNT] | ordered,
            tokens={order.name for order in orders if order.is_token},
            namespaces=frozenset(self._namespaces),
            issued_after_unix=self._issued_after(now_unix),
            closed=closed or now_unix < self.recorded_since_unix,
            settled=listed - self._fresh - ordered,
            settling=listed & (self._settling | (ordered - self._fresh)),
        )

    def record(self) -> dict[str, Any]:
        """What has to outlive the process, as JSON: with it, a deletion meanwhile is one, too."""
        return {
            "format": FORMAT,
            "known": {kind: dict(known) for kind, known in self._known.items()},
            "gone": {
                uid: [gone.kind, gone.namespace, math.ceil(gone.since_unix)]
                for uid, gone in self._gone.items()
            },
            "namespaces": dict(self._namespaces),
            "fresh": {uid: uid in self._settling for uid in self._fresh},
            "settledAt": self._settled_at,
            "recordedSince": self.recorded_since_unix,
        }

    def recall(self, record: Mapping[str, Any]) -> None:
        """Take over what `record` gave. Raises one of DAMAGES."""
        self._known, self._gone, self._namespaces = {kind: {} for kind in ObjectKind}, {}, {}
        self._fresh, self._settling, self._settled_at = set(), set(), 0.0
        self.recorded_since_unix = 0
        self.absorb(record, 0, lambda kind, namespace: False)

    def absorb(
        self,
        record: Mapping[str, Any],
        now_unix: float,
        is_listed: Callable[[ObjectKind, str], bool],
    ) -> None:
        """Add what another one has recorded. Of what it knew that is gone which is unknown here,
        where all of that kind and namespace has been listed. Raises as `recall`, and takes nothing.
        """
        known, gone, namespaces = _read(record)
        fresh, settling, settled_at = _read_fresh(record, gone, now_unix)
        since = int(record.get("recordedSince", 0))
        self.recorded_since_unix = max(self.recorded_since_unix, since)
        self._forget(now_unix)
        for name, at in namespaces.items():
            self._namespaces[name] = max(at, self._namespaces.get(name, at))
        for uid, each in gone.items():
            mine = self._gone.get(uid)
            self._known[each.kind].pop(uid, None)
            if mine is None or mine.since_unix < each.since_unix:
                self._gone[uid] = each
        # What is published is where the record has it.
        self._fresh = (self._fresh - gone.keys()) | fresh
        self._settling = (self._settling - gone.keys()) | settling
        self._settled_at = max(self._settled_at, settled_at)
        for kind, uids in known.items():
            for uid, namespace in uids.items():
                if uid in self._gone or uid in self._known[kind]:
                    continue
                if is_listed(kind, namespace):
                    self.gone(kind, uid, namespace, now_unix)
                else:
                    self._known[kind][uid] = namespace
        self._keep_limit()

    def _issued_after(self, now_unix: float) -> int:
        """A token that was issued before has ended, or lives for too long; in whole grains. Or
        nobody knows whether it was revoked.
        """
        oldest = now_unix - self.longest_lifetime_seconds - SKEW_SECONDS
        return max(int(oldest // GRAIN_SECONDS) * GRAIN_SECONDS, self.recorded_since_unix)

    def _forget(self, now_unix: float) -> None:
        # Nothing is forgotten before every token that was issued until then is refused by its age.
        since = self._issued_after(now_unix) - SKEW_SECONDS
        self._gone = {uid: each for uid, each in self._gone.items() if each.since_unix >= since}
        self._namespaces = {name: at for name, at in self._namespaces.items() if at >= since}

    def _keep_limit(self) -> None:
        while len(self._gone) > self._limit:
            self._refuse_fullest_namespace()

    def _refuse_fullest_namespace(self) -> None:
        counts = Counter(gone.namespace for gone in self._gone.values())
        ((fullest, _),) = counts.most_common(1)
        inside = [uid for uid, gone in self._gone.items() if gone.namespace == fullest]
        self._namespaces[fullest] = max(self._gone.pop(uid).since_unix for uid in inside)


def _read(
    record: Mapping[str, Any],
) -> tuple[dict[ObjectKind, dict[str, str]], dict[str, RevokedObject], dict[str, float]]:
    if record["format"] != FORMAT:
        raise ValueError("format")
    known = {
        kind: {str(uid): str(name) for uid, name in record["known"][kind].items()}
        for kind in ObjectKind
    }
    gone = {
        str(uid): RevokedObject(kind=ObjectKind(kind), namespace=str(name), since_unix=float(since))
        for uid, (kind, name, since) in record["gone"].items()
    }
    return known, gone, {str(name): float(at) for name, at in record["namespaces"].items()}


def _read_fresh(
    record: Mapping[str, Any], gone: Mapping[str, RevokedObject], now_unix: float
) -> tuple[set[str], set[str], float]:
    """Which are fresh, which of them settle, and since when."""
    if "fresh" not in record:  # an older version's, which had few in the first part, many in all
        few = set(gone) if len(gone) <= FRESH_LIMIT else set()
        return few, set(few), now_unix
    fresh = {str(uid): bool(settles) for uid, settles in record["fresh"].items() if uid in gone}
    return (
        set(fresh),
        {uid for uid, settles in fresh.items() if settles},
        float(record["settledAt"]),
    )
