"""What bypasses the gate in a cluster, as `apply` and `verify` report it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, ok, skipped, warning
from daypass.config import Config
from daypass.deploy.routes import list_all
from daypass.kube.cluster import Cluster
from daypass.render.engines import engines_of
from daypass.render.fronts.routes import ListedObjects, ObjectQuery

_GATE_HOSTS = "gate-hosts"
_QUESTION = "whether other names lead past the gate"


def bypass_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find what bypasses the gate; nothing if nothing can."""
    found = (query for engine in engines_of(config) for query in engine.bypass_queries)
    return tuple(dict.fromkeys(found))


def find_gate_bypass(cluster: Cluster, listed: ListedObjects, config: Config) -> list[Finding]:
    """Return what bypasses the gates, by the listed objects of `bypass_queries`."""
    found = []
    for engine in engines_of(config):
        if engine.bypass_queries:
            query = engine.pods_query
            pods = () if query is None else list_all(cluster, [query]).of(query)
            lines = engine.bypasses(listed, pods)
            found += [warning(_GATE_HOSTS, line, engine.bypass_hint) for line in lines]
    return found


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return a finding about names that bypass the gate, if there can be any.

    `cluster`: None to look at no cluster.
    """
    gates = config.every_gate.values()
    if gates and all(gate.guards_every_host for gate in gates):
        subject = "the gate" if len(gates) == 1 else "each gate"
        return [ok(_GATE_HOSTS, f"{subject} guards every name")]
    queries = bypass_queries(config)
    if not queries:
        return []
    if cluster is None:
        return [skipped(_GATE_HOSTS, f"{_QUESTION}: --kubeconfig FILE looks at the cluster")]
    try:
        listed = list_all(cluster, queries)
        found = find_gate_bypass(cluster, listed, config)
    except DaypassError as error:
        return [skipped(_GATE_HOSTS, f"{_QUESTION}: {error.fact}")]
    if found:
        return [
            warning(_GATE_HOSTS, "\n".join(each.fact for each in group), hint)
            for hint, group in groupby(found, key=lambda each: each.hint)
        ]
    if listed.unseen:
        return [
            skipped(_GATE_HOSTS, f"{_QUESTION}: no right to list {', '.join(listed.unseen_kinds)}")
        ]
    where = "that gateway" if len(gates) == 1 else "a gate's gateway"
    return [ok(_GATE_HOSTS, f"no other name on {where} leads to what it guards")]
