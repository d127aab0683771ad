"""What bypasses the gate in a cluster, as `apply` and `verify` report it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, ok, skipped, warning
from daypass.config import Config
from daypass.deploy.routes import list_all
from daypass.kube.cluster import Cluster
from daypass.render.engines import AnyEngine, engines_of
from daypass.render.engines.bypass import (
    GATE_HOSTS,
    HostOwner,
    describe_hosts,
    join_names,
    serves_more,
)
from daypass.render.fronts.routes import ListedObjects, ObjectQuery
from daypass.rules.patterns import Place

AUDIENCE_ROUTES = "audience-routes"
"""The check that finds what an audience opens in addition to its places."""


def bypass_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find what bypasses the gate; nothing if nothing can."""
    gates = engines_of(config)
    served = (query for gate in gates if gate.gate.audiences for query in gate.served_queries)
    return tuple(dict.fromkeys([*(e for gate in gates for e in gate.bypass_queries), *served]))


def find_gate_bypass(listed: ListedObjects, config: Config) -> list[Finding]:
    """Return what bypasses the gates, by the listed objects of `bypass_queries`."""
    gates = engines_of(config)
    return [each for gate in gates for each in (*gate.bypasses(listed), *_wide(gate, listed))]


def _wide(engine: AnyEngine, listed: ListedObjects) -> Iterator[Finding]:
    """Find routes of wildcards for hosts of an audience and others. Envoy takes them for each host
    that has no route of its own.
    """
    served, reached, opened = engine.served(listed), set[HostOwner](), list[str]()
    for audience, places in engine.gate.audiences.items():
        forms = [*map(Place.parse, places)]
        if more := {one for one in served if any(serves_more(one, form) for form in forms)}:
            reached |= more
            opened.append(audience)
    for _, line in describe_hosts(reached):
        yield warning(
            AUDIENCE_ROUTES,
            f"{line}, and so hosts of {engine.key}.audiences that have no route of their own:"
            f" tokens for {join_names(opened)} open what it serves",
            "name the hosts in its routes, or serve it at another gateway",
        )


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return findings about names that bypass the gate, and about what audiences open, if there can
    be any.

    `cluster`: None to look at no cluster.
    """
    gates, queries = config.every_gate.values(), bypass_queries(config)
    found, unknown = look(cluster, config, queries, find_gate_bypass) if queries else ([], "")
    told = [
        warning(check, "\n".join(each.fact for each in group), hint)
        for (check, hint), group in groupby(found, key=lambda each: (each.check, each.hint))
    ]
    if unknown and any(gate.audiences for gate in gates):
        told.append(skipped(AUDIENCE_ROUTES, f"whether audiences open more: {unknown}"))
    if any(each.check == GATE_HOSTS for each in told):
        return told
    if gates and all(gate.guards_every_host for gate in gates):
        subject = "the gate" if len(gates) == 1 else "each gate"
        return [ok(GATE_HOSTS, f"{subject} guards every name"), *told]
    if not any(engine.bypass_queries for engine in engines_of(config)):
        return told
    if unknown:
        fact = f"whether other names lead past the gate: {unknown}"
        return [skipped(GATE_HOSTS, fact), *told]
    where = "that gateway" if len(gates) == 1 else "a gate's gateway"
    return [ok(GATE_HOSTS, f"no other name on {where} leads to what it guards"), *told]


def look(
    cluster: Cluster | None,
    config: Config,
    queries: Iterable[ObjectQuery],
    find: Callable[[ListedObjects, Config], list[Finding]],
) -> tuple[list[Finding], str]:
    """Return what is found in a cluster, and why that may not be all; empty if it is."""
    listed, unknown = ListedObjects(), "--kubeconfig FILE looks at the cluster"
    if cluster is not None:
        try:
            listed = list_all(cluster, queries)
            unseen = ", ".join(listed.unseen_kinds)
            unknown = f"no right to list {unseen}" if unseen else ""
        except DaypassError as error:
            unknown = error.fact
    return find(listed, config), unknown
