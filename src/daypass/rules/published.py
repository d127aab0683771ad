"""What is published: the set of credentials that exist, in shards, and denials by hand.

A credential is the text `UID/UID`, of a Secret and of its own ServiceAccount; for a token that is
bound to nothing, the ServiceAccount's twice. The API server binds tokens to any Secret of the
namespace, so a token's own pair is looked up. A shard holds the credentials whose first UID is in
one range, so that a change is a change of one small shard, and so that one shard is looked up for a
request.

Each shard has a closing time of its own. Its readers keep the last one that they received: a shard
that is no longer renewed refuses every token of its range from then on.

`daypass gate deny` writes denials into a ConfigMap, one entry each: its key is `jti.JTI`, `uid.UID`
or `namespace.NAME`, its value the time at which it expires (RFC 3339, UTC). So entries of two
people never conflict, and one is removed by removing its key. The watch publishes those in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, StrEnum

from daypass._core.clock import rfc3339, utc

LIMIT_DENIALS = 1000
"""Denials in force at most; with more, the gate is closed."""


class DeniedKind(StrEnum):
    """What a denial names."""

    TOKEN = "jti"  # noqa: S105 - a kind
    """One token."""
    OBJECT = "uid"
    """All tokens that are bound to a Secret, or are of a ServiceAccount."""
    NAMESPACE = "namespace"
    """All tokens of a namespace."""


DENIAL_KEY = re.compile(rf"({'|'.join(DeniedKind)})\.([A-Za-z0-9._-]{{1,200}})", re.ASCII)
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
        """Return those in force at a time; closed if they are more than LIMIT_DENIALS."""
        keys = frozenset(denial.key for denial in denials if denial.until_unix > now_unix)
        return cls(keys=keys, closes_unix=closes_unix) if len(keys) <= LIMIT_DENIALS else cls()

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
        if match := DENIAL_KEY.fullmatch(key):
            yield Denial(kind=DeniedKind(match[1]), name=match[2], until_unix=_until(value))


def _until(value: object) -> float:
    try:
        until = datetime.fromisoformat(str(value))
    except ValueError:
        return float("inf")
    return until.replace(tzinfo=until.tzinfo or UTC).timestamp()


CLUSTER_SHARDS = 64
"""Shards of the set in a cluster: each is one object, of at most 100 KB with 20,000 credentials."""
LOCAL_SHARDS = 8
"""Shards of the set on one machine. Envoy takes an inotify instance for each file that it follows
(source/common/filesystem/inotify/watcher_impl.cc), ten without them, and Linux gives a user 128.
"""
UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""The form of Kubernetes' UIDs. Nothing else is ever in the set."""
_CREDENTIAL = re.compile(rf"{UID.pattern}/{UID.pattern}", re.ASCII)
CREDENTIALS = "daypass-gate-credentials"
"""The published shards; `-00` to `-63` follow."""
DENIALS = "daypass-gate-denials"
"""The published denials."""


def shard_name(number: int) -> str:
    """Return the name of a shard: of its ConfigMap, and of Envoy's filter."""
    return f"{CREDENTIALS}-{number:02}"


NAMES = (*map(shard_name, range(CLUSTER_SHARDS)), DENIALS)
"""The names of the ConfigMaps, of Envoy's filters, and of the gateway's objects with their
configs."""


def credential_of(uid: str, account_uid: str) -> str:
    """Return the credential of a Secret and its ServiceAccount, as Envoy looks it up."""
    return f"{uid}/{account_uid}"


def is_credential(text: str) -> bool:
    """Return whether a text is two UIDs of Kubernetes' form. None contains the separator."""
    return _CREDENTIAL.fullmatch(text) is not None


def shard_of(credential: str, shards: int) -> int:
    """Return the number of the shard that has this credential, of so many. Its first UID is enough.

    Raises ValueError.
    """
    return int(credential[:2], 16) * shards // 256


def split_credentials(credentials: Iterable[str], shards: int) -> list[frozenset[str]]:
    """Return the credentials of each shard. Raises ValueError for other than pairs of UIDs."""
    found: list[set[str]] = [set() for _ in range(shards)]
    for each in credentials:
        if not is_credential(each):
            raise ValueError(f"{each[:80]!r} is no pair of UIDs")
        found[shard_of(each, shards)].add(each)
    return list(map(frozenset, found))


class Presence(Enum):
    """What the set says about a credential at a time."""

    EXISTS = "exists"
    ABSENT = "absent"
    """It is not in the set: deleted, newer than the last publication, or not watched."""
    CLOSED = "closed"
    """Its shard is missing or out of date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The credentials of one range. `closes_unix`: from then on, every token of the range is
    refused (whole seconds, UTC); 0: now.
    """

    credentials: Set[str] = frozenset()
    closes_unix: int = 0

    @property
    def uids(self) -> frozenset[str]:
        """Those of its Secrets, and of ServiceAccounts whose tokens may be bound to nothing."""
        return frozenset(each.partition("/")[0] for each in self.credentials)


CLOSED_SHARD = Shard()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The set of credentials that exist, its shards in the order of their ranges, and denials."""

    shards: tuple[Shard, ...]
    denials: Denials

    @classmethod
    def closed(cls, shards: int) -> Published:
        """Return what refuses every token."""
        return cls(shards=(CLOSED_SHARD,) * shards, denials=Denials())

    @property
    def count(self) -> int:
        """How many credentials exist."""
        return sum(len(shard.credentials) for shard in self.shards)

    def find(self, credential: str, now_unix: float) -> Presence:
        """Return whether a credential exists. Anything but a pair of UIDs is unknown."""
        if not is_credential(credential):
            return Presence.ABSENT
        shard = self.shards[shard_of(credential, len(self.shards))]
        if now_unix >= shard.closes_unix:
            return Presence.CLOSED
        return Presence.EXISTS if credential in shard.credentials else Presence.ABSENT

    def closed_shards(self, now_unix: float) -> frozenset[int]:
        """Return the shards that refuse every token: all, if the denials are out of date."""
        is_closed = self.denials.is_closed(now_unix)
        numbered = enumerate(self.shards)
        return frozenset(n for n, shard in numbered if is_closed or now_unix >= shard.closes_unix)

    def updated(self, number: int | None, other: Published) -> Published:
        """Return the same with a shard of another value or, without a number, with its denials."""
        if number is None:
            return replace(self, denials=other.denials)
        return self.with_shard(number, other.shards[number])

    def with_shard(self, number: int, shard: Shard) -> Published:
        """Return the same with another shard."""
        return replace(self, shards=(*self.shards[:number], shard, *self.shards[number + 1 :]))
