"""The auth flow of one request, for httpx and for its fork httpx2, with the same interfaces."""

from __future__ import annotations

import warnings
from contextlib import suppress

from daypass.client.credentials import Credentials
from daypass.client.token import authorization
from daypass.integrations._bearer import AUTHORIZATION, UNAUTHORIZED, Adapter
from daypass.rules.reasons import REASON_HEADER

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

    def __init__(
        self,
        credentials: Credentials,
        audience: str | None = None,
        lifetime_seconds: int | None = None,
        *,
        placeholder: str | None = None,
    ) -> None:
        super().__init__(credentials, audience, lifetime_seconds)
        self._replaced = {None} if placeholder is None else {None, f"Bearer {placeholder}"}

    def sync_auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """Yield the request with a token, and once more after a 401. `httpx.Client` calls it."""
        if not self._needs_token(request):
            _explain((yield request))
            return
        token = self._bearer.token()
        _put(token, request)
        response = yield request
        if _is_refused(token, response):
            whole = _can_send_again(request)
            renewed = self._bearer.renew(token, can_send_again=whole)
            if renewed is not None and response.request is request:  # without redirects
                _put(renewed, request)
                yield request

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """Do the same for `httpx.AsyncClient`."""
        if not self._needs_token(request):
            _explain((yield request))
            return
        token = self._bearer.cached_token() or await self._bearer.token_async()
        _put(token, request)
        response = yield request
        if _is_refused(token, response):
            whole = _can_send_again(request)
            renewed = await self._bearer.renew_async(token, can_send_again=whole)
            if renewed is not None and response.request is request:
                _put(renewed, request)
                yield request

    def _needs_token(self, request: Request) -> bool:
        """Return False if the request has another header, or none after a redirect elsewhere."""
        header, sent = request.headers.get(AUTHORIZATION), request.extensions.get(_SENT)
        return header in self._replaced if sent is None else header == authorization(sent)


def _put(token: Token, request: Request) -> None:
    request.headers[AUTHORIZATION] = authorization(token)
    request.extensions[_SENT] = token


def _is_refused(token: Token, response: Response) -> bool:
    sent = response.request.headers.get(AUTHORIZATION)
    return bool(response.status_code == UNAUTHORIZED and sent == authorization(token))


def _explain(response: Response) -> None:
    """Warn if a gate refused a header that is not daypass's."""
    if REASON_HEADER in response.headers and AUTHORIZATION in response.request.headers:
        warnings.warn(
            "the gate refused a request that has an Authorization header of its own, which Auth"
            " keeps. If your client's library sets it, give it a placeholder as its key, and name"
            ' that: Auth(credentials, placeholder="unused")',
            stacklevel=2,
        )


def _can_send_again(request: Request) -> bool:
    """Return whether the body is in memory, or is a form whose files can be read again."""
    with suppress(RuntimeError):  # RequestNotRead
        return request.content is not None
    fields = getattr(request.stream, "fields", None)  # of a multipart form
    if fields is None:
        return False
    files = [field.file for field in fields if hasattr(field, "file")]
    return all(isinstance(file, str | bytes) or file.seekable() for file in files)
