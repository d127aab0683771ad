"""Routes of others on the hosts of a config that would take requests for the door."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from daypass.deploy.listed import HTTP_ROUTE, INGRESS, VIRTUAL_SERVICE, GroupKind, Listed
from daypass.deploy.routes import (
    Host,
    Route,
    is_ours,
    of_http_route,
    of_ingress,
    of_virtual_service,
)
from daypass.kube.resources import Object
from daypass.spec import Config

_Read = Callable[[Object], Iterator[Host | Route]]
KINDS: Mapping[GroupKind, _Read] = {
    INGRESS: lambda ingress: of_ingress(ingress, {}),
    VIRTUAL_SERVICE: of_virtual_service,
    HTTP_ROUTE: of_http_route,
}
"""The kinds that lead a path somewhere."""


def collisions(listed: Listed, config: Config) -> list[str]:
    """A line for each. `listed`: what there is of KINDS; what may not be seen is left out."""
    found = [
        part
        for kind, read in KINDS.items()
        for document in listed.of(kind)
        if not is_ours(document)
        for part in read(document)
        if isinstance(part, Route)
    ]
    return [
        f"{config.prefix} on {domain.host} leads elsewhere already: {route.owner} has {route.path}"
        for domain in config.domains.values()
        if domain.front != "envoy"
        for route in found
        if route.host == domain.host and route.takes(config.prefix)
    ]
