"""urllib3: pool managers that put a token on each request."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from daypass._core.errors import MissingExtraError
from daypass.client.credentials import Credentials
from daypass.client.door import require_tls
from daypass.client.token import AUTHORIZATION, authorization
from daypass.integrations._bearer import UNAUTHORIZED, Bearer, log_refusal, rewinder

try:
    import urllib3
    from urllib3 import BaseHTTPResponse, HTTPHeaderDict, Retry
except ImportError as error:  # also urllib3 1.x
    raise MissingExtraError("daypass.integrations.urllib3", "urllib3") from error

__all__ = ["PoolManager", "ProxyManager"]


class PoolManager(urllib3.PoolManager):
    """A `urllib3.PoolManager` whose requests carry a short-lived token.

    `audience`, `lifetime_seconds`: instead of those of the credentials; the rest is urllib3's.
    Requests raise what `Credentials.token` does. See `daypass.integrations` for what happens after
    a 401.
    """

    def __init__(
        self,
        credentials: Credentials,
        *arguments: Any,
        audience: str | None = None,
        lifetime_seconds: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._bearer = Bearer(credentials, audience, lifetime_seconds)

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **how: Any
    ) -> BaseHTTPResponse:
        """Send a request with a token, and once more after a 401. All methods call it."""
        given = how.pop("headers", None)
        headers = HTTPHeaderDict(self.headers if given is None else given)
        if AUTHORIZATION in headers or _was_redirected(how.get("retries")):
            return super().urlopen(method, url, redirect, headers=headers, **how)
        to = urlsplit(url)
        require_tls(to.scheme, to.hostname)
        token = self._bearer.token()
        headers[AUTHORIZATION] = authorization(token)
        rewind = rewinder(how.get("body"))
        response = super().urlopen(method, url, redirect, headers=headers, **how)
        if response.status == UNAUTHORIZED and not _was_redirected(response.retries):
            renewed = self._bearer.renew(token, rewind, close=response.close)
            if renewed is not None:
                response.close()
                headers[AUTHORIZATION] = authorization(renewed)
                response = super().urlopen(method, url, redirect, headers=headers, **how)
        log_refusal(response.status, response.headers, method, url)
        return response


class ProxyManager(PoolManager, urllib3.ProxyManager):
    """A PoolManager that uses a proxy: `ProxyManager(credentials, "http://proxy:3128")`."""


def _was_redirected(retries: Retry | bool | int | None) -> bool:
    """Return whether urllib3 follows a redirect; its pool managers call `urlopen` again for it."""
    return isinstance(retries, Retry) and any(step.redirect_location for step in retries.history)
