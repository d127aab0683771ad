"""Which tokens the gate has to refuse, from the objects that exist now and that existed before.

A signature does not tell whether a token's Secret and ServiceAccount still exist. So the UID of
each deleted object is refused until the last token that could name it has expired: for an hour if
tokens live for an hour. UIDs are never reused, so a new object with the same name is not refused.

The list is published in parts, and Envoy reloads a part as a whole. The entries are in tiers, so
that a new one is in force soon however long the list is: a new entry is *recent*, and recent
entries are alone in the first, small part. From time to time they move to the other parts, in two
steps, so that no entry is ever in no part: a *compacting* entry is in both; once that is in force,
it is *stable* and leaves the first part. Expired entries are removed at the same time and not in
between, so that the large parts seldom change.
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
"""Entries for single objects; beyond it, whole namespaces are refused, the fullest first."""
GRAIN_SECONDS = 60
"""The step in which the bound for the age of tokens moves."""
COMPACT_SECONDS = 600
"""How often entries move on: how long one is recent, and then compacting."""
COMPACT_SOON_SECONDS = 60
"""The same if many entries are recent."""
RECENT_LIMIT = 500
"""Recent entries at most; further ones are stable from the beginning."""
FORMAT = 1
DAMAGES = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""The errors that reading a damaged record raises."""


class ObjectKind(StrEnum):
    """A kind of object that a token names by its UID."""

    SECRET = "secret"  # noqa: S105 - a kind
    SERVICE_ACCOUNT = "serviceAccount"


def no_known_uids() -> dict[str, dict[str, str]]:
    """Return the part `known` of a record without any UID."""
    return {kind: {} for kind in ObjectKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedObject:
    """A deleted object, and the latest time at which it was deleted (seconds, UTC)."""

    kind: ObjectKind
    namespace: str
    since_unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A denial by hand: of a `jti` or a UID, until a time (seconds, UTC)."""

    is_token: bool
    name: str
    until_unix: float


class RevocationList:
    """The list. A watcher reports the objects to it. Not safe to share between threads.

    `longest_lifetime_seconds`: the longest lifetime of tokens that the gate accepts.
    `watched_namespaces`: tokens of others are refused. None: all are watched.
    `recorded_since_unix`: tokens issued before are refused, since the record of earlier revocations
    is lost; 0 if it never was.
    """

    __slots__ = (
        "_compacted_at",
        "_compacting",
        "_gone",
        "_known",
        "_limit",
        "_namespaces",
        "_recent",
        "_recent_limit",
        "longest_lifetime_seconds",
        "manual_denials",
        "recorded_since_unix",
        "watched_namespaces",
    )  # fmt: skip

    def __init__(
        self, longest_lifetime_seconds: int, *, limit: int = LIMIT, recent_limit: int = RECENT_LIMIT
    ) -> None:
        self.longest_lifetime_seconds = longest_lifetime_seconds
        self.manual_denials: tuple[Denial, ...] = ()
        self.watched_namespaces: frozenset[str] | None = None
        self.recorded_since_unix = 0
        self._limit, self._recent_limit = limit, recent_limit
        self._known: dict[ObjectKind, dict[str, str]] = {kind: {} for kind in ObjectKind}
        self._gone: dict[str, RevokedObject] = {}
        self._namespaces: dict[str, float] = {}
        self._recent: set[str] = set()
        self._compacting: set[str] = set()
        self._compacted_at = 0.0

    @property
    def oldest_unix(self) -> float | None:
        """The time of the oldest entry, or None."""
        return min((gone.since_unix for gone in self._gone.values()), default=None)

    def listed(
        self,
        kind: ObjectKind,
        present: Mapping[str, str],
        now_unix: float,
        *,
        namespace: str | None = None,
    ) -> None:
        """Report all objects of a kind, in all namespaces or in one: UIDs and their namespaces.
        Other known objects there have been deleted.
        """
        for uid, place in list(self._known[kind].items()):
            if namespace in (None, place) and uid not in present:
                self.gone(kind, uid, place, now_unix)
        self._known[kind].update(present)

    def namespace_gone(self, namespace: str, now_unix: float) -> None:
        """Report that a namespace was deleted, with everything in it."""
        for kind in ObjectKind:
            self.listed(kind, {}, now_unix, namespace=namespace)

    def known_namespaces(self) -> frozenset[str]:
        """Return the namespaces of all known objects."""
        return frozenset(name for known in self._known.values() for name in known.values())

    def present(self, kind: ObjectKind, uid: str, namespace: str) -> None:
        """Report that an object exists."""
        self._known[kind][uid] = namespace

    def gone(self, kind: ObjectKind, uid: str, namespace: str, now_unix: float) -> None:
        """Report that an object was deleted, even one that was not known."""
        self._known[kind].pop(uid, None)
        if namespace in self._namespaces:
            self._namespaces[namespace] = now_unix
            return
        if uid not in self._gone:
            self._gone[uid] = RevokedObject(kind=kind, namespace=namespace, since_unix=now_unix)
            if len(self._recent) < self._recent_limit:
                self._recent.add(uid)
        self._keep_limit()

    def compact(self, now_unix: float, *, is_in_force: bool) -> None:
        """Move recent entries on and remove expired ones, if it is time.

        `is_in_force`: whether the last result of `revoked` is; otherwise no entry becomes stable.
        """
        many = len(self._recent) > self._recent_limit / 2
        every = COMPACT_SOON_SECONDS if many else COMPACT_SECONDS
        if abs(now_unix - self._compacted_at) < every:
            return
        self._compacted_at = now_unix
        self._forget(now_unix)
        self._recent &= self._gone.keys()
        if is_in_force:
            self._recent -= self._compacting
        self._compacting = set(self._recent)

    def revoked(self, now_unix: float, *, closed: bool) -> RevocationSnapshot:
        """Return what has to be refused now."""
        uids = {
            kind: {
                uid
                for uid, gone in self._gone.items()
                if gone.kind is kind
                and (self.watched_namespaces is None or gone.namespace in self.watched_namespaces)
            }
            for kind in ObjectKind
        }
        denials = [denial for denial in self.manual_denials if denial.until_unix > now_unix]
        denied = {denial.name for denial in denials if not denial.is_token}
        listed = uids[ObjectKind.SECRET] | uids[ObjectKind.SERVICE_ACCOUNT]
        return RevocationSnapshot(
            watched_namespaces=self.watched_namespaces,
            secrets=uids[ObjectKind.SECRET] | denied,
            service_accounts=uids[ObjectKind.SERVICE_ACCOUNT] | denied,
            tokens={denial.name for denial in denials if denial.is_token},
            namespaces=frozenset(self._namespaces),
            issued_after_unix=self._issued_after(now_unix),
            closed=closed,
            stable=listed - self._recent - denied,
            compacting=listed & (self._compacting | (denied - self._recent)),
        )

    def record(self) -> dict[str, Any]:
        """Return what has to outlive the process, as JSON. A successor then notices deletions that
        happened while no watch ran.
        """
        return {
            "format": FORMAT,
            "known": {kind: dict(known) for kind, known in self._known.items()},
            "gone": {
                uid: [gone.kind, gone.namespace, math.ceil(gone.since_unix)]
                for uid, gone in self._gone.items()
            },
            "namespaces": dict(self._namespaces),
            "fresh": {uid: uid in self._compacting for uid in self._recent},
            "settledAt": self._compacted_at,
            "recordedSince": self.recorded_since_unix,
        }

    def merge(
        self,
        record: Mapping[str, Any],
        now_unix: float,
        is_listed: Callable[[ObjectKind, str], bool],
    ) -> None:
        """Add what another list recorded. Objects that it knew and that are unknown here have been
        deleted, if `is_listed` says that the kind was listed in the namespace. Raises one of
        DAMAGES, and changes nothing then.
        """
        known, gone, namespaces = _read(record)
        recent, compacting, compacted_at = _read_recent(record, gone, now_unix)
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
        # The record tells in which part an entry is published.
        self._recent = (self._recent - gone.keys()) | recent
        self._compacting = (self._compacting - gone.keys()) | compacting
        self._compacted_at = max(self._compacted_at, compacted_at)
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
        """Return the time before which issued tokens are refused: they have expired, live too long,
        or may have been revoked before the record began. In steps of GRAIN_SECONDS.
        """
        oldest = now_unix - self.longest_lifetime_seconds - SKEW_SECONDS
        return max(int(oldest // GRAIN_SECONDS) * GRAIN_SECONDS, self.recorded_since_unix)

    def _forget(self, now_unix: float) -> None:
        # An entry stays until every token issued before it is refused for its age.
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


def _read_recent(
    record: Mapping[str, Any], gone: Mapping[str, RevokedObject], now_unix: float
) -> tuple[set[str], set[str], float]:
    """Return the recent UIDs, the compacting ones among them, and the time of the last move."""
    if "fresh" not in record:  # written by an older version
        few = set(gone) if len(gone) <= RECENT_LIMIT else set()
        return few, set(few), now_unix
    recent = {str(uid): bool(moves) for uid, moves in record["fresh"].items() if uid in gone}
    return (
        set(recent),
        {uid for uid, moves in recent.items() if moves},
        float(record["settledAt"]),
    )
