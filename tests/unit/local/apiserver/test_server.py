"""The embedded API server on a socket: TLS, connections, watches, start and stop."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.tls import client_context
from daypass.deploy.certificate_authority import Authority
from daypass.kube.cluster import Cluster
from daypass.local.api_backend import EmbeddedApiServer
from support.deadline import eventually
from unit.local.apiserver.environment import TEAM

SOON_SECONDS = 60.0
"""Far less than a watch lasts, and more than a busy machine may take."""


class Running:
    """A running server, and clients of it."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.create("tests", SYSTEM_CLOCK)
        backend = EmbeddedApiServer(authority, folder, SYSTEM_CLOCK)
        self.context = client_context(authority.pem)
        self.server = backend.server
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
        self.admin = backend.connection()
        self.apply(namespace)

    def apply(self, document: dict[str, Any]) -> None:
        with closing(Cluster(self.admin)) as cluster:
            cluster.apply(document)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.admin_token.reveal()}"}

    def connection(self) -> closing[http.client.HTTPSConnection]:
        port = self.server.port
        return closing(
            http.client.HTTPSConnection("127.0.0.1", port, context=self.context, timeout=20)
        )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    it = Running(tmp_path)
    yield it
    it.server.stop()


def test_a_connection_is_reusable_after_a_watch_timed_out(running: Running) -> None:
    with running.connection() as connection:
        for _ in range(2):
            target = f"{TEAM}/configmaps?watch=1&timeoutSeconds=1"
            connection.request("GET", target, headers=running.headers)
            with connection.getresponse() as answer:
                answer.read()
            used = connection.sock
            connection.request("GET", "/api/v1/namespaces", headers=running.headers)
            with connection.getresponse() as answer:
                assert answer.status == 200
                answer.read()
            assert connection.sock is used


def test_the_watch_of_a_client_that_leaves_is_removed(running: Running) -> None:
    listeners = running.server.api.state.store.listeners
    before = len(listeners)
    with running.connection() as connection:
        connection.request("GET", f"{TEAM}/configmaps?watch=1", headers=running.headers)
        with connection.getresponse():
            assert len(listeners) == before + 1
    eventually("it is removed", lambda: len(listeners) == before)


def test_it_stops_at_once_even_with_open_watches(tmp_path: Path) -> None:
    others = set(threading.enumerate())
    running = Running(tmp_path)
    with ExitStack() as connections:
        for _ in range(3):
            connection = connections.enter_context(running.connection())
            connection.request("GET", "/api/v1/secrets?watch=1", headers=running.headers)
            connection.getresponse()
        began = SYSTEM_CLOCK.monotonic()
        running.server.stop()
        running.server.stop()
        assert SYSTEM_CLOCK.monotonic() - began < SOON_SECONDS
    assert "daypass-api" not in {t.name for t in set(threading.enumerate()) - others}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", running.server.port), timeout=20)


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed the connection. Raises TimeoutError if it never does."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_stopping_closes_connections_that_come_at_that_moment(tmp_path: Path) -> None:
    running = Running(tmp_path)
    stopping = threading.Thread(target=running.server.stop)
    with ExitStack() as connections:
        asking = connections.enter_context(running.connection())
        asking.connect()
        with running.server.api.lock:
            # The server waits for the lock, so that it takes all that follows at once.
            asking.request("GET", "/api/v1/namespaces", headers=running.headers)
            coming = [
                connections.enter_context(
                    socket.create_connection(("127.0.0.1", running.server.port), timeout=20)
                )
                for _ in range(20)
            ]
            stopping.start()
        stopping.join()
        assert all(is_closed(connection) for connection in coming)


@pytest.mark.parametrize("length", ["-1", "+5", "1_0", "x", "9" * 30])
def test_a_length_that_is_no_number_ends_the_connection(running: Running, length: str) -> None:
    with running.connection() as connection:
        connection.putrequest("POST", "/api")
        connection.putheader("Content-Length", length)
        connection.endheaders(b"a")
        response = connection.getresponse()
        assert (response.status, response.getheader("connection")) == (400, "close")
