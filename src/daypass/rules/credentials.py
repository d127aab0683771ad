"""The published set of credentials that exist, in parts.

A credential is known by its UID: that of the Secret that a token is bound to or, for a token that
is bound to no Secret, that of its ServiceAccount. A part holds the UIDs of one range, so that a
change is a change of one small part, and so that one part is looked up for a request.

Each part has a closing time of its own. Its readers keep the last one that they received: a part
that is no longer renewed refuses every token of its range from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum

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


class Presence(Enum):
    """What the set says about a UID at a time."""

    EXISTS = "exists"
    UNKNOWN = "unknown"
    """It is not in the set: deleted, newer than the last publication, or not watched."""
    CLOSED = "closed"
    """Its part is missing or out of date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialPart:
    """The UIDs of one range. `closes_unix`: from then on, every token of the range is refused
    (whole seconds, UTC); 0: now.
    """

    uids: Set[str] = frozenset()
    closes_unix: int = 0


CLOSED_PART = CredentialPart()


def part_of(uid: str, parts: int) -> int:
    """Return the number of the part that has this UID, of so many. Raises ValueError for others."""
    return int(uid[:_PREFIX_LENGTH], 16) * parts // _PREFIXES


def split_uids(uids: Iterable[str], parts: int) -> list[frozenset[str]]:
    """Return the UIDs of each part. Raises ValueError for other than UIDs."""
    found: list[set[str]] = [set() for _ in range(parts)]
    for uid in uids:
        if not UID.fullmatch(uid):
            raise ValueError(f"{uid[:40]!r} is no UID")
        found[part_of(uid, parts)].add(uid)
    return list(map(frozenset, found))
