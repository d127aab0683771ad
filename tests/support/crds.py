"""Kinds of Istio, the Gateway API, Envoy Gateway and others on a control plane of the tests,
with nothing behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tools import crds

from support.admin import Document
from support.controlplane import ControlPlane
from support.deadline import eventually

COLLECTION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install_istio(plane: ControlPlane) -> None:
    """Istio's kinds, served when this returns; a second call costs one request."""
    _install(plane, crds.ISTIO)


def install_gateway_api(plane: ControlPlane) -> None:
    """The Gateway API's kinds, the experimental ones too, served when this returns."""
    _install(plane, crds.GATEWAY_API)


def install_envoy_gateway(plane: ControlPlane) -> None:
    """Envoy Gateway's own kinds and those of the Gateway API, served when this returns."""
    install_gateway_api(plane)
    _install(plane, crds.ENVOY_GATEWAY)


def install_cert_manager(plane: ControlPlane) -> None:
    """cert-manager's kinds, served when this returns."""
    _install(plane, crds.CERT_MANAGER)


def install_gitops(plane: ControlPlane) -> None:
    """The kinds of Argo CD and Flux that the examples have, served when this returns."""
    for module in (crds.ARGO_CD, crds.FLUX_SOURCE, crds.FLUX_KUSTOMIZE):
        _install(plane, module)


def install_prometheus_operator(plane: ControlPlane) -> None:
    """PodMonitor and PrometheusRule, served when this returns."""
    _install(plane, crds.PROMETHEUS_OPERATOR)


def install_kserve(plane: ControlPlane) -> None:
    """The kinds of KServe's models, served when this returns."""
    _install(plane, crds.KSERVE)


def _install(plane: ControlPlane, module: crds.Module) -> None:
    install(plane, json.loads(crds.definitions_file(module).read_text())["items"])


def install(plane: ControlPlane, definitions: Iterable[Document]) -> None:
    """These kinds, served when this returns."""
    wanted = {document["metadata"]["name"]: document for document in definitions}
    for name in wanted.keys() - _served(plane):
        plane.admin.create(COLLECTION, wanted[name])
    eventually("the kinds are served", lambda: wanted.keys() <= _served(plane), seconds=60)


def _served(plane: ControlPlane) -> set[str]:
    """The names, as in `gateways.networking.istio.io`, of the kinds that discovery lists.

    The definitions themselves are megabytes, and a request for an object makes the API server
    compile the rules of its kind.
    """
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = plane.admin.request("GET", "/apis", headers={"Accept": accept}).json["items"]
    return {
        f"{resource['resource']}.{group['metadata']['name']}"
        for group in groups
        for version in group["versions"]
        for resource in version["resources"]
    }
