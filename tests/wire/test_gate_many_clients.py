"""Thousands of clients at once: all are served, memory is bounded, and nothing stays open."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from daypass.config.gate import DEFAULT_GATE, Check
from daypass.render.envoy.bootstrap import HEAP_LIMIT_BYTES
from daypass.render.envoy.settings import Timeouts
from daypass.render.names import gate_prefix
from support.children import resident_bytes
from support.deadline import eventually
from support.doors import EKF
from support.fake_reviews import fake_reviews
from support.gates import EVERYDAY, RunningGate, running_gate, service_at
from support.raw import Conversation, get
from support.serving import SOCKET, serving
from support.tcp_server import TcpServer
from support.tokens import Signer, good_claims
from wire.authorizers import running_authorizer

CLIENTS = 2_000
"""All have a request under way at once; Envoy's own limit for what is behind it is 1,024."""
WAVE = 100
CLIENT_BYTES = 32 * 1024
"""Of an idle connection: half of that is what it takes."""
OTHER_FILES = 200
"""Files that a test run has open next to the connections of one test."""

SIGNER = Signer("ours")


def request(path: str = "/") -> bytes:
    return get(f"Authorization: Bearer {SIGNER.sign(good_claims())}", host=EKF, path=path)


class PausingServer(TcpServer):
    """A service that answers nobody while it is paused. `waiting`: the requests that have come and
    are not answered yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.answers = threading.Event()
        self.answers.set()

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        while connection.recv(65536):
            with self._lock:
                self.waiting += 1
            self.answers.wait()
            with self._lock:
                self.waiting -= 1
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A gate before a service that can be paused."""

    gate: RunningGate
    service: PausingServer

    def conversation(self, stack: ExitStack) -> Conversation:
        return Conversation(stack.enter_context(self.gate.connect()))

    def open(self, what: str) -> int:
        """How many connections Envoy has: `http.gate.downstream`, `cluster.protected.upstream`."""
        return int(self.gate.envoy.stats(f"^{what}_cx_active$")[f"{what}_cx_active"])


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, have so many files open.

    Raises ValueError where the machine does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count + OTHER_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + OTHER_FILES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def guarded(folder: Path, check: Check, timeouts: Timeouts = EVERYDAY) -> Iterator[Guarded]:
    with ExitStack() as stack:
        service = stack.enter_context(PausingServer())
        path = ""
        if check != "jwt":
            reviews = stack.enter_context(fake_reviews(lambda token: True))
            path = str(stack.enter_context(running_authorizer(folder, reviews, [])).path)
        gate = stack.enter_context(running_gate(
            folder, SIGNER.jwks, check=check, timeouts=timeouts,
            protected=service_at(service.port),
            authorizer_socket=path,
        ))  # fmt: skip
        yield Guarded(gate=gate, service=service)


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_thousands_of_clients_are_served_at_once_and_then_they_are_gone(
    tmp_path_factory: pytest.TempPathFactory, check: Check
) -> None:
    line, folder = request(), tmp_path_factory.mktemp("g")
    # Enough for a busy machine to open all connections and to send all requests.
    slow = Timeouts(handshake_seconds=60, idle_seconds=600, answer_seconds=600)
    with open_files(4 * CLIENTS), guarded(folder, check, slow) as running:
        before = resident_bytes(running.gate.envoy.pid)
        with ExitStack() as stack:
            clients = [running.conversation(stack) for _ in range(CLIENTS)]
            idle = resident_bytes(running.gate.envoy.pid) - before
            serve_at_once(running, clients, line)
            assert running.open("http.gate.downstream") == CLIENTS
            busy = resident_bytes(running.gate.envoy.pid) - before
        eventually("all are gone", lambda: running.open("http.gate.downstream") == 0)
    assert idle < CLIENTS * CLIENT_BYTES
    assert busy < HEAP_LIMIT_BYTES


def serve_at_once(running: Guarded, clients: list[Conversation], line: bytes) -> None:
    """All of them wait for the service at the same time, and none of them for the others."""
    running.service.answers.clear()
    for start in range(0, len(clients), WAVE):
        for client in clients[start : start + WAVE]:
            client.send(line)
        there = start + WAVE
        eventually(f"{there} are there", lambda: running.service.waiting >= there)  # noqa: B023
    with ExitStack() as stack:
        newcomer = running.conversation(stack)
        newcomer.send(get(host=EKF))
        assert newcomer.answer().code == 401
    running.service.answers.set()
    assert [client.answer().code for client in clients] == [200] * len(clients)


def test_connections_that_nobody_needs_any_more_end(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    timeouts = Timeouts(idle_seconds=2)
    line = request()
    with guarded(tmp_path_factory.mktemp("g"), "review", timeouts) as running, ExitStack() as stack:
        client = running.conversation(stack)
        client.send(line)
        assert client.answer().code == 200
        for what in ("cluster.authorizer.upstream", "cluster.protected.upstream"):
            assert f"{what}_cx_total" in running.gate.envoy.stats(f"^{what}_cx_total$")
            eventually("it ends", lambda: running.open(what) == 0)  # noqa: B023 - at once


def test_thousands_of_connections_are_answered_by_an_authorizer_that_began_with_a_thousand_files(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("a")
    line, path = request(f"{gate_prefix(DEFAULT_GATE)}/"), folder / SOCKET
    with (
        open_files(CLIENTS),
        fake_reviews(lambda token: True) as reviews,
        serving(folder, reviews) as served,
    ):
        before = 0
        with ExitStack() as stack:
            clients = []
            for _ in range(CLIENTS):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.settimeout(60)
                eventually("it connects", lambda: connected(client, path))  # noqa: B023
                clients.append(client)
                before = before or resident_bytes(served.child.pid)
            # Soon after each other, since the authorizer does not wait long for half a request.
            for client in clients:
                client.sendall(line[:40])
            # The first one alone: only some of them may wait for the same review.
            for some in (clients[:1], clients[1:]):
                for client in some:
                    client.sendall(line[40:])
                for client in some:
                    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert served.metric("daypass_gate_connections") == CLIENTS
            assert resident_bytes(served.child.pid) - before < CLIENTS * CLIENT_BYTES
            assert len(reviews.asked) == 1
        eventually("all are gone", lambda: served.metric("daypass_gate_connections") == 0)


def connected(client: socket.socket, path: Path) -> bool:
    """Raises OSError while too many others wait to be taken."""
    client.connect(str(path))
    return True
