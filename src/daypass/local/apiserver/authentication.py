"""Who sends a request: from the Authorization header to a user, as the API server reads it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

from daypass._core.clock import Clock
from daypass._core.secret import Secret
from daypass.local.apiserver.tokens import Issuer
from daypass.local.apiserver.users import ADMIN, ANONYMOUS, User

GOOD_FOR_SECONDS = 10.0
"""How long the API server believes what it has just verified, deletions or not."""
CACHED_TOKENS_LIMIT = 4096
EXTRA_SPACE = (
    "the provided Authorization header contains extra space before the bearer token, and is ignored"
)

_Answer = tuple[User, list[str]]


def bearer(header: str) -> tuple[str, list[str]]:
    """The token in a header (`""`: no credentials), and warnings (bearertoken.go).

    The scheme in any case; the second of the parts that single spaces separate. So two spaces, or
    a tab, are no credentials at all.
    """
    scheme, *rest = header.strip(" \t\n\v\f\r").split(" ", 2)
    if not rest or scheme.lower() != "bearer":
        return "", []
    return rest[0], [EXTRA_SPACE] if not rest[0] and len(rest) == 2 else []


@dataclass(slots=True, kw_only=True)
class Authenticator:
    """Finds the user of a header. Good answers are remembered, bad ones never."""

    issuer: Issuer
    clock: Clock
    admin_token: Secret
    anonymous: bool
    _good: OrderedDict[bytes, tuple[float, _Answer]] = field(default_factory=OrderedDict)

    def authenticate(
        self, header: str, audiences: tuple[str, ...]
    ) -> tuple[_Answer | None, list[str]]:
        """The user, for which of `audiences`, and warnings; None for no credentials at all.

        Raises InvalidTokenError.
        """
        token, warnings = bearer(header)
        if not token:
            return ((ANONYMOUS, list(audiences)) if self.anonymous else None), warnings
        if self._is_admin(token):
            return (ADMIN, list(audiences)), warnings
        return self._verify(token, audiences), warnings

    def forget(self) -> None:
        """Verify everything anew."""
        self._good.clear()

    def _is_admin(self, token: str) -> bool:
        admin = self.admin_token.reveal().encode()
        return compare_digest(token.encode("utf-8", "surrogateescape"), admin)

    def _verify(self, token: str, audiences: tuple[str, ...]) -> _Answer:
        key = sha256(repr((token, audiences)).encode()).digest()
        now = self.clock.monotonic()
        if (known := self._good.get(key)) is not None:
            if now < known[0]:
                return known[1]
            del self._good[key]
        answer = self.issuer.verify(token, audiences)
        self._good[key] = (now + GOOD_FOR_SECONDS, answer)
        if len(self._good) > CACHED_TOKENS_LIMIT:
            self._good.popitem(last=False)
        return answer
