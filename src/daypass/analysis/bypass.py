"""Names and routes that lead past a gate, or that an audience opens without being meant to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from functools import partial

from daypass._core.findings import Finding, warning
from daypass._core.kubernetes.objects import Object
from daypass._core.text import join_names
from daypass.analysis.routes import (
    ANY,
    GatewayRoute,
    gateway_routes,
    in_common,
    listener_of,
    of_others,
    routes_of,
)
from daypass.analysis.snapshot import Snapshot, path_of
from daypass.config import Config, EnvoyGatewayGate, IstioGate
from daypass.rules.patterns import HostPattern, Place

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
