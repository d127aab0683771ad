"""What the gates of tests know: the credentials that exist, and denials by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable

from daypass.rules.credentials import (
    CLUSTER_PARTS,
    Credential,
    CredentialPart,
    split_credentials,
)
from daypass.rules.denials import Denials
from daypass.rules.published import Published
from support.tokens import ACCOUNT_UID, SECRET_UID

NEVER = 4102444800
"""A closing time far ahead."""
CREDENTIAL = Credential(SECRET_UID, ACCOUNT_UID)
"""That of `good_claims`."""


def pairs(uids: Iterable[str], account_uid: str = ACCOUNT_UID) -> frozenset[Credential]:
    """The credentials of one ServiceAccount: that of `good_claims`, if left out."""
    return frozenset(Credential(uid, account_uid) for uid in uids)


def published(
    credentials: Iterable[Credential | str] = (SECRET_UID,),
    *,
    closes_unix: int = NEVER,
    parts: int = 1,
    **denied: Iterable[str],
) -> Published:
    """What is published where these credentials exist: that of `good_claims`, if left out. A UID
    alone stands for the Secret of its ServiceAccount.
    """
    denials = denied_by_hand(closes_unix, **denied)
    return Published(parts=parts_of(credentials, closes_unix, parts=parts), denials=denials)


def parts_of(
    credentials: Iterable[Credential | str],
    closes_unix: int = NEVER,
    *,
    parts: int = CLUSTER_PARTS,
) -> tuple[CredentialPart, ...]:
    """A set of these credentials, all of whose parts close at one time."""
    whole = (
        it if isinstance(it, Credential) else Credential(it, ACCOUNT_UID) for it in credentials
    )
    split = split_credentials(whole, parts)
    return tuple(CredentialPart(credentials=each, closes_unix=closes_unix) for each in split)


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
