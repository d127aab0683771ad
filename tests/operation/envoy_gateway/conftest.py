"""Gates of Istio and Envoy Gateway whose gateways log as docs/reference/logs.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.docs.pages import ROOT

from controllers.gateway_environment import GatewayEnv, running_gateway_env
from daypass.local.echo import Echo
from support.children import Child
from support.controlplane import ControlPlane
from support.envoy_gateway import CLASS, NAMESPACE, prepare, running_envoy_gateway
from support.istio_gates import IstioEnv, running_istio_gate

PROXIES = f"/apis/gateway.envoyproxy.io/v1alpha1/namespaces/{NAMESPACE}/envoyproxies"
BLOCKS = (ROOT / "docs/reference/logs.md").read_text().split("```yaml\n")


def documented(key: str) -> dict[str, Any]:
    """The block of the page with a key."""
    (block,) = [each.partition("```")[0] for each in BLOCKS if each.startswith(f"{key}:")]
    document: dict[str, Any] = yaml.safe_load(block)
    return document


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that they log to: `istio` and `envoy-gateway`."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def istio(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    """The gate of Istio."""
    mesh = {**documented("meshConfig")["meshConfig"], "accessLogFile": str(logs / "istio")}
    with running_istio_gate(tmp_path_factory.mktemp("istio"), mesh=mesh) as running:
        yield running


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with Envoy Gateway's kinds."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        prepare(running)
        yield running


@pytest.fixture(scope="session")
def controller(
    logs: Path, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Child]:
    """Envoy Gateway."""
    telemetry = documented("apiVersion")["spec"]["telemetry"]
    (settings,) = telemetry["accessLog"]["settings"]
    settings["sinks"][0]["file"]["path"] = str(logs / "envoy-gateway")
    plane.admin.patch(f"{PROXIES}/{CLASS}", {"spec": {"telemetry": telemetry}})
    with running_envoy_gateway(tmp_path_factory.mktemp("controller"), plane) as running:
        yield running


@pytest.fixture(scope="session")
def env(
    plane: ControlPlane, controller: Child, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayEnv]:
    """The gate of Envoy Gateway."""
    folder = tmp_path_factory.mktemp("authorizer")
    with Echo() as echo, running_gateway_env(folder, plane, echo.address.port) as running:
        yield running
