"""ext_authz over gRPC: envoy.service.auth.v3.Authorization/Check, on grpc.aio.

It costs ten times what HTTP does; in return Envoy passes a 503 on as it is. It decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from daypass.gateway.review.answers import Answer
from daypass.gateway.review.authorizer import Authorizer
from daypass.gateway.review.certificates import CertificateFiles
from daypass.gateway.review.check_messages import (
    LIMIT_BYTES,
    MalformedMessageError,
    read_check,
    response,
)
from daypass.gateway.review.flights import source_of

METHOD = "/envoy.service.auth.v3.Authorization/Check"
LIMIT_STREAMS = 1000
_OPTIONS = (
    ("grpc.max_receive_message_length", LIMIT_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", LIMIT_STREAMS),
    ("grpc.so_reuseport", 0),
)


class GrpcTransport(grpc.GenericRpcHandler):
    """The service. `start` listens at an address of gRPC's (`127.0.0.1:0`, `unix:PATH`)."""

    def __init__(self, authorizer: Authorizer, pump: Callable[[], None]) -> None:
        self._authorizer = authorizer
        self._pump = pump
        self._server: Any = None
        self._handler: Any = grpc.unary_unary_rpc_method_handler(self._check)

    def service(self, handler_call_details: Any) -> Any:
        """gRPC's question which method is meant."""
        return self._handler if handler_call_details.method == METHOD else None

    async def start(self, address: str, files: CertificateFiles | None) -> int:
        """Listen; the port. Raises OSError, ValueError, RuntimeError."""
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        if files is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, _credentials(files))
        await self._server.start()
        return int(port)

    async def stop(self, seconds: float) -> None:
        """End it after what is under way."""
        if self._server is not None:
            await self._server.stop(seconds)

    async def _check(self, content: bytes, context: Any) -> bytes:
        try:
            question = read_check(content)
        except MalformedMessageError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise
        return response(await self._answer(question.host, question.authorizations, question.source))

    def _answer(
        self, host: bytes, authorizations: tuple[bytes, ...], source: str
    ) -> Awaitable[Answer]:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def tell(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        now = self._authorizer.check(host, authorizations, source_of(source), tell)
        self._pump()
        if now is not None:
            tell(now)
        return answered


def _credentials(files: CertificateFiles) -> Any:
    """Those of the files, which are read anew for each handshake."""

    def read() -> Any:
        with open(files.key, "rb") as key, open(files.certificate, "rb") as certificate:
            return grpc.ssl_server_certificate_configuration([(key.read(), certificate.read())])

    def read_again() -> Any:
        try:
            return read()
        except OSError:
            return None  # the one before goes on

    return grpc.dynamic_ssl_server_credentials(read(), read_again)
