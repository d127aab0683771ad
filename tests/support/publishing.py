"""What the gates of tests know: the credentials that exist, and denials by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable

from daypass.rules.credentials import CLUSTER_PARTS, CredentialPart, split_uids
from daypass.rules.denials import Denials
from daypass.rules.published import Published
from support.tokens import SECRET_UID

NEVER = 4102444800
"""A closing time far ahead."""


def published(
    uids: Iterable[str] = (SECRET_UID,),
    *,
    closes_unix: int = NEVER,
    parts: int = 1,
    **denied: Iterable[str],
) -> Published:
    """What is published where these credentials exist: that of `good_claims`, if left out."""
    denials = denied_by_hand(closes_unix, **denied)
    return Published(parts=parts_of(uids, closes_unix, parts=parts), denials=denials)


def parts_of(
    uids: Iterable[str], closes_unix: int = NEVER, *, parts: int = CLUSTER_PARTS
) -> tuple[CredentialPart, ...]:
    """A set of these credentials, all of whose parts close at one time."""
    split = split_uids(uids, parts)
    return tuple(CredentialPart(uids=each, closes_unix=closes_unix) for each in split)


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
