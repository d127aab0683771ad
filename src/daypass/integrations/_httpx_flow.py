"""The auth flow of one request, for httpx and for its fork httpx2, whose interfaces are the same.

One generator yields the tokens that it needs and the requests to send; a sync and an async driver
provide them.
"""

from __future__ import annotations

from contextlib import suppress

from daypass.client.token import authorization
from daypass.integrations._bearer import AUTHORIZATION, UNAUTHORIZED, Adapter, Bearer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Any

    from daypass.client.token import Token

    # Of either library. Their classes have no common base.
    Request = Any
    Response = Any

_SENT = "daypass.token"
"""The extension of a request that holds its token."""


class TokenNeeded:
    """The flow needs a token; if `refused` is set, another one than that."""

    __slots__ = ("refused",)

    def __init__(self, refused: Token | None = None) -> None:
        self.refused = refused


class AuthFlow(Adapter):
    """A mixin that implements the auth flows of `httpx.Auth`."""

    def sync_auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """Yield the request with a token, and once more after a 401. `httpx.Client` calls it."""
        steps = _steps(self._bearer, request)
        with suppress(StopIteration):
            step = next(steps)
            while True:
                if not isinstance(step, TokenNeeded):
                    step = steps.send((yield step))
                elif step.refused is None:
                    step = steps.send(self._bearer.token())
                else:
                    step = steps.send(self._bearer.renew(step.refused))

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """Do the same for `httpx.AsyncClient`."""
        steps = _steps(self._bearer, request)
        with suppress(StopIteration):
            step = next(steps)
            while True:
                if not isinstance(step, TokenNeeded):
                    step = steps.send((yield step))
                elif step.refused is None:
                    step = steps.send(await self._bearer.token_async())
                else:
                    step = steps.send(await self._bearer.renew_async(step.refused))


def _steps(bearer: Bearer, request: Request) -> Generator[Any, Any, None]:
    if not _needs_token(request):
        yield request
        return
    token = bearer.cached_token() or (yield TokenNeeded())
    _put(token, request)
    response = yield request
    last = response.request
    if response.status_code == UNAUTHORIZED and last.headers.get(AUTHORIZATION) == authorization(
        token
    ):
        renewed = yield TokenNeeded(refused=token)
        if renewed is not None and last is request and _can_be_sent_again(request):
            _put(renewed, request)
            yield request


def _needs_token(request: Request) -> bool:
    """Return False if the request has another token, or none after a redirect elsewhere."""
    sent = request.extensions.get(_SENT)
    if sent is None:
        return AUTHORIZATION not in request.headers
    return bool(request.headers.get(AUTHORIZATION) == authorization(sent))


def _put(token: Token, request: Request) -> None:
    request.headers[AUTHORIZATION] = authorization(token)
    request.extensions[_SENT] = token


def _can_be_sent_again(request: Request) -> bool:
    """Return whether its body is in memory, or is a form whose files can be read again."""
    with suppress(RuntimeError):  # RequestNotRead
        return request.content is not None
    fields = getattr(request.stream, "fields", None)  # of a multipart form
    if fields is None:
        return False
    files = [field.file for field in fields if hasattr(field, "file")]
    return all(isinstance(file, str | bytes) or file.seekable() for file in files)
