"""The auth flow of one request, for httpx and for its fork httpx2, with the same interfaces."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from daypass.client.credentials import Credentials
from daypass.client.door import require_tls
from daypass.client.token import AUTHORIZATION, authorization
from daypass.integrations._bearer import UNAUTHORIZED, Adapter, log_refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Any

    from daypass.client.token import Token

    # Of either library. Their classes have no common base.
    Request = Any
    Response = Any

_OWN_HEADER = (
    "; it has an Authorization header of its own, which Auth keeps: give the library that sets it a"
    ' placeholder as its key, and name that, Auth(credentials, placeholder="unused")'
)
_SENT = "daypass.token"
"""The extension of a request that holds its token."""


class AuthFlow(Adapter):
    """A mixin that implements the auth flows of `httpx.Auth`.

    `audience`, `lifetime_seconds`: instead of those of the credentials. `placeholder`: a request
    whose Authorization header is exactly `Bearer PLACEHOLDER` gets a token too; any other such
    header stays. Requests raise what `Credentials.token` does. See `daypass.integrations` for what
    happens after a 401.
    """

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
        if self._needs_token(request):
            _put(self._bearer.token(), request)
        response = yield request
        if refused := _refused_token(response):
            renewed = self._bearer.renew(refused, partial(_can_be_read_again, request))
            if renewed is not None and response.request is request:  # without redirects
                _put(renewed, request)
                response = yield request
        _log(response)

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """Do the same for `httpx.AsyncClient`."""
        if self._needs_token(request):
            _put(self._bearer.cached_token() or await self._bearer.token_async(), request)
        response = yield request
        if refused := _refused_token(response):
            renewed = await self._bearer.renew_async(refused, partial(_can_be_read_again, request))
            if renewed is not None and response.request is request:  # without redirects
                _put(renewed, request)
                response = yield request
        _log(response)

    def _needs_token(self, request: Request) -> bool:
        """Return False if the request has another header, or none after a redirect elsewhere."""
        header, sent = request.headers.get(AUTHORIZATION), request.extensions.get(_SENT)
        return header in self._replaced if sent is None else header == authorization(sent)


def _put(token: Token, request: Request) -> None:
    require_tls(request.url.scheme, request.url.host)
    request.headers[AUTHORIZATION] = authorization(token)
    request.extensions[_SENT] = token


def _refused_token(response: Response) -> Token | None:
    """Return daypass's token if the request carried it, and the response is a 401."""
    token: Token | None = response.request.extensions.get(_SENT)
    if token is None or response.status_code != UNAUTHORIZED:
        return None
    return token if response.request.headers.get(AUTHORIZATION) == authorization(token) else None


def _can_be_read_again(request: Request) -> bool:
    """Return whether the body is in memory, or is a form whose files can be read again."""
    with suppress(RuntimeError):  # RequestNotRead
        return request.content is not None
    fields = getattr(request.stream, "fields", None)  # of a multipart form
    if fields is None:
        return False
    files = [field.file for field in fields if hasattr(field, "file")]
    return all(isinstance(file, str | bytes) or file.seekable() for file in files)


def _log(response: Response) -> None:
    request = response.request
    is_own = _SENT not in request.extensions and AUTHORIZATION in request.headers
    hint = _OWN_HEADER if is_own else ""
    log_refusal(response.status_code, response.headers, request.method, request.url, hint)
