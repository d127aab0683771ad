"""The implementations under contract, and the fixtures of its tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from contract.embedded import embedded_api_server
from contract.interface import CAPABILITIES, ApiServer
from daypass._core.secret import Secret
from support import identities
from support.admin import Admin
from support.controlplane import ISSUER, LONGEST_LIFETIME_SECONDS, ControlPlane
from support.identities import Identity

__all__ = ["embedded_api_server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """An API server that the suite can run on: the fixture that makes it, and what it can do."""

    fixture: str
    capabilities: frozenset[str]


IMPLEMENTATIONS: Mapping[str, Implementation] = {
    "kubernetes": Implementation(
        fixture="kubernetes_api_server", capabilities=frozenset(CAPABILITIES)
    ),
    "embedded": Implementation(fixture="embedded_api_server", capabilities=frozenset()),
}


class KubernetesApiServer:
    """The real one."""

    issuer = ISSUER
    longest_lifetime_seconds = LONGEST_LIFETIME_SECONDS

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.url = plane.url
        self.ca_pem = plane.ca_pem

    @property
    def admin(self) -> Admin:
        """A client in group system:masters."""
        return self.plane.admin

    def sign(self, claims: Mapping[str, Any]) -> Secret:
        """A token with these claims, signed as the API server does."""
        return self.plane.sign(claims)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker of `needs` known."""
    config.addinivalue_line("markers", "needs(*capabilities): what a test asks beyond the API")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every implementation that has what the test needs."""
    if "api_server" not in metafunc.fixturenames:
        return
    needed = {name for mark in metafunc.definition.iter_markers("needs") for name in mark.args}
    able = [name for name, it in IMPLEMENTATIONS.items() if needed <= it.capabilities]
    metafunc.parametrize("api_server", able, indirect=True, scope="session")


@pytest.fixture(scope="session")
def kubernetes_api_server(control_plane: ControlPlane) -> KubernetesApiServer:
    """kube-apiserver, with etcd and kube-controller-manager."""
    return KubernetesApiServer(control_plane)


@pytest.fixture(scope="session")
def api_server(request: pytest.FixtureRequest) -> ApiServer:
    """The API server under test, shared by all tests."""
    server: ApiServer = request.getfixturevalue(IMPLEMENTATIONS[request.param].fixture)
    return server


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A namespace that no other test uses."""
    return identities.make_namespace(api_server.admin)


@pytest.fixture
def bot(api_server: ApiServer, namespace: str) -> Identity:
    """An identity that may ask for its own tokens, in `namespace`."""
    return identities.make_identity(api_server.admin, namespace, "bot")
