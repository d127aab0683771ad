"""aiohttp: `aiohttp.ClientSession(middlewares=(Auth(credentials, "https://gate"),))`."""

from __future__ import annotations

from daypass._core.errors import MissingExtraError
from daypass.client.credentials import Credentials
from daypass.client.door import require_tls
from daypass.client.token import authorization
from daypass.integrations._bearer import UNAUTHORIZED, Bearer, log_refusal

try:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from aiohttp.hdrs import AUTHORIZATION  # an `istr`, which is looked up faster
    from yarl import URL
except ImportError as error:  # aiohttp before 3.12 has no middlewares
    raise MissingExtraError("daypass.integrations.aiohttp", "aiohttp") from error

__all__ = ["Auth"]

_WEBSOCKETS = {"https": "wss", "wss": "https", "http": "ws", "ws": "http"}
"""`ws_connect` takes either scheme, to the same server."""


class Auth:
    """A client middleware that puts a short-lived token on each request to one origin.

    aiohttp calls a middleware for each hop of a redirect and does not tell hops from requests. So
    `origin` (`https://HOST[:PORT]`; a path is ignored) is required, and requests to other origins
    are unchanged. `audience`, `lifetime_seconds`: instead of those of the credentials. Requests
    raise what `Credentials.token` does. See `daypass.integrations` for what happens after a 401.
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
        require_tls(named.scheme, named.host)
        self._schemes = (named.scheme, _WEBSOCKETS.get(named.scheme))
        self._host, self._port = named.raw_host, named.port

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request with a token, and once more after a 401. aiohttp calls it."""
        if AUTHORIZATION in request.headers or not self._is_of_origin(request.url):
            return await handler(request)
        token = self._bearer.cached_token() or await self._bearer.token_async()
        # Errors of aiohttp show the headers of their request in `repr`.
        request.headers[AUTHORIZATION] = authorization(token)
        response = await handler(request)
        if response.status == UNAUTHORIZED:
            renewed = await self._bearer.renew_async(
                token, lambda: not getattr(request.body, "consumed", False), close=response.close
            )
            if renewed is not None:
                response.release()  # stops an upload in progress, too
                await request.close()
                request.headers[AUTHORIZATION] = authorization(renewed)
                response = await handler(request)
        log_refusal(response.status, response.headers, request.method, request.url)
        return response

    def _is_of_origin(self, url: URL) -> bool:
        is_there = url.raw_host == self._host and url.port == self._port
        return is_there and url.scheme in self._schemes
