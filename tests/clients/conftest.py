"""Clients that people have, unmodified, through a real gate to a real server of their kind.

Each folder is a project: `pyproject.toml`, `uv.lock`, and an environment of its own in which its
tests run (`make test-clients CLIENTS=NAME`). Its fixture `server`, of the session, is the URL of
the server that the gate guards, on a port of 127.0.0.1.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import daypass
from daypass._core.jwt import decode_unverified
from daypass._core.tls import client_context
from daypass.client.token import Token, authorization
from daypass.client.transport import SYSTEM_TIMING, Timing
from daypass.gate.deny import change_denial
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.rules.denials import Denial, DeniedKind
from daypass.testing import MovableClock
from support.arrivals import Arrival, Arrivals
from support.children import Child
from support.deadline import eventually
from support.ports import free_ports, listens

LONG_ENOUGH_SECONDS = 120.0
"""After so long a refused token is not one that came only just now, and may be renewed."""
GATE_NAMESPACE = "daypass"
"""Where the gate of a stack looks for denials."""
HOUR_SECONDS = 3600.0
"""The lifetime of a token."""


def pytest_configure(config: pytest.Config) -> None:
    """Some clients leave connections open, which is not ours to change."""
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
    warnings.simplefilter("ignore", ResourceWarning)  # between tests, and after them


@pytest.fixture(scope="session")
def run_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """`run_server(*command, environment={})`: runs a server to the end of the session, and returns
    its URL once it accepts connections. `PORT` in an argument stands for its port.
    """
    with ExitStack() as running:

        def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
            (port,) = free_ports(1)
            folder = tmp_path_factory.mktemp("server")
            server = Child(
                [each.replace("PORT", str(port)) for each in command],
                log=folder / "server.log",
                folder=folder,
                environment={**os.environ, **(environment or {})},
            )
            running.callback(server.stop)

            def accepts() -> bool:
                server.check()
                return listens(port)

            eventually("the server accepts connections", accepts)
            return f"http://127.0.0.1:{port}"

        yield run


@pytest.fixture(scope="session")
def recorded(server: str) -> Iterator[Arrivals]:
    """The way from the gate to the server."""
    with Arrivals(server) as running:
        yield running


@pytest.fixture(scope="session")
def daypass_upstream(recorded: Arrivals) -> str:
    """Named to the gate of `daypass_stack`."""
    return recorded.url


@pytest.fixture
def arrived(recorded: Arrivals) -> list[Arrival]:
    """The requests of this test that arrive at the server."""
    recorded.requests.clear()
    return recorded.requests


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home folder, and no setting of this machine."""
    for name in [name for name in os.environ if name.startswith("DAYPASS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def gate(daypass_stack: LocalStack) -> str:
    """The gate's URL, without a slash at its end."""
    return daypass_stack.gate


@pytest.fixture
def authority(daypass_stack: LocalStack) -> str:
    """The file with the certificate authority of door and gate."""
    return str(daypass_stack.authority_file)


@pytest.fixture
def client_clock() -> MovableClock:
    """What the client goes by."""
    return MovableClock()


@pytest.fixture
def credentials(daypass_identity: MadeIdentity, client_clock: MovableClock) -> daypass.Credentials:
    """Credentials that hold a token of two minutes ago."""
    timing = Timing(**{**vars(SYSTEM_TIMING), "clock": client_clock})
    loaded = daypass.Credentials.from_file(daypass_identity.credentials_file, timing=timing)
    loaded.token()
    client_clock.move(LONG_ENOUGH_SECONDS)
    return loaded


@pytest.fixture
def deny(
    daypass_stack: LocalStack, credentials: daypass.Credentials, recorded: Arrivals
) -> Callable[..., Token]:
    """`deny()`: the gate refuses the token that the credentials hold, from now on; returns it.
    `deny(every=True)`: it refuses each token of the identity. Empties `arrived`.
    """

    def begin(*, every: bool = False) -> Token:
        token = credentials.token()
        claims = decode_unverified(token.value.reveal())[1]
        name = claims["kubernetes.io"]["secret"]["uid"] if every else claims["jti"]
        kind = DeniedKind.OBJECT if every else DeniedKind.TOKEN
        denial = Denial(kind=kind, name=name, until_unix=claims["exp"] + HOUR_SECONDS)
        change_denial(daypass_stack.cluster, GATE_NAMESPACE, denial, undo=False)
        eventually("the gate refuses it", lambda: _is_refused(daypass_stack, token))
        recorded.requests.clear()
        return token

    return begin


@pytest.fixture
def expire(deny: Callable[..., Token], client_clock: MovableClock) -> Callable[[], Token]:
    """`expire()`: the current token expires, and the gate refuses it from now on. Returns it."""

    def begin() -> Token:
        token = deny()
        client_clock.move(HOUR_SECONDS)
        return token

    return begin


def _is_refused(stack: LocalStack, token: Token) -> bool:
    address = urlsplit(stack.gate)
    with closing(
        HTTPSConnection(
            str(address.hostname), address.port, context=client_context(stack.authority.pem)
        )
    ) as connection:
        connection.request("GET", "/is-it-refused", headers={"Authorization": authorization(token)})
        return connection.getresponse().status == 401
