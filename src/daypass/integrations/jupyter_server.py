"""Jupyter's server, with its kernels behind a gate.

`JUPYTER_GATEWAY_TOKEN_RENEWER_CLASS=daypass.integrations.jupyter_server.TokenRenewer`
"""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread
from typing import Any

import tornado
from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase

from daypass._core.errors import UsageError
from daypass.client.credentials import Credentials
from daypass.client.token import Token
from daypass.integrations._bearer import UNAUTHORIZED

__all__ = ["TokenRenewer"]

_LONGEST_WAIT_SECONDS = 3.0
"""Jupyter calls `get_token` on its event loop: it does nothing else meanwhile."""


class TokenRenewer(GatewayTokenRenewerBase):  # type: ignore[misc]
    """Puts a short-lived token on each request and each WebSocket to the gate.

    It uses the credentials of the environment. If no token can be obtained, Jupyter logs why, and
    sends the token that it has.
    """

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        if tornado.version_info < (6, 5, 6):  # CVE-2026-49853
            fact = f"Tornado {tornado.version} sends the token on to wherever a redirect leads"
            raise UsageError(fact, "pip install 'tornado>=6.5.6'")
        self._credentials = Credentials.load()
        self._exchange: Future[Token] | None = None
        self._sent: Token | None = None
        client = self.parent
        client.auth_scheme = "Bearer"  # Jupyter's default is "token"
        client.event_logger.add_listener(schema_id=client.event_schema_id, listener=self._answered)

    def get_token(self, *_: Any, **__: Any) -> str:
        """Return a usable token. Jupyter calls it before each request."""
        self._sent = self._credentials.cached_token() or self._token()
        return self._sent.value.reveal()

    def _token(self) -> Token:
        seconds = 0.0
        if self._exchange is None or self._exchange.done():
            exchange: Future[Token] = Future()
            Thread(target=self._run, args=(exchange,), daemon=True).start()
            self._exchange, seconds = exchange, _LONGEST_WAIT_SECONDS
        try:
            return self._exchange.result(seconds)
        except TimeoutError:
            raise TimeoutError("the door has not answered yet; try again later") from None

    def _run(self, exchange: Future[Token]) -> None:
        try:
            exchange.set_result(self._credentials.token())
        except BaseException as error:
            exchange.set_exception(error)

    async def _answered(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        # The request that was refused is not sent again. The next one has the new token.
        if data["status_code"] == UNAUTHORIZED and self._sent is not None:
            await self._credentials.renew_async(self._sent)
