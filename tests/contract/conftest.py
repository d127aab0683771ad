"""The API servers under contract, and the fixtures of its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.calls import ApiServer
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.deploy.certificate_authority import Authority
from daypass.local.api_backend import EmbeddedApiServer
from support import identities
from support.admin import Admin
from support.controlplane import ControlPlane
from support.identities import Identity

IMPLEMENTATIONS = ("kubernetes", "embedded")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only_kubernetes(why): the embedded API server need not")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every API server, or on the real one alone."""
    if "api_server" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("only_kubernetes")
        names = IMPLEMENTATIONS[: 1 if marked else None]
        metafunc.parametrize("api_server", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def embedded_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The embedded one, with a certificate made on the spot."""
    authority = Authority.create("tests", SYSTEM_CLOCK)
    backend = EmbeddedApiServer(authority, tmp_path_factory.mktemp("embedded"), SYSTEM_CLOCK)
    server = backend.server
    headers = {"Authorization": f"Bearer {server.admin_token.reveal()}"}
    admin = Admin(url=server.url, context=client_context(authority.pem), headers=headers)
    yield ApiServer(
        url=server.url, ca_pem=authority.pem, admin=admin,
        sign=lambda claims: server.unsafe_sign(dict(claims)),
    )  # fmt: skip
    backend.stop()


@pytest.fixture(scope="session")
def api_server(request: pytest.FixtureRequest) -> ApiServer:
    if request.param == "embedded":
        embedded: ApiServer = request.getfixturevalue("embedded_api_server")
        return embedded
    plane: ControlPlane = request.getfixturevalue("control_plane")
    return ApiServer(url=plane.url, ca_pem=plane.ca_pem, admin=plane.admin, sign=plane.sign)


@pytest.fixture
def bot(api_server: ApiServer) -> Identity:
    """An identity that may ask for its own tokens, in a namespace that no other test uses."""
    namespace = identities.make_namespace(api_server.admin)
    return identities.make_identity(api_server.admin, namespace, "bot")


@pytest.fixture
def token(api_server: ApiServer, bot: Identity) -> Secret:
    return identities.make_token(api_server.admin, bot)
