"""The status server: what it answers, and that it stays available."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from daypass._core.errors import DaypassError
from daypass._core.server import LIMIT_BYTES, LIMIT_CONNECTIONS, StatusServer
from support.messages import check

ROUTES = {"/healthz": lambda: (200, "ok\n"), "/readyz": lambda: (503, "not yet\n")}


@pytest.fixture
def server() -> Iterator[StatusServer]:
    with StatusServer(("127.0.0.1", 0), ROUTES, "") as running:
        yield running


def send(server: StatusServer, request: bytes) -> bytes:
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("request_line", "code", "body"),
    [
        (b"GET /healthz HTTP/1.1", b"200", b"ok\n"),
        (b"GET /readyz?verbose HTTP/1.1", b"503", b"not yet\n"),
        (b"HEAD /healthz HTTP/1.1", b"200", b""),
        (b"GET /other HTTP/1.1", b"404", b"/healthz /readyz\n"),
        (b"POST /healthz HTTP/1.1", b"405", b""),
        (b"junk", b"405", b""),
    ],
)
def test_each_path_has_its_answer(
    server: StatusServer, request_line: bytes, code: bytes, body: bytes
) -> None:
    head, _, received = send(server, request_line + b"\r\nhost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == code
    assert received == body


def test_silent_connections_do_not_block_probes(server: StatusServer) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(server.address, timeout=20))
            for _ in range(2 * LIMIT_CONNECTIONS)
        ]
        assert send(server, b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
        closed, _, _ = select.select(silent, [], [], 0)
        assert len(closed) >= LIMIT_CONNECTIONS


def test_a_long_request_gets_no_answer(server: StatusServer) -> None:
    try:
        answer = send(server, b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 2 * LIMIT_BYTES)
    except ConnectionError:
        answer = b""
    assert answer == b""


def test_a_port_in_use_is_an_error_with_a_hint(server: StatusServer) -> None:
    with pytest.raises(DaypassError) as caught:
        StatusServer(server.address, ROUTES, "choose another port")
    assert caught.value.hint == "choose another port"
    check(str(caught.value).replace(str(server.address[1]), "PORT"), reason="in use")
