"""aiohttp: `aiohttp.ClientSession(middlewares=(Auth(credentials, "https://gate"),))`."""

from __future__ import annotations

from daypass._core.errors import MissingExtraError
from daypass.client.credentials import Credentials
from daypass.integrations._bearer import UNAUTHORIZED, Bearer, header

try:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, Payload
    from aiohttp.hdrs import AUTHORIZATION  # its own kind of string, which is found sooner
    from yarl import URL
except ImportError as error:  # also an aiohttp older than 3.12, which has no middlewares
    raise MissingExtraError("daypass.integrations.aiohttp", "aiohttp") from error

__all__ = ["Auth"]


class Auth:
    """A client middleware: a short-lived token on each request to one origin.

    aiohttp asks a middleware about each hop of a redirect as if it were a request of its own, and
    does not say which it is. So the origin that tokens are for (`https://HOST[:PORT]`, what follows
    is ignored) has to be named, and requests to any other pass untouched.
    `audience`, `lifetime_seconds`: instead of those of the credentials. Requests raise what
    `Credentials.token` does. See `daypass.integrations` for what happens after a 401.
    """

    def __init__(
        self,
        credentials: Credentials,
        origin: str,
        audience: str | None = None,
        lifetime_seconds: int | None = None,
    ) -> None:
        self._bearer = Bearer(credentials, audience, lifetime_seconds)
        named = URL(origin).origin()
        self._scheme, self._authority = named.scheme, named.raw_authority
        self._host, self._port = named.raw_host, named.port

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """What aiohttp calls for each request."""
        if AUTHORIZATION in request.headers or not self._is_ours(request.url):
            return await handler(request)
        token = self._bearer.cached_token() or await self._bearer.token_async()
        request.headers[AUTHORIZATION] = header(token)
        response = await handler(request)
        if response.status != UNAUTHORIZED:
            return response
        try:
            renewed = await self._bearer.renew_async(token)
        except BaseException:
            response.close()
            raise
        if renewed is None or _is_gone(request.body):
            return response
        response.release()  # ends what is still being uploaded, too
        await request.close()
        request.headers[AUTHORIZATION] = header(renewed)
        return await handler(request)

    def _is_ours(self, url: URL) -> bool:
        if url.scheme != self._scheme:
            return False
        # Most are spelled alike, which is sooner seen than that they mean the same.
        return url.raw_authority == self._authority or (
            url.raw_host == self._host and url.port == self._port
        )


def _is_gone(body: bytes | Payload) -> bool:
    return not isinstance(body, bytes) and body.consumed
