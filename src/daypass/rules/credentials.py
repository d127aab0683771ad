"""The published set of credentials that exist, in parts.

A credential is a pair of UIDs: of a Secret, and of its own ServiceAccount. The API server binds
tokens to any Secret of the namespace, so a token's own pair is looked up. A part holds the pairs
whose first UID is in one range, so that a change is a change of one small part, and so that one
part is looked up for a request.

Each part has a closing time of its own. Its readers keep the last one that they received: a part
that is no longer renewed refuses every token of its range from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

CLUSTER_PARTS = 64
"""Parts of the set in a cluster: each is one object, of at most 100 KB with 20,000 credentials."""
LOCAL_PARTS = 8
"""Parts of the set on one machine. Envoy takes an inotify instance for each file that it follows
(source/common/filesystem/inotify/watcher_impl.cc), ten without them, and Linux gives a user 128.
"""
_PREFIX_LENGTH, _PREFIXES = 2, 256
"""The characters of a UID that say in which part it is."""
UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""The form of Kubernetes' UIDs. Nothing else is ever in the set."""
_PAIR = re.compile(rf"{UID.pattern}/{UID.pattern}", re.ASCII)


class Credential(NamedTuple):
    """The UIDs of the Secret that a token is bound to, and of the token's ServiceAccount; for a
    token that is bound to nothing, the ServiceAccount's twice.
    """

    uid: str
    account_uid: str

    @property
    def key(self) -> str:
        """Both UIDs in full, as Envoy looks them up. No UID contains the separator."""
        return f"{self.uid}/{self.account_uid}"

    @property
    def is_valid(self) -> bool:
        """Whether both have the form of Kubernetes' UIDs."""
        return bool(_PAIR.fullmatch(self.key))


class Presence(Enum):
    """What the set says about a credential at a time."""

    EXISTS = "exists"
    UNKNOWN = "unknown"
    """It is not in the set: deleted, newer than the last publication, or not watched."""
    CLOSED = "closed"
    """Its part is missing or out of date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialPart:
    """The credentials of one range. `closes_unix`: from then on, every token of the range is
    refused (whole seconds, UTC); 0: now.
    """

    credentials: Set[Credential] = frozenset()
    closes_unix: int = 0

    @property
    def uids(self) -> frozenset[str]:
        """Those of its Secrets, and of ServiceAccounts whose tokens may be bound to nothing."""
        return frozenset(each.uid for each in self.credentials)


CLOSED_PART = CredentialPart()


def part_of(uid: str, parts: int) -> int:
    """Return the number of the part that has this first UID, of so many. Raises ValueError."""
    return int(uid[:_PREFIX_LENGTH], 16) * parts // _PREFIXES


def split_credentials(credentials: Iterable[Credential], parts: int) -> list[frozenset[Credential]]:
    """Return the credentials of each part. Raises ValueError for other than pairs of UIDs."""
    found: list[set[Credential]] = [set() for _ in range(parts)]
    for each in credentials:
        if not each.is_valid:
            raise ValueError(f"{each.key[:80]!r} is no pair of UIDs")
        found[part_of(each.uid, parts)].add(each)
    return list(map(frozenset, found))
