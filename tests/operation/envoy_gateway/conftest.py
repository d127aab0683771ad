"""Gates of Istio and Envoy Gateway whose gateways log as docs/reference/logs.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.docs.pages import ROOT

from controllers.envoy_gateway.conftest import env, plane
from support.children import Child
from support.controlplane import ControlPlane
from support.envoy_gateway import CLASS, NAMESPACE, running_envoy_gateway
from support.istio_gates import IstioEnv, running_istio_gate

__all__ = ["env", "plane"]

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
def envoy_gateway(
    logs: Path, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Child]:
    """Envoy Gateway."""
    telemetry = documented("apiVersion")["spec"]["telemetry"]
    (settings,) = telemetry["accessLog"]["settings"]
    settings["sinks"][0]["file"]["path"] = str(logs / "envoy-gateway")
    plane.admin.patch(f"{PROXIES}/{CLASS}", {"spec": {"telemetry": telemetry}})
    with running_envoy_gateway(tmp_path_factory.mktemp("controller"), plane) as running:
        yield running
