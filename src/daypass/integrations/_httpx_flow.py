"""The auth flow of one request, for httpx and for its fork httpx2, with the same interfaces."""

from __future__ import annotations

from contextlib import suppress

from daypass.client.token import authorization
from daypass.integrations._bearer import AUTHORIZATION, UNAUTHORIZED, Adapter

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


class AuthFlow(Adapter):
    """A mixin that implements the auth flows of `httpx.Auth`."""

    def sync_auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """Yield the request with a token, and once more after a 401. `httpx.Client` calls it."""
        if not _needs_token(request):
            yield request
            return
        token = self._bearer.token()
        _put(token, request)
        response = yield request
        if _is_refused(token, response):
            renewed = self._bearer.renew(token)
            if renewed is not None and _can_be_sent_again(request, response):
                _put(renewed, request)
                yield request

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """Do the same for `httpx.AsyncClient`."""
        if not _needs_token(request):
            yield request
            return
        token = self._bearer.cached_token() or await self._bearer.token_async()
        _put(token, request)
        response = yield request
        if _is_refused(token, response):
            renewed = await self._bearer.renew_async(token)
            if renewed is not None and _can_be_sent_again(request, response):
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


def _is_refused(token: Token, response: Response) -> bool:
    sent = response.request.headers.get(AUTHORIZATION)
    return bool(response.status_code == UNAUTHORIZED and sent == authorization(token))


def _can_be_sent_again(request: Request, response: Response) -> bool:
    """Return whether no redirect led to the response, and the request's body is in memory, or is a
    form whose files can be read again."""
    if response.request is not request:
        return False
    with suppress(RuntimeError):  # RequestNotRead
        return request.content is not None
    fields = getattr(request.stream, "fields", None)  # of a multipart form
    if fields is None:
        return False
    files = [field.file for field in fields if hasattr(field, "file")]
    return all(isinstance(file, str | bytes) or file.seekable() for file in files)
