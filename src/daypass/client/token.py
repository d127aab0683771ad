"""A short-lived token, and for how long it is worth handing out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from daypass._core.clock import Clock
    from daypass._core.secret import Secret


class Token:
    """A short-lived, audience-bound token.

    `value`: the token, for a header; `expires_at`: aware UTC, as the API server says, by its clock;
    `audiences`: whom it is for; `warnings`: what the API server remarked, such as a shortened
    lifetime.
    """

    __slots__ = ("audiences", "expires_at", "value", "warnings")

    def __init__(
        self,
        *,
        value: Secret,
        expires_at: datetime,
        audiences: tuple[str, ...],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.value = value
        self.expires_at = expires_at
        self.audiences = audiences
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"Token(audiences={self.audiences!r}, expires_at={self.expires_at.isoformat()!r})"


class Grant:
    """A token as it came: when, by both of this machine's clocks, and for how long it is fresh."""

    __slots__ = ("_monotonic", "_unix", "fresh_seconds", "token")

    def __init__(
        self, token: Token, *, unix: float, monotonic: float, fresh_seconds: float
    ) -> None:
        self.token = token
        self.fresh_seconds = fresh_seconds
        self._unix = unix
        self._monotonic = monotonic

    @property
    def received_unix(self) -> float:
        """When it was asked for, by this machine's clock."""
        return self._unix

    def is_fresh(self, clock: Clock) -> bool:
        """Whether to hand it out still.

        Both clocks must agree: the monotonic one may stand still while a laptop sleeps, the other
        may be set back.
        """
        fresh = self.fresh_seconds
        return clock.monotonic() - self._monotonic < fresh and clock.unix() - self._unix < fresh


def fresh_seconds(lifetime_seconds: float) -> float:
    """For how long a token that has this long to live is handed out again.

    A fifth of its life is kept back, and a minute at least, so that whoever gets it can still use
    it.
    """
    return max(0.0, lifetime_seconds - max(60.0, lifetime_seconds / 5))
