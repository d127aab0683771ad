"""One Envoy Gateway, on a cluster of its own, for all that is tested on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controllers.gateway_environment import GatewayEnv, running_gateway_env
from daypass.local.echo import Echo
from support.children import Child
from support.controlplane import ControlPlane
from support.envoy_gateway import prepare, running_envoy_gateway


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with Envoy Gateway's kinds."""
    with ControlPlane.start(tmp_path_factory.mktemp("envoy-gateway-plane")) as running:
        prepare(running)
        yield running


@pytest.fixture(scope="session")
def envoy_gateway(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Envoy Gateway on it."""
    with running_envoy_gateway(tmp_path_factory.mktemp("envoy-gateway"), plane) as running:
        yield running


@pytest.fixture(scope="session")
def env(
    plane: ControlPlane, envoy_gateway: Child, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayEnv]:
    """A Gateway that the gate guards, all of it."""
    with (
        Echo() as echo,
        running_gateway_env(
            tmp_path_factory.mktemp("authorizer"), plane, echo.address.port
        ) as running,
    ):
        yield running
