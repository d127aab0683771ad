"""The hosts and routes of others in a cluster, and those that would take requests for the door."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from daypass._core.findings import Finding, failure, warning
from daypass._core.kubernetes.labels import is_ours
from daypass._core.kubernetes.objects import Object
from daypass._core.text import printable
from daypass._core.threads import in_parallel
from daypass.config import Config
from daypass.config.domain import GatewayDomain
from daypass.deploy.ekf import is_handed_over
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.render.engines.bypass import in_common
from daypass.render.fronts import FRONTS, fronts_of, served
from daypass.render.fronts.gateway_api import GATEWAY, GatewayApiFront
from daypass.render.fronts.ingress_controller import INGRESS
from daypass.render.fronts.istio import ISTIO_GATEWAY
from daypass.render.fronts.routes import (
    ListedObjects,
    ObjectQuery,
    ServedHost,
    ServedRoute,
)

COLLISIONS = "collisions"
GATEWAYS = (ISTIO_GATEWAY, GATEWAY)
ROUTE_KINDS = tuple(dict.fromkeys(front.api for front in FRONTS))
"""The kinds that route paths, of all fronts."""


def is_served(cluster: Cluster, query: ObjectQuery) -> bool:
    """Return whether the API serves the kind."""
    return cluster.find_kind(query.group, query.kind) is not None


def list_objects(cluster: Cluster, query: ObjectQuery) -> list[Object]:
    """Return the objects of a kind that is served, each with its `kind`. Raises ApiError."""
    resource = cluster.find_kind(query.group, query.kind)
    assert resource is not None, query  # noqa: S101 - only kinds that are served are listed
    listed = cluster.list(
        resource,
        query.namespace or None,
        labels=query.labels or None,
        fields=query.fields or None,
        metadata_only=query.metadata_only,
    )
    # The items of a list have no kind.
    return [{**document, "kind": resource.kind} for document in listed]


def list_all(cluster: Cluster, wanted: Iterable[ObjectQuery]) -> ListedObjects:
    """List all of these that the API serves and the user may list."""

    def look(query: ObjectQuery) -> list[Object] | None:
        try:
            return list_objects(cluster, query)
        except ForbiddenError:
            return None

    served = [query for query in dict.fromkeys(wanted) if is_served(cluster, query)]
    return ListedObjects.seen(dict(zip(served, in_parallel(look, served), strict=True)))


def served_by_others(
    listed: ListedObjects,
) -> tuple[list[ServedHost], list[ServedRoute]]:
    """Return the hosts and the routes of others."""
    others = {
        query: [
            each
            for each in documents
            if not is_ours(each) and not (query == INGRESS and is_handed_over(each))
        ]
        for query, documents in listed.objects.items()
    }
    return served(replace(listed, objects=others))


def collisions(listed: ListedObjects, config: Config) -> list[Finding]:
    """Return the routes of others, in `listed`, that take requests for the door."""
    _, found = served_by_others(listed)
    return [
        warning(
            COLLISIONS,
            f"{config.prefix} on {domain.host} leads elsewhere already:"
            f" {route.owner} has {printable(route.path)}",
            "your ingress or gateway chooses which of the two it serves",
        )
        for domain in config.cluster_domains.values()
        for route in found
        if route.host == domain.host and route.captures(config.prefix)
    ]


def find_unserved_hosts(listed: ListedObjects, config: Config) -> Iterator[Finding]:
    """Yield domains whose existing Gateway does not have their host, or has it without HTTPS."""
    for front in fronts_of(config):
        host, domain = front.domain.host, front.domain
        if not isinstance(domain, GatewayDomain) or domain.gateway is None:
            continue
        gateway = "/".join(front.gateway) if isinstance(front, GatewayApiFront) else domain.gateway
        hosts = (each for each in front.hosts(listed) if each.gateway == gateway)
        here = [each for each in hosts if in_common(each.host, host)]
        if not here:
            yield failure(
                "gateway-host",
                f"no Gateway {gateway} has the host {host} of domains.{front.name}",
                "add the host to its HTTPS server or listener, or name another `gateway`",
            )
        elif not any(each.ends_tls for each in here):
            yield warning(
                "gateway-host",
                f"Gateway {gateway} serves {host} over plain http alone",
                "add HTTPS to it, unless TLS ends at a load balancer before it",
            )
