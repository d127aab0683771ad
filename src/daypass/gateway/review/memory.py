"""What the API server has said, for as long as it counts; bounded in count and bytes.

Nothing here is a token: what is remembered is found by the SHA-256 of the exact header that brought
it, so that another header (junk after the token, another scheme) never finds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from sys import intern

from daypass.gateway.review.answers import Answer

LIMIT_ENTRIES = 200_000
LIMIT_BYTES = 128 * 1024 * 1024
ENTRY_BYTES = 400
"""Of an entry without its `jti`, with what the tables around it take: measured, and rounded up."""
SWEEP = 2_000
"""How many of the oldest entries are looked at for their end at a time."""


class Entry:
    """A good answer. Times are seconds of a monotonic clock; names are those of the claims.

    `fresh_until`: from then on it is to be asked about again, beside; from `until` on it is gone.
    """

    __slots__ = ("account", "answer", "fresh_until", "jti", "namespace", "secret", "until")

    def __init__(
        self,
        answer: Answer,
        *,
        fresh_until: float,
        until: float,
        secret: str = "",
        account: str = "",
        jti: str = "",
        namespace: str = "",
    ) -> None:
        self.answer = answer
        self.fresh_until = fresh_until
        self.until = until
        self.secret = intern(secret)  # one for all tokens that hang on it
        self.account = intern(account)
        self.jti = jti
        self.namespace = intern(namespace)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return ENTRY_BYTES + len(self.jti)


class Memory:
    """Good answers by key, the oldest first. What is full forgets the oldest."""

    def __init__(
        self, *, limit_entries: int = LIMIT_ENTRIES, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._limit_entries = limit_entries
        self._limit_bytes = limit_bytes
        self.entries: dict[bytes, Entry] = {}
        """For lookups on the path of a request; nobody else writes to it."""
        self._named: Counter[str] = Counter()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def size_bytes(self) -> int:
        """About how much memory all entries take."""
        return self._bytes

    def put(self, key: bytes, entry: Entry) -> None:
        """Remember an answer, as the newest."""
        self.forget(key)
        self.entries[key] = entry
        self._bytes += entry.size_bytes
        self._named.update(_uids(entry))
        while len(self.entries) > self._limit_entries or self._bytes > self._limit_bytes:
            self.forget(next(iter(self.entries)))

    def forget(self, key: bytes) -> None:
        """Remember it no more, if it was there."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= entry.size_bytes
        for uid in _uids(entry):
            self._named[uid] -= 1
            if not self._named[uid]:
                del self._named[uid]

    def forget_named(
        self, uids: Iterable[str], tokens: Set[str], namespaces: Set[str]
    ) -> list[Entry]:
        """Forget what hangs on one of these; gives back what was forgotten."""
        gone = {uid for uid in uids if uid in self._named}
        if not (gone or tokens or namespaces):
            return []  # as nearly always: all entries are looked at only for one that concerns them
        found = {
            key: entry
            for key, entry in self.entries.items()
            if entry.secret in gone
            or entry.account in gone
            or entry.jti in tokens
            or entry.namespace in namespaces
        }
        for key in found:
            self.forget(key)
        return list(found.values())

    def sweep(self, now: float) -> None:
        """Forget what has ended among the oldest."""
        oldest = [key for key, _ in zip(self.entries, range(SWEEP), strict=False)]
        for key in oldest:
            if self.entries[key].until <= now:
                self.forget(key)


def _uids(entry: Entry) -> set[str]:
    return {uid for uid in (entry.secret, entry.account) if uid}


class Refusals:
    """The keys of tokens that the API server has just refused, each until its end."""

    def __init__(self, *, limit_entries: int) -> None:
        self._limit_entries = limit_entries
        self._until: dict[bytes, tuple[float, Answer]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def get(self, key: bytes, now: float) -> Answer | None:
        """The answer to it, if it still counts."""
        found = self._until.get(key)
        if found is None or found[0] <= now:
            return None
        return found[1]

    def put(self, key: bytes, until: float, answer: Answer) -> None:
        """Remember it until then; the oldest makes room."""
        self._until.pop(key, None)
        self._until[key] = (until, answer)
        if len(self._until) > self._limit_entries:
            del self._until[next(iter(self._until))]
