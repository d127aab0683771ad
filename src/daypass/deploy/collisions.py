"""Routes of others on the hosts of a config that would take requests for the door."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from daypass.deploy.routes import (
    Host,
    Route,
    is_ours,
    of_http_route,
    of_ingress,
    of_virtual_service,
)
from daypass.deploy.target import Target, each
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import Object
from daypass.spec import Config

_Read = Callable[[Object], Iterator[Host | Route]]
_KINDS: Mapping[tuple[str, str], _Read] = {
    ("networking.k8s.io", "Ingress"): lambda ingress: of_ingress(ingress, {}),
    ("networking.istio.io", "VirtualService"): of_virtual_service,
    ("gateway.networking.k8s.io", "HTTPRoute"): of_http_route,
}


def collisions(target: Target, config: Config) -> list[str]:
    """A line for each; what may not be seen is left out. One list a kind that is served."""
    found = [
        route for routes in each(lambda kind: _routes(target, *kind), _KINDS) for route in routes
    ]
    return [
        f"{config.prefix} on {domain.host} leads elsewhere already: {route.owner} has {route.path}"
        for domain in config.domains.values()
        if domain.front != "envoy"
        for route in found
        if route.host == domain.host and route.takes(config.prefix)
    ]


def _routes(target: Target, group: str, kind: str) -> list[Route]:
    resource = target.kinds.find(group, kind)
    if resource is None:
        return []
    try:
        listed = target.cluster.list(resource)
    except ForbiddenError:
        return []
    # In a list the items do not say what they are.
    documents = [{**document, "kind": kind} for document in listed if not is_ours(document)]
    parts = [part for document in documents for part in _KINDS[group, kind](document)]
    return [part for part in parts if isinstance(part, Route)]
