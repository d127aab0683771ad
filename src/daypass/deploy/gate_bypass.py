"""What bypasses the gates in a cluster, and what audiences open in addition to their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from daypass._core.findings import Finding, warning
from daypass.config import Config
from daypass.render.engines import AnyEngine, engines_of
from daypass.render.engines.bypass import HostOwner, describe_hosts, join_names, serves_more
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
