"""What bypasses the gate in a cluster, as `apply` and `verify` report it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, ok, skipped, warning
from daypass.config import Config
from daypass.deploy.routes import list_all
from daypass.kube.cluster import Cluster
from daypass.render.engines import engines_of
from daypass.render.engines.bypass import GATE_HOSTS
from daypass.render.fronts.routes import ListedObjects, ObjectQuery


def bypass_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find what bypasses the gate; nothing if nothing can."""
    found = (query for engine in engines_of(config) for query in engine.bypass_queries)
    return tuple(dict.fromkeys(found))


def find_gate_bypass(listed: ListedObjects, config: Config) -> list[Finding]:
    """Return what bypasses the gates, by the listed objects of `bypass_queries`."""
    return [found for engine in engines_of(config) for found in engine.bypasses(listed)]


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return a finding about names that bypass the gate, if there can be any.

    `cluster`: None to look at no cluster.
    """
    gates = config.every_gate.values()
    if gates and all(gate.guards_every_host for gate in gates):
        subject = "the gate" if len(gates) == 1 else "each gate"
        return [ok(GATE_HOSTS, f"{subject} guards every name")]
    queries = bypass_queries(config)
    if not queries:
        return []
    found, unknown = look(cluster, config, queries, find_gate_bypass)
    if found:
        return [
            warning(GATE_HOSTS, "\n".join(each.fact for each in group), hint)
            for hint, group in groupby(found, key=lambda each: each.hint)
        ]
    if unknown:
        return [skipped(GATE_HOSTS, f"whether other names lead past the gate: {unknown}")]
    where = "that gateway" if len(gates) == 1 else "a gate's gateway"
    return [ok(GATE_HOSTS, f"no other name on {where} leads to what it guards")]


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
