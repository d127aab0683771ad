"""What every adapter asks of credentials, always for the same audience and lifetime."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.client.credentials import Credentials
    from daypass.client.token import Token

AUTHORIZATION = "Authorization"
UNAUTHORIZED = 401


class Bearer:
    """Tokens of one kind of some credentials.

    `token()`: one that is fresh; `await token_async()`: the same, without holding up the event
    loop. Both raise what `Credentials.token` does. `cached_token()`: the one in memory, or None.
    """

    __slots__ = ("_asked", "_credentials", "cached_token", "token", "token_async")

    def __init__(
        self, credentials: Credentials, audience: str | None, lifetime_seconds: int | None
    ) -> None:
        self._credentials = credentials
        self._asked = (audience, lifetime_seconds)
        self.cached_token = partial(credentials.cached_token, *self._asked)
        self.token = partial(credentials.token, *self._asked)
        self.token_async = partial(credentials.token_async, *self._asked)

    def __deepcopy__(self, memo: object) -> Bearer:
        """Itself: a copied configuration of a client shares what its credentials have got."""
        return self

    def renew(self, refused: Token) -> Token | None:
        """Another one than a server has just refused, or None where that one is as new as can be.

        Raises what `Credentials.token` does.
        """
        return _other(refused, self._credentials.renew(refused, *self._asked))

    async def renew_async(self, refused: Token) -> Token | None:
        """The same, without holding up the event loop."""
        return _other(refused, await self._credentials.renew_async(refused, *self._asked))


def header(token: Token) -> str:
    """The value of an Authorization header."""
    return f"Bearer {token.value.reveal()}"


def _other(refused: Token, renewed: Token) -> Token | None:
    return None if renewed.value == refused.value else renewed
