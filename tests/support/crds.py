"""Kinds of Istio, the Gateway API, Envoy Gateway and others on a control plane of the tests,
with nothing behind them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from tools import crds

from support.admin import Document
from support.controlplane import ControlPlane
from support.deadline import eventually

COLLECTION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _installer(*modules: crds.Module) -> Callable[[ControlPlane], None]:
    """What serves these kinds when it returns; a second call costs one request."""

    def install_all(plane: ControlPlane) -> None:
        for module in modules:
            install(plane, json.loads(crds.definitions_file(module).read_text())["items"])

    return install_all


install_istio = _installer(crds.ISTIO)
install_gateway_api = _installer(crds.GATEWAY_API)
install_envoy_gateway = _installer(crds.GATEWAY_API, crds.ENVOY_GATEWAY)
install_cert_manager = _installer(crds.CERT_MANAGER)
install_gitops = _installer(crds.ARGO_CD, crds.FLUX_SOURCE, crds.FLUX_KUSTOMIZE)
install_prometheus_operator = _installer(crds.PROMETHEUS_OPERATOR)
install_kserve = _installer(crds.KSERVE)


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
