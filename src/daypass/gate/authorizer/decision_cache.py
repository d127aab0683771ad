"""Cached decisions on tokens and accesses, bounded in number.

The key of a token is the SHA-256 of the gate's path and the exact Authorization header. So the
cache holds no token, a header that differs in any way (bytes after the token, another scheme) finds
nothing, and a token that one gate accepts is unknown at another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from daypass.gate.authorizer.served_gate import AuthzResponse, ServedGate
from daypass.rules.models import Access
from daypass.rules.published import Published, shard_of
from daypass.rules.reasons import Reason

LIMIT_ENTRIES = 200_000
"""An entry takes about 440 bytes."""
SWEEP = 2_000
"""How many of the oldest entries are checked for expiry at a time."""


@dataclass(slots=True, kw_only=True, eq=False)
class CachedResponse:
    """A response of the API server's. Times are seconds of a monotonic clock.

    From `fresh_until` on the question is asked again in the background; from `until` on the entry
    is not used.
    """

    response: AuthzResponse
    fresh_until: float
    until: float


K = TypeVar("K", bound=Hashable)
E = TypeVar("E", bound=CachedResponse)


class ExpiringCache(Generic[K, E]):
    """Entries by key, each until a time, the oldest first; a full cache removes the oldest."""

    def __init__(self, limit_entries: int = LIMIT_ENTRIES) -> None:
        self._limit_entries = limit_entries
        self.entries: dict[K, E] = {}
        """For lookups in the path of a request; only this class writes to it."""

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, key: K, now: float) -> E | None:
        """Return an entry, if it is still valid."""
        entry = self.entries.get(key)
        return None if entry is None or now >= entry.until else entry

    def put(self, key: K, entry: E) -> None:
        """Add an entry as the newest."""
        self.remove(key)
        self.entries[key] = entry
        if len(self.entries) > self._limit_entries:
            self.remove(next(iter(self.entries)))

    def remove(self, key: K) -> E | None:
        """Remove and return an entry, if there is one."""
        return self.entries.pop(key, None)

    def sweep(self, now: float) -> None:
        """Remove expired entries among the oldest."""
        oldest = [key for key, _ in zip(self.entries, range(SWEEP), strict=False)]
        for key in oldest:
            if self.entries[key].until <= now:
                self.remove(key)


@dataclass(slots=True, kw_only=True, eq=False)
class CachedDecision(CachedResponse):
    """A response that lets the requests with a token pass.

    `audience`: for which the token was made. `credential`: what has to be in the published set;
    "" if nothing has to be. `bound` and `account`: the UIDs of what the token is bound to, and of
    its ServiceAccount.
    """

    gate: ServedGate
    audience: str
    credential: str
    bound: str
    account: str
    jti: str
    namespace: str


AccessKey: TypeAlias = tuple[str, str, Access]
"""The name of a gate, a user, and what it may do. All groups of a user follow from its name."""


class DecisionCache(ExpiringCache[bytes, CachedDecision]):
    """Cached decisions by key. It counts them by credential: most that are deleted have none."""

    def __init__(self, limit_entries: int = LIMIT_ENTRIES) -> None:
        super().__init__(limit_entries)
        self._credentials: Counter[str] = Counter()

    def put(self, key: bytes, entry: CachedDecision) -> None:
        """Add an entry as the newest."""
        super().put(key, entry)
        self._credentials[entry.credential] += 1

    def remove(self, key: bytes) -> CachedDecision | None:
        """Remove and return an entry, if there is one."""
        entry = super().remove(key)
        if entry is not None:
            self._credentials[entry.credential] -= 1
            if not self._credentials[entry.credential]:
                del self._credentials[entry.credential]
        return entry

    def remove_refused(
        self, before: Published, after: Published
    ) -> Iterator[tuple[CachedDecision, Reason]]:
        """Remove and yield the decisions on credentials that no longer exist or are denied, with
        the reason.

        A decision that needs a credential is cached only if that is in the set, so the difference
        is enough.
        """
        deleted: set[str] = set()
        for old, new in zip(before.shards, after.shards, strict=False):
            if new is not old:
                deleted |= old.credentials - new.credentials
        deleted &= self._credentials.keys()
        denied = after.denials

        def is_denied(entry: CachedDecision) -> bool:
            objects = (entry.bound, entry.account)
            return denied.denies(token=entry.jti, objects=objects, namespace=entry.namespace)

        if not deleted and denied.keys == before.denials.keys:
            return  # nearly always
        for entry in self._remove_all(lambda e: e.credential in deleted or is_denied(e)):
            yield entry, Reason.DENIED if is_denied(entry) else Reason.UNKNOWN_CREDENTIAL

    def remove_closed(self, published: Published, now_unix: float) -> list[CachedDecision]:
        """Remove and return the decisions of what is missing or out of date.

        A token that needs no credential is of no shard: only the API server knows whether what it
        is bound to exists. But it may be denied, so it is refused while the denials are closed.
        """
        closed, shards = published.closed_shards(now_unix), len(published.shards)
        are_denials_closed = published.denials.is_closed(now_unix)

        def is_closed(entry: CachedDecision) -> bool:
            if not entry.credential:
                return are_denials_closed
            return shard_of(entry.credential, shards) in closed

        return self._remove_all(is_closed)

    def _remove_all(self, is_refused: Callable[[CachedDecision], bool]) -> list[CachedDecision]:
        found = {key: entry for key, entry in self.entries.items() if is_refused(entry)}
        for key in found:
            self.remove(key)
        return list(found.values())
