"""What bypasses the gate in a cluster, as `apply` and `verify` report it."""

from __future__ import annotations

from collections.abc import Sequence

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, ok, skipped, warning
from daypass.config import Config
from daypass.deploy.routes import list_all
from daypass.kube.cluster import Cluster
from daypass.render.engines import engine_of
from daypass.render.fronts.routes import ListedObjects, ObjectQuery

_GATE_HOSTS = "gate-hosts"
_QUESTION = "whether other names lead past the gate"


def bypass_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find what bypasses the gate; nothing if nothing can."""
    engine = engine_of(config)
    return () if engine is None else engine.bypass_queries


def find_gate_bypass(cluster: Cluster, listed: ListedObjects, config: Config) -> list[Finding]:
    """Return what bypasses the gate, by the listed objects of `bypass_queries`."""
    engine = engine_of(config)
    if engine is None or not engine.bypass_queries:
        return []
    query = engine.pods_query
    pods = () if query is None else list_all(cluster, [query]).of(query)
    return [
        warning(_GATE_HOSTS, line, engine.bypass_hint) for line in engine.bypasses(listed, pods)
    ]


def verify_gate_hosts(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return a finding about names that bypass the gate, if there can be any.

    `cluster`: None to look at no cluster.
    """
    gate = config.gate
    if gate is not None and gate.guards_every_host:
        return [ok(_GATE_HOSTS, "the gate guards every name")]
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
        return [warning(_GATE_HOSTS, "\n".join(each.fact for each in found), found[0].hint)]
    if listed.unseen:
        return [
            skipped(_GATE_HOSTS, f"{_QUESTION}: no right to list {', '.join(listed.unseen_kinds)}")
        ]
    return [ok(_GATE_HOSTS, "no other name on that gateway leads to what it guards")]
