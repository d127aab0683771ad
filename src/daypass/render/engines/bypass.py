"""What a gateway serves, and the hosts that bypass the gate: served there without being guarded.

An object and its gateway count together: a VirtualService for any host on a Gateway for one host
serves that one. A route that only redirects serves nothing.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from daypass._core.kubernetes.labels import is_ours
from daypass._core.kubernetes.objects import Object, group_of
from daypass._core.kubernetes.syntax import KSERVE_GROUP
from daypass.render.fronts.gateway_api import GATEWAY, GRPC_ROUTE, HTTP_ROUTE
from daypass.render.fronts.routes import ListedObjects, owner_of, path_of
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.patterns import HostPattern, Place

GATE_HOSTS = "gate-hosts"
"""The check that finds what bypasses a gate."""
ANY = "*"
_WEB = ("HTTP", "HTTPS")
_MOST_NAMED = 3
_MOST_LABELS = 8
_LITERAL = re.compile(r"\^?((?:(?:[\w/~%-]|\\[^\w])(?![?*{]))*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOwner:
    """A host (or `*`, `*.example.com`) that `owner` adds to a gateway, and its services.

    `namespace`: the owner's. `is_ours`: it has daypass's labels, which anybody can write.
    `is_models`: KServe has made it for a model. `paths`: the beginnings of its paths: `/` gives way
    to the longer ones of other routes, the empty one may not.
    """

    owner: str
    namespace: str
    gateway: str
    host: str
    leads_to: frozenset[str]
    is_ours: bool
    is_models: bool
    paths: frozenset[str]


def read_routes(
    listed: ListedObjects, concerns: Callable[[Object, Object], bool] = lambda *_: True
) -> Iterator[HostOwner]:
    """Yield what Gateway API listeners serve for which `concerns(gateway, listener)`."""
    gateways = {path_of(gateway): gateway for gateway in listed.of(GATEWAY)}
    for route in [*listed.of(HTTP_ROUTE), *listed.of(GRPC_ROUTE)]:
        leads_to = frozenset(_backends(route))
        if not leads_to:
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
                    for host in both:
                        yield host_owner(route, where, host, leads_to, _paths(route))


def host_owner(
    route: Object, gateway: str, host: str, leads_to: frozenset[str], paths: Iterable[str]
) -> HostOwner:
    """Return a route as the owner of a host."""
    metadata = route["metadata"]
    makers = (group_of(each["apiVersion"]) for each in metadata.get("ownerReferences") or ())
    return HostOwner(
        owner=owner_of(route),
        namespace=metadata["namespace"],
        gateway=gateway,
        host=host,
        leads_to=leads_to,
        is_ours=is_ours(route),
        is_models=KSERVE_GROUP in makers,
        paths=frozenset(paths),
    )


def literal_beginning(pattern: str) -> str:
    """Return how all texts begin that a pattern of RE2 matches; empty if that is not clear.

    A pattern of a tenant is never run here: it could take forever.
    """
    found = None if "|" in pattern else _LITERAL.match(pattern)
    return "" if found is None else re.sub(r"\\(.)", r"\1", found[1])


def _paths(route: Object) -> Iterator[str]:
    """Yield the beginnings of a route's paths. Of two routes, the one with the longer host takes
    precedence, and only then the one with the longer path. Those with a header are left out that
    gates with access by model refuse.
    """
    everything = "" if route["spec"].get("hostnames") else "/"
    for rule in route["spec"].get("rules") or ():
        matches: Sequence[Object] = rule.get("matches") or ({},)
        for match in matches:
            headers = match.get("headers") or ()
            if any(each["name"].lower() in MODEL_HEADERS for each in headers):
                continue
            path = match.get("path") or {}
            value = path.get("value", "/")
            if path.get("type") == "RegularExpression":
                value = literal_beginning(value)
                yield "" if value == "/" else value
            else:
                yield everything if value == "/" else value


def shares_hosts(host: str, pattern: HostPattern) -> bool:
    """Return whether a name or wildcard may be a host that a gate with this pattern guards."""
    longer = (host.replace(ANY, ".".join(["x"] * labels)) for labels in range(1, _MOST_LABELS))
    return in_common(host, pattern.text) is not None or any(map(pattern.is_near, longer))


def serves_more(one: HostOwner, place: Place) -> bool:
    """Return whether a wildcard's route may serve a place, and hosts that are none of it."""
    if ANY not in one.host or place.host.matches(one.host.replace(ANY, "any")):
        return False
    beginning = "" if place.path is None else place.path.text.partition("{")[0].lower()
    paths = [path.lower() for path in one.paths]
    return shares_hosts(one.host, place.host) and any(
        path.startswith(beginning) or beginning.startswith(path) for path in paths
    )


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
    """Yield which hosts are meant, and a phrase that names their owners and gateway: for each host,
    but for many names of one gateway together.
    """
    found = defaultdict[str, dict[str, set[str]]](dict)
    for one in served:
        found[one.gateway].setdefault(one.host, set()).add(one.owner)
    for gateway, owners in sorted(found.items()):
        wildcards = [[host] for host in sorted(owners) if ANY in host]
        names = [host for host in sorted(owners) if ANY not in host]
        together = [names] if len(names) > _MOST_NAMED else [[name] for name in names]
        for hosts in [*wildcards, *together]:
            which = sorted(set().union(*(owners[host] for host in hosts)))
            serve = "serves" if len(which) == 1 else "serve"
            shown = "any host" if hosts == [ANY] else join_names(hosts)
            meant = "other names" if ANY in hosts[0] else "that name"
            meant = meant if len(hosts) == 1 else "those names"
            yield meant, f"{join_names(which)} {serve} {shown} on {gateway}"


def join_names(names: Iterable[str], most: int = _MOST_NAMED) -> str:
    """Return names as a phrase; of many, the first ones and how many more there are."""
    listed = list(names)
    more = len(listed) - most
    if more > 1:
        listed = [*listed[:most], f"{more} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
