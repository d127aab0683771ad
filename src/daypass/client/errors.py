"""What can go wrong between a long-lived token and a short-lived one.

A shallow tree under DaypassError. Each error is made where the case is recognised, so that a case
has exactly one sentence; none holds a token, and all survive pickling.
"""

from __future__ import annotations

from daypass._core.errors import DaypassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.status import Status


class CredentialsError(DaypassError):
    """The credentials, or the question asked of them, are wrong; nobody was asked anything."""

    exit_code = 2


class DoorUnreachableError(DaypassError):
    """No answer of an API server came back: name, network, proxy, TLS handshake, or a 5xx.

    `retry_after_seconds` is what the answer asked for, or None.
    """

    def __init__(
        self,
        fact: str,
        hint: str = "",
        *,
        heals_by_itself: bool = True,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(fact, hint)
        self.heals_by_itself = heals_by_itself
        self.retry_after_seconds = retry_after_seconds


class DoorNotTrustedError(DaypassError):
    """The certificate that was shown is not one that the credentials allow to be believed."""


class NotADoorError(DaypassError):
    """Something answers there, and it is no door to a TokenRequest API."""


class ExchangeRefusedError(DaypassError):
    """The API server, its policy or the door said no. `status` is its whole answer."""

    def __init__(self, fact: str, hint: str = "", *, status: Status | None = None) -> None:
        super().__init__(fact, hint)
        self.status = status


class DoorBusyError(DaypassError):
    """Too many requests. `retry_after_seconds` is what the answer asked for, or None."""

    heals_by_itself = True

    def __init__(
        self, fact: str, hint: str = "", *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(fact, hint)
        self.retry_after_seconds = retry_after_seconds
