"""What the gates of tests know: the credentials that exist, and denials by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable

from daypass.published.credentials import CredentialSet
from daypass.published.denials import Denials
from daypass.published.snapshot import Published
from support.tokens import SECRET_UID

NEVER = 4102444800
"""A closing time far ahead."""


def published(
    uids: Iterable[str] = (SECRET_UID,),
    *,
    tokens: Iterable[str] = (),
    objects: Iterable[str] = (),
    namespaces: Iterable[str] = (),
    closes_unix: int = NEVER,
    parts: int = 1,
) -> Published:
    """What is published where these credentials exist: that of `good_claims`, if left out."""
    denials = Denials(
        tokens=frozenset(tokens),
        objects=frozenset(objects),
        namespaces=frozenset(namespaces),
        closes_unix=closes_unix,
    )
    credentials = CredentialSet.of(uids, closes_unix, parts=parts)
    return Published(credentials=credentials, denials=denials)


def closing_in(seconds: float) -> int:
    """A closing time by the clock of this machine, which Envoy reads."""
    return int(time.time() + seconds)  # noqa: TID251 - Envoy reads the machine's clock, and no other
