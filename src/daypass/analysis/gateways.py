"""What domains and gates lack at their gateways, and routes of others that take their requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from daypass._core.findings import Finding, failure, warning
from daypass._core.hints import command
from daypass._core.kubernetes.labels import is_ours
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.text import join_names, printable
from daypass.analysis.routes import ANY, GatewayRoute, every_route, in_common, of_others, servers
from daypass.analysis.snapshot import (
    NAMESPACES,
    NETWORK_POLICIES,
    ObjectQuery,
    Snapshot,
    path_of,
)
from daypass.config import Config
from daypass.config.domain import GatewayDomain
from daypass.identity.roles import selects
from daypass.render.engines import AnyEngine, engines_of
from daypass.render.fronts import FRONTS, AnyFront, fronts_of
from daypass.render.fronts.gateway_api import GatewayApiFront
from daypass.render.fronts.istio import IstioFront
from daypass.render.names import GATE
from daypass.rules.patterns import EVERY_HOST, HostPattern

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
    home = config.door.namespace
    for front in fronts_of(config):
        own = front.pods_namespace
        if own is None or own == home:
            continue
        limits = [each for each in snapshot.of(NETWORK_POLICIES) if _limits(each, own, front)]
        rules = [rule for each in limits for rule in each["spec"].get("egress") or ()]
        namespaces = {name_of(each): each for each in snapshot.of(NAMESPACES)}
        there = namespaces.get(home, {"metadata": {}})
        if limits and not any(_admits(rule, there) for rule in rules):
            yield warning(
                "network-policy",
                f"the gateway of domains.{front.name} may not send to the door in {home}, by"
                f" NetworkPolicy {join_names(sorted(map(path_of, limits)))}",
                f"add an egress rule for the namespace {home}",
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
