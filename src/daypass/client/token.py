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


class CachedToken:
    """A token as it came: when, by both of this machine's clocks, and for how long it is of use.

    It is handed out for `usable_seconds`, and for `quiet_seconds` of them without a thought. The
    latter changes: after a failed refresh it is put off, and a replaced grant has none left.
    """

    __slots__ = ("quiet_seconds", "received_monotonic", "received_unix", "token", "usable_seconds")

    def __init__(
        self,
        token: Token,
        *,
        unix: float,
        monotonic: float,
        usable_seconds: float,
        quiet_seconds: float = 0.0,
    ) -> None:
        self.token = token
        self.received_unix = unix
        self.received_monotonic = monotonic
        self.usable_seconds = usable_seconds
        self.quiet_seconds = quiet_seconds

    def age_seconds(self, clock: Clock) -> float:
        """How long ago it was asked for.

        The larger of what the two clocks say: one may stand still while a machine sleeps, the
        other may be set back.
        """
        return max(clock.monotonic() - self.received_monotonic, clock.unix() - self.received_unix)

    def rest(self, seconds: float) -> None:
        """Be quiet until it is this old; never for longer than it is usable."""
        self.quiet_seconds = min(seconds, self.usable_seconds)

    def is_quiet(self, clock: Clock) -> bool:
        """Whether to hand it out and be done. Asked before every request, so it is short."""
        quiet = self.quiet_seconds
        return (
            clock.monotonic() - self.received_monotonic < quiet
            and clock.unix() - self.received_unix < quiet
        )

    def is_usable(self, clock: Clock) -> bool:
        """Whether it may be handed out at all."""
        return self.age_seconds(clock) < self.usable_seconds
