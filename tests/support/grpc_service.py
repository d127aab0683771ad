"""A real server of grpcio: it echoes, and keeps what calls carried."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from support.authority import Certificate

SERVING = b"\x08\x01"
"""A HealthCheckResponse, encoded."""
SAY, REPEAT, FAIL = (f"/tests.Echo/{name}" for name in ("Say", "Repeat", "Fail"))


@dataclass(slots=True, kw_only=True)
class GrpcService:
    """Where it listens, with TLS and without, and the metadata of each call."""

    port: int
    plain_port: int
    calls: list[dict[str, str]] = field(default_factory=list)

    @property
    def tokens(self) -> list[str | None]:
        values = (call.get("authorization") for call in self.calls)
        return [None if value is None else value.removeprefix("Bearer ") for value in values]

    def note(self, context: grpc.ServicerContext) -> None:
        metadata = context.invocation_metadata()
        self.calls.append({str(key): str(value) for key, value in metadata})


@contextmanager
def running_grpc_service(certificate: Certificate) -> Iterator[GrpcService]:
    running = GrpcService(port=0, plain_port=0)

    def say(request: bytes, context: grpc.ServicerContext) -> bytes:
        running.note(context)
        return request

    def repeat(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        running.note(context)
        yield from [request] * 3

    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        running.note(context)
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no such thing")

    def check(_: bytes, context: grpc.ServicerContext) -> bytes:
        running.note(context)
        return SERVING

    services: dict[str, dict[str, grpc.RpcMethodHandler[bytes, bytes]]] = {
        "tests.Echo": {
            "Say": grpc.unary_unary_rpc_method_handler(say),
            "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
        },
        "grpc.health.v1.Health": {"Check": grpc.unary_unary_rpc_method_handler(check)},
    }
    pair = (certificate.key_pem.encode(), certificate.certificate_pem.encode())
    with ThreadPoolExecutor(4) as threads:
        # By default it shares the port of another program that allows that, such as an Envoy's.
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(*each) for each in services.items()]
        )
        running.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        running.plain_port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield running
        finally:
            server.stop(None).wait()
