"""What domains and gates lack at their gateways, and what leads past them.

Routes of others take requests for the door; names and routes lead past a gate, or an audience
opens them without being meant to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from functools import partial

from daypass._core.findings import Finding, failure, warning
from daypass._core.hints import command
from daypass._core.kubernetes.labels import is_ours
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.text import join_names, printable
from daypass.analysis.routes import (
    ANY,
    GatewayRoute,
    every_route,
    gateway_routes,
    in_common,
    listener_of,
    of_others,
    routes_of,
    servers,
)
from daypass.analysis.snapshot import (
    NAMESPACES,
    NETWORK_POLICIES,
    ObjectQuery,
    Snapshot,
    path_of,
)
from daypass.config import Config, EnvoyGatewayGate, IstioGate
from daypass.config.domain import GatewayDomain
from daypass.identity.roles import selects
from daypass.render.engines import engines_of
from daypass.render.engines.engine import AnyEngine
from daypass.render.fronts import FRONTS, AnyFront, GatewayApiFront, IstioFront, fronts_of
from daypass.render.names import GATE
from daypass.rules.patterns import EVERY_HOST, HostPattern, Place

COLLISIONS = "collisions"
ROUTE_KINDS = {front.route_kind for front in FRONTS}
"""Group and kind of what routes paths, of all fronts."""
NOT_APPLIED = "not-applied"
NOTHING_APPLIED = failure(NOT_APPLIED, "nothing of this config is applied", command("apply"))


def find_unapplied(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find domains and gates that are not there."""
    there = {each.key: bool(snapshot.of(_filters(each))) for each in engines_of(config)}
    for front in fronts_of(config):
        names = map(path_of, snapshot.of(ObjectQuery(*front.route_kind)))
        there[f"domains.{front.name}"] = f"{front.namespace}/{front.object_name}" in names
    if there and not any(there.values()):
        yield NOTHING_APPLIED
    elif lacking := sorted(key for key, is_there in there.items() if not is_there):
        yield failure(NOT_APPLIED, f"not applied: {join_names(lacking)}", command("apply"))


def _filters(engine: AnyEngine) -> ObjectQuery:
    """Return what to list to know whether a gate is applied."""
    name = f"metadata.name={engine.named(GATE)}"
    return ObjectQuery(*engine.applied_as, fields=name, metadata_only=True)


def find_collisions(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find routes of others that take requests for the door."""
    hosts = {domain.host for domain in config.cluster_domains.values()}
    routes = [each for each in of_others(every_route(snapshot), config) if each.host in hosts]
    taken = {(r.host, r.owner, p) for r in routes for p in _captures(r, config.prefix)}
    for host, owner, path in sorted(taken):
        shown = printable(path.rstrip("/"))
        yield warning(
            COLLISIONS,
            f"{config.prefix} on {host} leads elsewhere already: {owner} has {shown}",
            "your ingress or gateway chooses which of the two it serves",
        )


def _captures(route: GatewayRoute, prefix: str) -> Iterator[str]:
    """Yield the paths of a route where requests for the door could end.

    A path with a shorter segment does not count: every gateway prefers the longer path, except for
    Istio's, whose paths are text, and which prefers the older route.
    """
    door = f"{prefix}/"
    for path in route.paths:
        is_shorter = path not in ("", "/") and door.startswith(path)
        if path.startswith(door) or is_shorter:
            yield path


def find_unserved_hosts(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find domains whose existing Gateway does not have their host, or has it without HTTPS."""
    for front in _at_gateways(config):
        host, gateway = front.domain.host, _gateway_of(front)
        if front.domain.gateway is None:
            continue
        every = [each for each in servers(snapshot) if each.gateway == gateway]
        here = [each for each in every if in_common(each.host, host)]
        if not here:
            yield failure(
                "gateway-host",
                f"no Gateway {gateway} has the host {host} of domains.{front.name}",
                "add the host to its HTTPS server or listener, or name another `gateway`",
            )
        elif not any(each.has_tls for each in here):
            yield warning(
                "gateway-host",
                f"Gateway {gateway} serves {host} over plain http alone",
                "add HTTPS to it, unless TLS ends at a load balancer before it",
            )


def find_second_gateways(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find Gateways of others that have the host of a domain for which `apply` makes a Gateway."""
    for front in _at_gateways(config):
        host = front.domain.host
        if front.domain.gateway is not None:
            continue
        for each in servers(snapshot):
            is_other = each.gateway != _gateway_of(front) and not is_ours(each.document)
            if is_other and each.has_tls and each.host == host:
                yield warning(
                    "second-gateway",
                    f"Gateway {each.gateway} has the host {host}, and domains.{front.name} makes"
                    " another one for it",
                    f"write domains.{front.name}.gateway: {each.gateway}",
                )


def find_lost_hosts(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find hosts of gates that lead to the door alone.

    Where no Gateway of others names a host, Istio makes it a virtual host of its own for the door,
    without the routes that others have by a wildcard.
    """
    patterns = [HostPattern.parse(h) for gate in config.cluster_gates.values() for h in gate.hosts]
    for front in fronts_of(config):
        host = front.domain.host
        is_guarded = any(p.text != EVERY_HOST and p.is_near(host) for p in patterns)
        named = (each for each in servers(snapshot) if each.host == host)
        if not (isinstance(front, IstioFront) and is_guarded) or any(
            not is_ours(each.document) for each in named
        ):
            continue
        others = [e for e in of_others(every_route(snapshot), config) if in_common(e.host, host)]
        losing = {each.owner for each in others if _is_at_istio(each) and ANY in each.host}
        if losing and not any(each.host == host for each in others):
            yield warning(
                "lost-host",
                f"{host} leads to the door alone, and no longer to the routes that"
                f" {join_names(sorted(losing))} has for a wildcard",
                f"add {host} to the hosts of their Gateway, next to the wildcard",
            )


def _is_at_istio(route: GatewayRoute) -> bool:
    return route.owner.startswith("VirtualService ")


def find_network_limits(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find NetworkPolicies that keep a gateway away from the door. Its own admits the gateway."""
    own_namespace = config.door.namespace
    for front in fronts_of(config):
        own = front.pods_namespace
        if own is None or own == own_namespace:
            continue
        limits = [each for each in snapshot.of(NETWORK_POLICIES) if _limits(each, own, front)]
        rules = [rule for each in limits for rule in each["spec"].get("egress") or ()]
        namespaces = {name_of(each): each for each in snapshot.of(NAMESPACES)}
        there = namespaces.get(own_namespace, {"metadata": {}})
        if limits and not any(_admits(rule, there) for rule in rules):
            yield warning(
                "network-policy",
                f"the gateway of domains.{front.name} may not send to the door in {own_namespace},"
                f" by NetworkPolicy {join_names(sorted(map(path_of, limits)))}",
                f"add an egress rule for the namespace {own_namespace}",
            )


def _limits(policy: Object, namespace: str, front: AnyFront) -> bool:
    """Return whether a NetworkPolicy limits what the Pods of a front send."""
    spec = policy["spec"]
    types = spec.get("policyTypes") or (["Egress"] if "egress" in spec else [])
    labels = front.domain.front_labels if isinstance(front, IstioFront) else {}
    is_here = policy["metadata"]["namespace"] == namespace and "Egress" in types
    return is_here and selects(spec.get("podSelector") or {}, {"metadata": {"labels": labels}})


def _admits(rule: Object, namespace: Object) -> bool:
    """Return whether an egress rule may admit Pods of a namespace."""
    return not rule.get("to") or any(
        peer["ipBlock"]["cidr"].endswith("/0")
        if "ipBlock" in peer
        else "namespaceSelector" in peer and selects(peer["namespaceSelector"], namespace)
        for peer in rule["to"]
    )


def _at_gateways(config: Config) -> Iterable[AnyFront]:
    return [each for each in fronts_of(config) if isinstance(each.domain, GatewayDomain)]


def _gateway_of(front: AnyFront) -> str:
    """Return the Gateway of a domain as a Server names it."""
    if isinstance(front, GatewayApiFront):
        return "/".join(front.gateway)
    return front.domain.gateway or f"{front.pods_namespace}/{front.object_name}"


GATE_HOSTS = "gate-hosts"
"""The check that finds what bypasses a gate."""
AUDIENCE_ROUTES = "audience-routes"
"""The check that finds what an audience opens in addition to its places."""
_MOST_NAMED = 3
_MOST_LABELS = 8


def find_other_names(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find names at Istio's gateway that lead to the services that a gate guards there."""
    for name, gate in config.cluster_gates.items():
        if not isinstance(gate, IstioGate) or gate.guards_every_host:
            continue
        key, patterns = f"gates.{name}", [*map(HostPattern.parse, gate.hosts)]
        guarded, others = set[str](), list[GatewayRoute]()
        for one in of_others(routes_of(snapshot, gate), config):
            if any(pattern.is_near(one.host.replace(ANY, "any-host")) for pattern in patterns):
                guarded |= one.leads_to
            else:
                others.append(one)
        past = [one for one in others if ANY in one.host or guarded & one.leads_to]
        only = f"{key}.hosts names only {join_names(gate.hosts)}"
        hint = f"name the hosts in that Gateway and in {key}.hosts"
        if not gate.audiences:  # with audiences, a route for any host is to be named anyway
            hint = f"guard every name with {key}.hosts: ['*'], or {hint}"
        for names, line in _describe_hosts(past):
            yield warning(GATE_HOSTS, f"{line}; {only}: requests for {names} aren't checked", hint)


def find_other_listeners(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find guarded hosts that listeners without a gate serve at Envoy Gateway."""
    found = config.cluster_gates.items()
    gates = {name: gate for name, gate in found if isinstance(gate, EnvoyGatewayGate)}
    guarded = {gate.gateway for gate in gates.values()}
    for name, gate in gates.items():
        key, (place, listener) = f"gates.{name}", listener_of(gate)
        if listener is None:
            continue
        concerns = partial(_is_unguarded, place, guarded)
        served = of_others(gateway_routes(snapshot, concerns), config)
        patterns = [HostPattern.parse(host) for host in gate.hosts]
        past = [one for one in served if any(shares_hosts(one.host, it) for it in patterns)]
        only = f"{key}.gateway names only the listener {listener}"
        hint = f"guard all of the Gateway: {key}.gateway without a listener"
        for _, line in _describe_hosts(past):
            yield warning(GATE_HOSTS, f"{line}, too; {only}: requests there aren't checked", hint)


def _is_unguarded(place: str, guarded: Set[str], gateway: Object, listener: Object) -> bool:
    """Return whether a listener is at a Gateway (NAMESPACE/NAME) and has none of the gates."""
    names = {place, f"{place}/{listener['name']}"}
    return path_of(gateway) == place and guarded.isdisjoint(names)


def find_opened_routes(snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    """Find routes of wildcards for hosts of an audience and others. Envoy takes them for each host
    that has no route of its own.
    """
    for name, gate in config.cluster_gates.items():
        if not gate.audiences:
            continue
        served, reached, opened = routes_of(snapshot, gate), set[GatewayRoute](), list[str]()
        for audience, places in gate.audiences.items():
            forms = [*map(Place.parse, places)]
            if more := {one for one in served if any(_serves_more(one, form) for form in forms)}:
                reached |= more
                opened.append(audience)
        for _, line in _describe_hosts(reached):
            yield warning(
                AUDIENCE_ROUTES,
                f"{line}, and so hosts of gates.{name}.audiences that have no route"
                f" of their own: tokens for {join_names(opened)} open what it serves",
                "name the hosts in its routes, or serve it at another gateway",
            )


def shares_hosts(host: str, pattern: HostPattern) -> bool:
    """Return whether a name or wildcard may be a host that a gate with this pattern guards."""
    longer = (host.replace(ANY, ".".join(["x"] * labels)) for labels in range(1, _MOST_LABELS))
    return in_common(host, pattern.text) is not None or any(map(pattern.is_near, longer))


def _serves_more(one: GatewayRoute, place: Place) -> bool:
    """Return whether a wildcard's route may serve a place, and hosts that are none of it."""
    if ANY not in one.host or place.host.matches(one.host.replace(ANY, "any")):
        return False
    beginning = "" if place.path is None else place.path.text.partition("{")[0].lower()
    paths = [path.lower() for path in one.paths]
    return shares_hosts(one.host, place.host) and any(
        path.startswith(beginning) or beginning.startswith(path) for path in paths
    )


def _describe_hosts(served: Iterable[GatewayRoute]) -> Iterator[tuple[str, str]]:
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
