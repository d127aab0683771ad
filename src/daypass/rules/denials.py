"""Denials by hand: what an administrator refuses at the gate until a time.

`daypass gate deny` writes them into a ConfigMap, one entry each: its key is `jti.JTI`, `uid.UID` or
`namespace.NAME`, its value the time at which it expires (RFC 3339, UTC). So entries of two people
never conflict, and one is removed by removing its key. The watch publishes those in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from daypass._core.clock import rfc3339, utc

LIMIT = 1000
"""Denials in force at most; with more, the gate is closed."""


class DeniedKind(StrEnum):
    """What a denial names."""

    TOKEN = "jti"  # noqa: S105 - a kind
    """One token."""
    OBJECT = "uid"
    """All tokens that are bound to a Secret, or are of a ServiceAccount."""
    NAMESPACE = "namespace"
    """All tokens of a namespace."""


KEY = re.compile(rf"({'|'.join(DeniedKind)})\.([A-Za-z0-9._-]{{1,200}})", re.ASCII)
"""A denial's key: its kind and its name. A ConfigMap's key can hold no other characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """An entry. `until_unix`: when it expires (seconds, UTC)."""

    kind: DeniedKind
    name: str
    until_unix: float

    @property
    def key(self) -> str:
        """Its key in the ConfigMap."""
        return f"{self.kind}.{self.name}"

    @property
    def until(self) -> str:
        """Its value in the ConfigMap."""
        return rfc3339(utc(self.until_unix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Denials:
    """The keys of what is denied now. `closes_unix`: from then on, every token is refused (whole
    seconds, UTC); 0: now.
    """

    keys: Set[str] = frozenset()
    closes_unix: int = 0

    @classmethod
    def of(cls, denials: Iterable[Denial], now_unix: float, closes_unix: int) -> Denials:
        """Return those in force at a time; closed if they are more than LIMIT."""
        keys = frozenset(denial.key for denial in denials if denial.until_unix > now_unix)
        return cls(keys=keys, closes_unix=closes_unix) if len(keys) <= LIMIT else cls()

    def __len__(self) -> int:
        return len(self.keys)

    def is_closed(self, now_unix: float) -> bool:
        """Return whether they are missing or out of date."""
        return now_unix >= self.closes_unix

    def names(self, kind: DeniedKind) -> list[str]:
        """Return the sorted names of what is denied of a kind."""
        return sorted(key.partition(".")[2] for key in self.keys if key.startswith(f"{kind}."))

    def denies(self, *, token: str, objects: Iterable[str], namespace: str) -> bool:
        """Return whether a token is denied by its `jti`, by a UID that it names, or by its
        namespace.
        """
        keys = (f"jti.{token}", f"namespace.{namespace}", *(f"uid.{uid}" for uid in objects))
        return not self.keys.isdisjoint(keys)


def read_denials(data: Mapping[str, str]) -> Iterator[Denial]:
    """Yield the entries of the ConfigMap's data. An unreadable time means: without end."""
    for key, value in data.items():
        if match := KEY.fullmatch(key):
            yield Denial(kind=DeniedKind(match[1]), name=match[2], until_unix=_until(value))


def _until(value: object) -> float:
    try:
        until = datetime.fromisoformat(str(value))
    except ValueError:
        return float("inf")
    return until.replace(tzinfo=until.tzinfo or UTC).timestamp()
