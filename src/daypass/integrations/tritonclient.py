"""Triton's client, HTTP and gRPC, with asyncio too: `client.register_plugin(Auth(credentials))`."""

from __future__ import annotations

from typing import Any

from daypass.client.token import AUTHORIZATION, authorization
from daypass.integrations._bearer import Adapter

__all__ = ["Auth"]

_KEY = AUTHORIZATION.lower()


class Auth(Adapter):
    """Puts a short-lived token on each request of an `InferenceServerClient`.

    `audience`, `lifetime_seconds`: instead of those of the credentials. Requests raise what
    `Credentials.token` does. It cannot see whether the client uses TLS: create the client with
    `ssl=True`. It does not see responses either, so it renews no token after a 401.
    """

    def __call__(self, request: Any) -> None:
        """Add a token to a request that has none. Clients call it before each request.

        `request` has `headers`, a dict, and nothing else.
        The clients of asyncio call it on their event loop, which waits for the first token.
        """
        if not any(name.lower() == _KEY for name in request.headers):
            # A copy: the dict is the caller's, which may be used for many requests.
            request.headers = {**request.headers, _KEY: authorization(self._bearer.token())}
