"""Cached decisions, bounded in number and bytes.

The key is the SHA-256 of the exact Authorization header, so the cache holds no token, and a header
that differs in any way (bytes after the token, another scheme) finds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, KeysView
from dataclasses import dataclass

from daypass.gate.authorizer.responses import AuthzResponse

LIMIT_ENTRIES = 200_000
LIMIT_BYTES = 128 * 1024 * 1024
ENTRY_BYTES = 400
"""An entry without its `jti`, with its share of the tables: measured, and rounded up."""
SWEEP = 2_000
"""How many of the oldest entries are checked for expiry at a time."""


@dataclass(slots=True, kw_only=True, eq=False)
class CachedDecision:
    """A response that lets a request pass. Times are seconds of a monotonic clock.

    From `fresh_until` on the token is reviewed again in the background; from `until` on the entry
    is not used. `secret` and `account` are UIDs.
    """

    response: AuthzResponse
    fresh_until: float
    until: float
    secret: str
    account: str
    jti: str
    namespace: str

    @property
    def credential(self) -> str:
        """The UID that has to be in the published set."""
        return self.secret or self.account

    @property
    def size_bytes(self) -> int:
        """The approximate memory of the entry."""
        return ENTRY_BYTES + len(self.jti)


class DecisionCache:
    """Cached decisions by key, the oldest first; a full cache removes the oldest."""

    def __init__(
        self, *, limit_entries: int = LIMIT_ENTRIES, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._limit_entries = limit_entries
        self._limit_bytes = limit_bytes
        self.entries: dict[bytes, CachedDecision] = {}
        """For lookups in the path of a request; only this class writes to it."""
        self._credentials: Counter[str] = Counter()
        self.size_bytes = 0
        """The approximate memory of all entries."""

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def credentials(self) -> KeysView[str]:
        """The UIDs of the credentials that entries belong to."""
        return self._credentials.keys()

    def put(self, key: bytes, entry: CachedDecision) -> None:
        """Add an entry as the newest."""
        self.remove(key)
        self.entries[key] = entry
        self.size_bytes += entry.size_bytes
        self._credentials[entry.credential] += 1
        while len(self.entries) > self._limit_entries or self.size_bytes > self._limit_bytes:
            self.remove(next(iter(self.entries)))

    def remove(self, key: bytes) -> None:
        """Remove an entry, if there is one."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return
        self.size_bytes -= entry.size_bytes
        self._credentials[entry.credential] -= 1
        if not self._credentials[entry.credential]:
            del self._credentials[entry.credential]

    def remove_all(self, is_refused: Callable[[CachedDecision], bool]) -> list[CachedDecision]:
        """Remove and return the entries that are refused now. It looks at each."""
        found = {key: entry for key, entry in self.entries.items() if is_refused(entry)}
        for key in found:
            self.remove(key)
        return list(found.values())

    def sweep(self, now: float) -> None:
        """Remove expired entries among the oldest."""
        oldest = [key for key, _ in zip(self.entries, range(SWEEP), strict=False)]
        for key in oldest:
            if self.entries[key].until <= now:
                self.remove(key)


class RefusalCache:
    """Refusals by the API server, by key, each for a short time."""

    def __init__(self, *, limit_entries: int) -> None:
        self._limit_entries = limit_entries
        self._until: dict[bytes, tuple[float, AuthzResponse]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def get(self, key: bytes, now: float) -> AuthzResponse | None:
        """Return the refusal, if it is still valid."""
        found = self._until.get(key)
        if found is None or found[0] <= now:
            return None
        return found[1]

    def put(self, key: bytes, until: float, response: AuthzResponse) -> None:
        """Add a refusal; a full cache removes the oldest."""
        self._until.pop(key, None)
        self._until[key] = (until, response)
        if len(self._until) > self._limit_entries:
            del self._until[next(iter(self._until))]
