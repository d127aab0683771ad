"""The tokens of an adapter, with one audience and lifetime; and bodies that are sent again."""

from __future__ import annotations

import warnings
from functools import partial

from daypass.client.credentials import Credentials, not_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass.client.token import Token

AUTHORIZATION = "Authorization"
UNAUTHORIZED = 401


class Bearer:
    """The tokens of some credentials for one audience and lifetime.

    All adapters create one, so it is what checks that they got Credentials: it raises
    CredentialsError for a path and for anything else.

    `token()` returns a usable token; `await token_async()` does so without blocking the event loop.
    Both raise what `Credentials.token` does. `cached_token()` returns the one in memory, or None.
    """

    __slots__ = ("_arguments", "_credentials", "cached_token", "token", "token_async")

    def __init__(
        self, credentials: Credentials, audience: str | None, lifetime_seconds: int | None
    ) -> None:
        if not isinstance(credentials, Credentials):
            raise not_credentials(credentials)
        self._credentials = credentials
        self._arguments = (audience, lifetime_seconds)
        self.cached_token = partial(credentials.cached_token, *self._arguments)
        self.token = partial(credentials.token, *self._arguments)
        self.token_async = partial(credentials.token_async, *self._arguments)

    def __deepcopy__(self, memo: object) -> Bearer:
        """Return itself: copies of a client's configuration share the cached tokens."""
        return self

    def renew(self, refused: Token, *, can_send_again: bool) -> Token | None:
        """Renew a refused token, and return the one to send the request again with.

        None if it was renewed only moments ago, or if the body can't be read again, which is a
        warning. Raises the errors of `Credentials.token`.
        """
        renewed = self._credentials.renew(refused, *self._arguments)
        return _to_send_again(refused, renewed, can_send_again)

    async def renew_async(self, refused: Token, *, can_send_again: bool) -> Token | None:
        """Return what `renew` does, without blocking the event loop."""
        renewed = await self._credentials.renew_async(refused, *self._arguments)
        return _to_send_again(refused, renewed, can_send_again)


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


class HiddenText(str):
    """The value of an Authorization header that `repr` does not show.

    It is for clients that print the headers of each request when they are verbose.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'Bearer ***'"


def _to_send_again(refused: Token, renewed: Token, can_send_again: bool) -> Token | None:
    if renewed.value == refused.value:
        return None
    if not can_send_again:
        warnings.warn(
            "the server refused the token with 401, and the request was not sent again: its body"
            " can be read only once. The token has been renewed: send the request anew",
            stacklevel=2,
        )
        return None
    return renewed


def rewinder(body: object) -> Callable[[], object] | None:
    """Return a function that moves a body back to its position now; None if it can't be reread."""
    if body is None or isinstance(body, bytes | bytearray | memoryview | str):
        return lambda: None
    try:
        position = body.tell()  # type: ignore[attr-defined]
        if not body.seekable():  # type: ignore[attr-defined]
            return None
    except (AttributeError, OSError):
        return None
    return lambda: body.seek(position)  # type: ignore[attr-defined]
