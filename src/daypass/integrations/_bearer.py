"""What adapters have in common: their tokens, TLS, bodies that are sent again, and a log."""

from __future__ import annotations

import logging
from functools import partial
from urllib.parse import urlsplit

from daypass.client.credentials import Credentials
from daypass.rules.reasons import MESSAGES, REASON_HEADER, Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from daypass.client.token import Token

    Close = Callable[[], object]
    Rewind = Callable[[], bool]

UNAUTHORIZED, FORBIDDEN = 401, 403
_LOGGER = logging.getLogger("daypass")


class Bearer:
    """The tokens of some credentials for one audience and lifetime.

    `token()` returns a usable token; `await token_async()` does so without blocking the event loop.
    Both raise what `Credentials.token` does. `cached_token()` returns the one in memory, or None.
    """

    __slots__ = ("_arguments", "_credentials", "cached_token", "token", "token_async")

    def __init__(
        self, credentials: Credentials, audience: str | None, lifetime_seconds: int | None
    ) -> None:
        self._credentials = credentials
        self._arguments = (audience, lifetime_seconds)
        self.cached_token = partial(credentials.cached_token, *self._arguments)
        self.token = partial(credentials.token, *self._arguments)
        self.token_async = partial(credentials.token_async, *self._arguments)

    def __deepcopy__(self, memo: object) -> Bearer:
        """Return itself: copies of a client's configuration share the cached tokens."""
        return self

    def renew(
        self, refused: Token, rewind: Rewind = lambda: True, *, close: Close = lambda: None
    ) -> Token | None:
        """Renew a refused token, and return the one with which to send the request again, or None.

        None if it was renewed only moments ago, or if the body can't be read again, which is
        logged: `rewind` returns False. Raises the errors of `Credentials.token`, after `close`.
        """
        try:
            renewed = self._credentials.renew(refused, *self._arguments)
        except BaseException:
            close()
            raise
        return _to_send_again(refused, renewed, rewind)

    async def renew_async(
        self, refused: Token, rewind: Rewind = lambda: True, *, close: Close = lambda: None
    ) -> Token | None:
        """Return what `renew` does, without blocking the event loop."""
        try:
            renewed = await self._credentials.renew_async(refused, *self._arguments)
        except BaseException:
            close()
            raise
        return _to_send_again(refused, renewed, rewind)


class Adapter:
    """What adapters with a class have in common: how they are made.

    `audience`, `lifetime_seconds`: instead of those of the credentials.
    """

    def __init__(
        self,
        credentials: Credentials,
        audience: str | None = None,
        lifetime_seconds: int | None = None,
    ) -> None:
        self._bearer = Bearer(credentials, audience, lifetime_seconds)


def _to_send_again(refused: Token, renewed: Token, rewind: Rewind) -> Token | None:
    if renewed.value == refused.value:
        return None
    if not rewind():
        _LOGGER.warning(
            "a request that was refused with 401 is not sent again, since its body can be read only"
            " once: send it anew, the token has been renewed"
        )
        return None
    return renewed


def log_refusal(
    code: int, headers: Mapping[str, str], method: str | None, url: object, hint: str = ""
) -> None:
    """Log why a gate refused a request: some clients show their users neither body nor headers.

    The URL's path is left out: it may contain a secret.
    """
    reason = headers.get(REASON_HEADER) if code in (UNAUTHORIZED, FORBIDDEN) else None
    if reason is not None and reason in tuple(Reason):
        to = urlsplit(str(url))
        origin = f"{to.scheme}://{to.netloc.rpartition('@')[2]}"
        message = f"{MESSAGES[Reason(reason)]} ({reason}){hint}"
        _LOGGER.warning("the gate refused %s %s: %s", method, origin, message)


def rewinder(body: Any) -> Rewind:
    """Return a function that moves a body back to its position now; False if it can't be reread."""
    if body is None or isinstance(body, bytes | bytearray | memoryview | str):
        return lambda: True
    try:
        position = body.tell() if body.seekable() else None
    except (AttributeError, OSError):
        position = None

    def rewind() -> bool:
        if position is not None:
            body.seek(position)
        return position is not None

    return rewind
