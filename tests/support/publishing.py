"""What the gates of tests know: the credentials that exist, and denials by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable

from daypass.rules.published import (
    CLUSTER_SHARDS,
    Denials,
    Published,
    Shard,
    credential_of,
    split_credentials,
)
from support.tokens import ACCOUNT_UID, SECRET_UID

NEVER = 4102444800
"""A closing time far ahead."""
CREDENTIAL = credential_of(SECRET_UID, ACCOUNT_UID)
"""That of `good_claims`."""


def pairs(uids: Iterable[str], account_uid: str = ACCOUNT_UID) -> frozenset[str]:
    """The credentials of one ServiceAccount: that of `good_claims`, if left out."""
    return frozenset(credential_of(uid, account_uid) for uid in uids)


def published(
    credentials: Iterable[str] = (SECRET_UID,),
    *,
    closes_unix: int = NEVER,
    shards: int = 1,
    **denied: Iterable[str],
) -> Published:
    """What is published where these credentials exist: that of `good_claims`, if left out. A UID
    alone stands for the Secret of its ServiceAccount.
    """
    denials = denied_by_hand(closes_unix, **denied)
    return Published(shards=shards_of(credentials, closes_unix, shards=shards), denials=denials)


def shards_of(
    credentials: Iterable[str],
    closes_unix: int = NEVER,
    *,
    shards: int = CLUSTER_SHARDS,
) -> tuple[Shard, ...]:
    """A set of these credentials, all of whose shards close at one time."""
    whole = (it if "/" in it else credential_of(it, ACCOUNT_UID) for it in credentials)
    split = split_credentials(whole, shards)
    return tuple(Shard(credentials=each, closes_unix=closes_unix) for each in split)


def denied_by_hand(
    closes_unix: int = NEVER,
    *,
    tokens: Iterable[str] = (),
    objects: Iterable[str] = (),
    namespaces: Iterable[str] = (),
) -> Denials:
    """Denials by hand."""
    named = {"jti": tokens, "uid": objects, "namespace": namespaces}
    keys = frozenset(f"{kind}.{name}" for kind, names in named.items() for name in names)
    return Denials(keys=keys, closes_unix=closes_unix)


def closing_in(seconds: float) -> int:
    """A closing time by the clock of this machine, which Envoy reads."""
    return int(time.time() + seconds)  # noqa: TID251 - Envoy reads the machine's clock, and no other
