"""requests: `session.auth = Auth(credentials)`, or `requests.get(url, auth=Auth(credentials))`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from daypass._core.errors import MissingExtraError
from daypass.client.door import require_tls
from daypass.client.token import AUTHORIZATION, Token, authorization
from daypass.integrations._bearer import UNAUTHORIZED, Adapter, log_refusal, rewinder

try:
    from requests import PreparedRequest, Response
    from requests.auth import AuthBase
except ModuleNotFoundError as error:
    raise MissingExtraError("daypass.integrations.requests", "requests") from error

__all__ = ["Auth"]


class Auth(Adapter, AuthBase):
    """Puts a short-lived token on each request.

    `audience`, `lifetime_seconds`: instead of those of the credentials. Requests raise what
    `Credentials.token` does. See `daypass.integrations` for what happens after a 401.
    """

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add a token to a request that has none, and return the request."""
        if AUTHORIZATION not in request.headers:
            to = urlsplit(request.url or "")
            require_tls(to.scheme, to.hostname)
            token = self._bearer.token()
            request.headers[AUTHORIZATION] = authorization(token)
            answered = partial(self._answered, token, rewinder(request.body))
            request.register_hook("response", answered)  # type: ignore[no-untyped-call]
        return request

    def _answered(
        self, token: Token, rewind: Callable[[], bool], response: Response, **how: Any
    ) -> Response:
        request = response.request
        # A redirect copies this hook, but not the token to another origin.
        has_token = request.headers.get(AUTHORIZATION) == authorization(token)
        answer = response
        if response.status_code == UNAUTHORIZED and has_token:
            renewed = self._bearer.renew(token, rewind, close=response.close)
            if renewed is not None:
                response.close()
                again = request.copy()
                again.headers[AUTHORIZATION] = authorization(renewed)
                answer = response.connection.send(again, **how)
                answer.request = again
                answer.history.append(response)
        log_refusal(answer.status_code, answer.headers, request.method, request.url)
        return answer
