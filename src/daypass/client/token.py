"""A short-lived token, the record of it in a cache, and when it is replaced.

It is used until shortly before it expires. It is refreshed in the background at a random point of
that time (SHARE_FIRST, SHARE_LATER); a failed refresh is tried again at a random point of what is
left, or as `retry` says, whichever is later. The decisions are pure functions of seconds, and
spread at random, as those of `retry` are. `python -m bench fleet` runs them over a day.

This module is on the cached path of `daypass token` and imports next to nothing.
"""

from __future__ import annotations

from daypass._core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import NoReturn

    from daypass._core.clock import Clock
    from daypass._core.secret import Secret

AUTHORIZATION = "Authorization"


class Token:
    """A short-lived, audience-bound token. It is not text: `Credentials.bearer` returns that.

    `value`: the token itself, a Secret; `expires_at`: aware UTC, by the API server's clock;
    `audiences`: the audiences it is valid for.
    """

    __slots__ = ("audiences", "expires_at", "value")

    def __init__(self, *, value: Secret, expires_at: datetime, audiences: tuple[str, ...]) -> None:
        self.value = value
        self.expires_at = expires_at
        self.audiences = audiences

    def __repr__(self) -> str:
        return f"Token(audiences={self.audiences!r}, expires_at={self.expires_at.isoformat()!r})"

    def __str__(self) -> str:
        from daypass._core.secret import text_for_logs

        return text_for_logs(self)

    def __format__(self, spec: str) -> NoReturn:
        from daypass._core.secret import not_a_text

        raise not_a_text(self)


def authorization(token: Token) -> str:
    """Return the value of an Authorization header with this token. Its `repr` hides it."""
    return _HeaderValue(f"Bearer {token.value.reveal()}")


class _HeaderValue(str):
    """For clients that print headers, which are in dicts and lists, when verbose or in errors."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return a text that differs between tokens: fsspec keeps its file systems by that."""
        from hashlib import sha256

        return f"'Bearer *** (sha256 {sha256(self.encode()).hexdigest()[:16]}...)'"


class CachedToken(Record):
    """A token, when it was requested, by both of this machine's clocks, and how long to use it.

    It is usable for `usable_seconds`, and for `fresh_seconds` of them no replacement is considered.
    A failed refresh defers the next one, and a replaced token is no longer fresh. `value`,
    `expires_at` (RFC 3339) and `audiences` (a JSON array) are text, as commands print them and as
    the shared cache stores them; `token` is the same for programs.
    """

    value: str
    expires_at: str
    audiences: str
    received_unix: float
    received_monotonic: float
    usable_seconds: float
    fresh_seconds: float
    _token: Token | None = None

    @property
    def token(self) -> Token:
        """The token, for programs."""
        token = self._token
        if token is None:
            import json

            from daypass._core.clock import parse_rfc3339
            from daypass._core.secret import Secret

            expires_at = parse_rfc3339(self.expires_at)
            assert expires_at is not None  # noqa: S101 - `rfc3339` wrote it
            token = self._token = Token(
                value=Secret(self.value),
                expires_at=expires_at,
                audiences=tuple(json.loads(self.audiences)),
            )
        return token

    def formatted(self, form: str) -> str:
        """Return it as `json`, `yaml`, a `header` for `curl -H @-`, or else the token alone."""
        # No field needs escaping, and `audiences` is JSON already.
        if form == "json":
            return (
                f'{{"token": "{self.value}", "expiresAt": "{self.expires_at}",'
                f' "audiences": {self.audiences}}}'
            )
        if form == "yaml":
            return (
                f'token: "{self.value}"\nexpiresAt: "{self.expires_at}"\n'
                f"audiences: {self.audiences}"
            )
        return f"Authorization: Bearer {self.value}" if form == "header" else self.value

    def age_seconds(self, clock: Clock) -> float:
        """Return how long ago it was requested.

        It is the larger interval of two clocks: one may stop while a machine sleeps, the other may
        be set back.
        """
        return max(clock.monotonic() - self.received_monotonic, clock.unix() - self.received_unix)

    def defer_refresh(self, age_seconds: float) -> None:
        """Keep it fresh until it has this age, but no longer than it is usable."""
        self.fresh_seconds = min(age_seconds, self.usable_seconds)

    def is_fresh(self, clock: Clock) -> bool:
        """Whether to use it without further thought. Called before every request: it is short."""
        fresh = self.fresh_seconds
        return (
            clock.monotonic() - self.received_monotonic < fresh
            and clock.unix() - self.received_unix < fresh
        )

    def is_usable(self, clock: Clock) -> bool:
        """Whether it may be used at all."""
        return self.age_seconds(clock) < self.usable_seconds


# -- when a token is replaced

SHARE_FIRST = (0.2, 0.75)
"""The part of its life in which the first token of a process is replaced: a wide one, since many
may have started at once. The same applies after a failure: many may have waited for that door."""
SHARE_LATER = (0.45, 0.75)
END_MARGIN_SECONDS = 10.0
"""A token is not used this shortly before its expiry: requests take time, and the gate's clock may
be ahead of the door's."""


def usable_seconds(lifetime_seconds: float) -> float:
    """Return for how long a token with this remaining lifetime is used."""
    return max(0.0, lifetime_seconds - min(END_MARGIN_SECONDS, lifetime_seconds / 10))


def fresh_seconds(usable: float, jitter: float, *, is_first: bool) -> float:
    """Return after how long a token that is usable for `usable` seconds is refreshed."""
    low, high = SHARE_FIRST if is_first else SHARE_LATER
    return usable * (low + (high - low) * jitter)


def deferred_seconds(left: float, jitter: float) -> float:
    """Return how long a failed refresh is deferred while the token is usable for `left` seconds.

    It is not urgent then. The delay is a share of what is left, so another attempt always fits in.
    """
    return left * (0.1 + 0.8 * jitter)
