"""Clients that people have, unmodified, through a real gate to a real server of their kind.

Each folder is a project: `pyproject.toml`, `uv.lock`, and an environment of its own in which its
tests run (`make test-clients CLIENTS=NAME`). The fixture `server`, of the session, is the URL of
the server that the gate guards, on a port of 127.0.0.1: the folder's `server.py`, or another.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

import daypass
from clients.arrivals import Arrival, Arrivals
from daypass.client.token import Token
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.testing import MovableClock
from support.children import Child
from support.deadline import eventually
from support.ports import free_ports, listens
from support.stack_credentials import HOUR_SECONDS, credentials_with_an_old_token, deny_token

ROOT = Path(__file__).resolve().parents[2]


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
def server(request: pytest.FixtureRequest, run_server: Callable[..., str]) -> str:
    """`server.py PORT`, next to the tests. A folder whose server is another overrides this."""
    program = request.session.items[0].path.with_name("server.py")
    path = f"{ROOT / 'tests'}:{ROOT}"
    return run_server(sys.executable, str(program), "PORT", environment={"PYTHONPATH": path})


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
def arrived(recorded: Arrivals) -> Iterator[list[Arrival]]:
    """The requests of this test that arrive at the server. None may carry a token to it."""
    recorded.requests.clear()
    yield recorded.requests
    assert not any("authorization" in each.headers for each in recorded.requests)


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
def host(gate: str) -> str:
    """The gate's host and port."""
    return gate.removeprefix("https://")


@pytest.fixture
def authority(daypass_stack: LocalStack) -> str:
    """The file with the certificate authority of door and gate."""
    return str(daypass_stack.authority_file)


@pytest.fixture
def trusts_the_gate(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable by which most programs trust an authority."""
    monkeypatch.setenv("SSL_CERT_FILE", authority)


@pytest.fixture
def client_clock() -> MovableClock:
    """What the client goes by."""
    return MovableClock()


@pytest.fixture
def credentials(daypass_identity: MadeIdentity, client_clock: MovableClock) -> daypass.Credentials:
    """Credentials that hold a token of two minutes ago."""
    return credentials_with_an_old_token(client_clock, daypass_identity.credentials_file)


@pytest.fixture
def deny(
    daypass_stack: LocalStack, credentials: daypass.Credentials, recorded: Arrivals
) -> Callable[..., Token]:
    """`deny()`: the gate refuses the token that the credentials hold, from now on; returns it.
    `deny(every=True)`: it refuses each token of the identity. Empties `arrived`.
    """

    def begin(*, every: bool = False) -> Token:
        token = credentials.token()
        deny_token(daypass_stack, token, every=every)
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


@pytest.fixture
def revoke(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity,
    daypass_clock: MovableClock, client_clock: MovableClock,
) -> Callable[[], None]:  # fmt: skip
    """`revoke()`: the identity is revoked, its token expires, and the door gives it no other."""

    def begin() -> None:
        daypass_stack.revoke(daypass_identity)
        daypass_clock.move(11)  # the API server caches for ten seconds that it is valid
        client_clock.reset()
        client_clock.move(HOUR_SECONDS)

    return begin
