"""The errors of the exchange: a shallow tree under DaypassError.

Each error is created where its case is recognised. None contains a token, and all can be pickled.
"""

from __future__ import annotations

from daypass._core.errors import DaypassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.kubernetes.status import Status


class CredentialsError(DaypassError):
    """The credentials, audience or lifetime are invalid. Nothing was exchanged."""

    exit_code = 2


class TemporaryError(DaypassError):
    """`is_retried`: whether the exchange itself sends the request again."""

    def __init__(
        self,
        fact: str,
        hint: str = "",
        *,
        reason: str = "",
        heals_by_itself: bool = True,
        retry_after_seconds: float | None = None,
        is_retried: bool = False,
    ) -> None:
        super().__init__(fact, hint, reason=reason)
        self.heals_by_itself = heals_by_itself
        self.retry_after_seconds = retry_after_seconds
        self.is_retried = is_retried


class DoorUnreachableError(TemporaryError):
    """No response came from an API server: DNS, network, proxy or TLS failed, or it was a 5xx.

    `retry_after_seconds`: the response's Retry-After, or None.
    """


class DoorBusyError(TemporaryError):
    """There were too many requests. `retry_after_seconds`: the response's Retry-After, or None."""


class DoorNotTrustedError(DaypassError):
    """The server's certificate is not one that the credentials trust."""


class NotADoorError(DaypassError):
    """The response is not one of a door to a TokenRequest API."""


class ExchangeRefusedError(DaypassError):
    """The API server, its policy or the door refused the exchange. `status`: the whole Status."""

    def __init__(
        self, fact: str, hint: str = "", *, reason: str = "", status: Status | None = None
    ) -> None:
        super().__init__(fact, hint, reason=reason)
        self.status = status


def copied(error: DaypassError) -> DaypassError:
    """Return the same error without a traceback.

    One instance must not be raised by two threads, and one that is stored must not keep the frames
    of its exchange alive.
    """
    from copy import copy

    return copy(error)


def log_warning(what: str, error: DaypassError) -> None:
    """Log a failure that no caller waits for, to the logger `daypass`: on stderr by default."""
    import logging

    logging.getLogger("daypass").warning("%s: %s", what, error)
