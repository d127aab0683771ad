"""What a stream that is open does when its token is revoked, at Istio's gateway."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from support.deadline import eventually
from support.istio_gates import (
    GUARDED,
    OTHER,
    IstioEnv,
    get,
    route,
    running_istio_gate,
    service,
)
from support.tcp_server import TcpServer

pytestmark = pytest.mark.timeout(600)

BOUND_SECONDS = 10
"""The shortest that a config may have."""
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running, Echoing() as echo:
        running.apply(
            service("socket", echo.port), route(GUARDED, "socket"), route(OTHER, "socket")
        )
        eventually("it is routed", lambda: upgraded(running, running.bearer()) == 101)
        yield running


class Echoing(TcpServer):
    """A service that takes every upgrade, and gives back what it is sent."""

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(65536)):
                return
            head += data
        answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket"
        connection.sendall(f"{answer}\r\n\r\n".encode())
        while data := connection.recv(65536):
            connection.sendall(data)


def upgraded(gate: IstioEnv, *lines: str) -> int:
    """The code that an upgrade is answered with."""
    with gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem) as connection:
        connection.sendall(get(*lines, *UPGRADE))
        return int(connection.recv(65536).split(b" ")[1])


def test_an_upgrade_needs_a_token_as_any_request(gate: IstioEnv) -> None:
    assert upgraded(gate, gate.bearer()) == 101
    assert upgraded(gate) == 401
    assert upgraded(gate, "kubeflow-userid: admin") == 401
    assert upgraded(gate, gate.bearer(audiences=["elsewhere.example.com"])) == 403
    kubernetes = "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.eHl6"
    assert upgraded(gate, kubernetes) == 401


def test_an_open_stream_outlives_its_token_and_a_new_one_does_not_begin(
    gate: IstioEnv,
) -> None:
    line = gate.bearer()
    with gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem) as connection:
        connection.sendall(get(line, *UPGRADE))
        assert b" 101 " in connection.recv(65536)
        connection.sendall(b"before")
        assert connection.recv(100) == b"before"
        gate.know(gate.gone())
        eventually("new ones are refused", lambda: upgraded(gate, line) == 401)
        connection.sendall(b"after")
        assert connection.recv(100) == b"after"


def test_a_stream_that_lasts_too_long_is_cut(gate: IstioEnv) -> None:
    """Of the whole gateway: what the gate does not guard, too."""
    gate.publish()
    gate.configure(f"maxStreamDuration: {BOUND_SECONDS}s")
    try:
        eventually("the bound is in force", lambda: f"{BOUND_SECONDS}s" == bound(gate), seconds=60)
        eventually("a token passes", lambda: upgraded(gate, gate.bearer()) == 101)
        for host, lines in ((GUARDED, [gate.bearer()]), (OTHER, [])):
            begun = SYSTEM_CLOCK.monotonic()
            with gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem) as connection:
                connection.sendall(get(*lines, *UPGRADE, host=host))
                assert b" 101 " in connection.recv(65536)
                connection.settimeout(60)
                assert connection.recv(100) == b""
            assert BOUND_SECONDS <= SYSTEM_CLOCK.monotonic() - begun < 4 * BOUND_SECONDS
    finally:
        gate.configure("")
        eventually("the bound is gone", lambda: bound(gate) == "", seconds=60)


def bound(gate: IstioEnv) -> str:
    """The connection manager's longest stream."""
    dump = json.loads(gate.gateway.admin("/config_dump?resource=dynamic_listeners"))
    (listener,) = dump["configs"]
    (chain,) = listener["active_state"]["listener"]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    return str(manager.get("common_http_protocol_options", {}).get("max_stream_duration", ""))
