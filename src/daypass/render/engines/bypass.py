"""Hosts that bypass the gate: served on the gateway that it guards, without being guarded.

An object and its gateway count together: a VirtualService for any host on a Gateway for one host
serves that one. A route that only redirects serves nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from daypass._core.labels import is_ours
from daypass._core.objects import Object
from daypass.render.fronts.gateway_api import GATEWAY, GRPC_ROUTE, HTTP_ROUTE
from daypass.render.fronts.routes import ListedObjects, owner_of, path_of

ANY = "*"
_WEB = ("HTTP", "HTTPS")
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOwner:
    """A host (or `*`, `*.example.com`) that `owner` adds to a gateway, and its services."""

    owner: str
    gateway: str
    host: str
    leads_to: frozenset[str]


def read_routes(
    listed: ListedObjects, concerns: Callable[[Object, Object], bool]
) -> Iterator[HostOwner]:
    """Yield what Gateway API listeners serve for which `concerns(gateway, listener)`."""
    gateways = {path_of(gateway): gateway for gateway in listed.of(GATEWAY)}
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
                if _is_meant(parent, listener) and concerns(gateway, listener):
                    where = f"{owner_of(gateway)}, listener {listener['name']}"
                    hosts = spec.get("hostnames") or [ANY]
                    both = hosts_in_common(hosts, [listener.get("hostname") or ANY])
                    yield from host_owners(route, where, both, leads_to)


def host_owners(
    route: Object, gateway: str, hosts: Iterable[str], leads_to: frozenset[str]
) -> Iterator[HostOwner]:
    """Yield a route as the owner of each of these hosts."""
    for host in hosts:
        yield HostOwner(owner=owner_of(route), gateway=gateway, host=host, leads_to=leads_to)


def in_common(one: str, other: str) -> str | None:
    """Return the hosts that two names or wildcards have in common, or None."""
    if one in (ANY, other):
        return other
    if other == ANY:
        return one
    if one.startswith("*.") and other.endswith(one[1:]):
        return other
    return one if other.startswith("*.") and one.endswith(other[1:]) else None


def hosts_in_common(some: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the hosts that two lists of names or wildcards have in common."""
    both = (in_common(one.lower(), other.lower()) for one in some for other in others)
    return sorted({host for host in both if host is not None})


def _backends(route: Object) -> Iterator[str]:
    here = route["metadata"]["namespace"]
    for rule in (route.get("spec") or {}).get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            kind = backend.get("kind", "Service")
            name = f"{backend['name']}.{backend.get('namespace', here)}"
            yield name if kind == "Service" else f"{kind} {name}"


def _is_meant(parent: Object, listener: Object) -> bool:
    """Return whether a route's reference to a Gateway includes this listener."""
    return (
        listener.get("protocol") in _WEB
        and parent.get("sectionName") in (None, listener["name"])
        and parent.get("port") in (None, listener.get("port"))
    )


def describe_hosts(served: Iterable[HostOwner]) -> Iterator[tuple[str, str]]:
    """Yield each host, and a phrase that names its owners and their gateway."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in served:
        found.setdefault((one.gateway, one.host), set()).add(one.owner)
    for (gateway, host), owners in sorted(found.items()):
        serve = "serves" if len(owners) == 1 else "serve"
        name = "any host" if host == ANY else host
        yield host, f"{join_names(sorted(owners))} {serve} {name} on {gateway}"


def join_names(names: Iterable[str]) -> str:
    """Return names as a phrase; of many, the first ones and how many more there are."""
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    if more > 1:
        listed = [*listed[:_MOST_NAMED], f"{more} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
