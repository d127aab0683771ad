"""Which hosts a gateway serves by whose objects: pure functions over Istio's kinds and the Gateway
API's.

What an object says and what its gateway says are taken together: a VirtualService for any host on a
Gateway for one host serves that one. Who only redirects serves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from daypass.deploy.listed import (
    GATEWAY,
    GRPC_ROUTE,
    HTTP_ROUTE,
    ISTIO_GATEWAY,
    VIRTUAL_SERVICE,
    Listed,
)
from daypass.deploy.routes import is_ours, owner_of
from daypass.render.objects import Object

ANY = "*"
_WEB = ("HTTP", "HTTPS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A host (also `*`, `*.example.com`) that `owner`'s object brings to a gateway, and the
    services that it leads to.
    """

    owner: str
    gateway: str
    host: str
    leads_to: frozenset[str]


def by_virtual_services(listed: Listed, selects: Callable[[Object], bool]) -> Iterator[Served]:
    """What Istio's Gateways serve whose selector `selects` the pods in question."""
    gateways = {
        _named(gateway): gateway
        for gateway in listed.of(ISTIO_GATEWAY)
        if selects((gateway.get("spec") or {}).get("selector") or {})
    }
    for service in listed.of(VIRTUAL_SERVICE):
        leads_to = frozenset(_destinations(service))
        if is_ours(service) or not leads_to:
            continue
        spec, here = service["spec"], service["metadata"]["namespace"]
        for reference in spec.get("gateways") or ():
            gateway = gateways.get(_gateway_named(reference, here))
            if gateway is None:
                continue
            for host in _common(spec.get("hosts") or (), _hosts_for(gateway, here)):
                yield Served(
                    owner=owner_of(service),
                    gateway=owner_of(gateway),
                    host=host,
                    leads_to=leads_to,
                )


def by_routes(listed: Listed, concerns: Callable[[Object, Object], bool]) -> Iterator[Served]:
    """What listeners of the Gateway API serve that are concerned, by Gateway and listener."""
    gateways = {_named(gateway): gateway for gateway in listed.of(GATEWAY)}
    for route in [*listed.of(HTTP_ROUTE), *listed.of(GRPC_ROUTE)]:
        leads_to = frozenset(_backends(route))
        if is_ours(route) or not leads_to:
            continue
        spec, here = route["spec"], route["metadata"]["namespace"]
        for parent in spec.get("parentRefs") or ():
            gateway = gateways.get(f"{parent.get('namespace', here)}/{parent['name']}")
            if gateway is None or parent.get("kind", "Gateway") != "Gateway":
                continue
            for listener in gateway["spec"].get("listeners") or ():
                if not _is_meant(parent, listener) or not concerns(gateway, listener):
                    continue
                hosts = spec.get("hostnames") or [ANY]
                for host in _common(hosts, [listener.get("hostname") or ANY]):
                    yield Served(
                        owner=owner_of(route),
                        gateway=f"{owner_of(gateway)}, listener {listener['name']}",
                        host=host,
                        leads_to=leads_to,
                    )


def in_common(one: str, other: str) -> str | None:
    """The hosts that two names, or wildcards, have in common; None if there are none."""
    if one in (ANY, other):
        return other
    if other == ANY:
        return one
    if one.startswith("*.") and other.endswith(one[1:]):
        return other
    return one if other.startswith("*.") and one.endswith(other[1:]) else None


def _common(some: Sequence[str], others: Sequence[str]) -> list[str]:
    both = (in_common(one.lower(), other.lower()) for one in some for other in others)
    return sorted({host for host in both if host is not None})


def _gateway_named(reference: str, namespace: str) -> str:
    """NAMESPACE/NAME of what a VirtualService calls a Gateway: `NAME`, `NAMESPACE/NAME`, `./NAME`,
    and still `NAME.NAMESPACE.svc.cluster.local` (resolveGatewayName in pilot/pkg/model).
    """
    whose, slash, name = reference.partition("/")
    if slash:
        return f"{namespace if whose == '.' else whose}/{name}"
    name, dot, rest = reference.partition(".")
    return f"{rest.partition('.')[0] if dot else namespace}/{name}"


def _hosts_for(gateway: Object, namespace: str) -> list[str]:
    """A Gateway's hosts for VirtualServices of a namespace: `NAMESPACE/HOST`, `./HOST`, `HOST`."""
    hosts = []
    for server in (gateway.get("spec") or {}).get("servers") or ():
        protocol = (server.get("port") or {}).get("protocol", "")
        if (server.get("tls") or {}).get("httpsRedirect") or protocol in ("TCP", "TLS"):
            continue
        for name in server.get("hosts") or ():
            whose, slash, host = name.rpartition("/")
            whose = gateway["metadata"]["namespace"] if whose == "." else whose
            if not slash or whose in (ANY, namespace):
                hosts.append(host)
    return hosts


def _destinations(service: Object) -> Iterator[str]:
    here = service["metadata"]["namespace"]
    for http in (service.get("spec") or {}).get("http") or ():
        if delegate := http.get("delegate"):
            yield f"VirtualService {delegate.get('namespace', here)}/{delegate.get('name')}"
        for route in http.get("route") or ():
            host = str(route["destination"]["host"])
            yield (
                host.removesuffix(".cluster.local").removesuffix(".svc")
                if "." in host
                else (f"{host}.{here}")
            )


def _backends(route: Object) -> Iterator[str]:
    here = route["metadata"]["namespace"]
    for rule in (route.get("spec") or {}).get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            kind = backend.get("kind", "Service")
            name = f"{backend['name']}.{backend.get('namespace', here)}"
            yield name if kind == "Service" else f"{kind} {name}"


def _is_meant(parent: Object, listener: Object) -> bool:
    """Whether a route's reference to a Gateway is to this listener of it."""
    return (
        listener.get("protocol") in _WEB
        and parent.get("sectionName") in (None, listener["name"])
        and parent.get("port") in (None, listener.get("port"))
    )


def _named(document: Object) -> str:
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
