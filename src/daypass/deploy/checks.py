"""What is wrong with a config in its cluster: one list of checks, for `apply`, `diff`, `verify` and
`status`.

A check names what to list, and judges that alone: everything is listed once, and a kind that the
user may not list leaves the other checks as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, failure, skipped, warning
from daypass._core.hints import command
from daypass.config import Config
from daypass.deploy import routes
from daypass.deploy.identity_settings import IDENTITIES, find_stranded
from daypass.deploy.logins import find_logins, login_queries
from daypass.deploy.model_access import access_queries, find_access_bypass
from daypass.kube.cluster import Cluster
from daypass.render.engines import AnyEngine, engines_of
from daypass.render.engines.bypass import HostOwner, describe_hosts, join_names, serves_more
from daypass.render.engines.envoy_gateway import SECURITY_POLICY
from daypass.render.fronts import fronts_of
from daypass.render.fronts.routes import ListedObjects, ObjectQuery, path_of
from daypass.render.names import GATE
from daypass.rules.patterns import Place

AUDIENCE_ROUTES = "audience-routes"
"""The check that finds what an audience opens in addition to its places."""
NOT_APPLIED = "not-applied"
NOTHING_APPLIED = failure(NOT_APPLIED, "nothing of this config is applied", command("apply"))


class ClusterCheck(NamedTuple):
    """Finds mistakes by what it lists. `of`: what it is about, in words. `is_partial`: it finds
    something even if not all may be listed.
    """

    of: str
    queries: Callable[[Config], Iterable[ObjectQuery]]
    find: Callable[[ListedObjects, Config], Iterable[Finding]]
    is_partial: bool = False


def _filters(engine: AnyEngine) -> ObjectQuery:
    """Return what to list to know whether a gate is applied."""
    kind = engine.published_as or SECURITY_POLICY
    return kind._replace(fields=f"metadata.name={engine.named(GATE)}", metadata_only=True)


def _applied_queries(config: Config) -> list[ObjectQuery]:
    return [*(front.api for front in fronts_of(config)), *map(_filters, engines_of(config))]


def _find_unapplied(listed: ListedObjects, config: Config) -> Iterator[Finding]:
    """Yield which domains and gates are not there."""
    there = {each.key: bool(listed.of(_filters(each))) for each in engines_of(config)}
    for front in fronts_of(config):
        names = map(path_of, listed.of(front.api))
        there[f"domains.{front.name}"] = f"{front.namespace}/{front.object_name}" in names
    if there and not any(there.values()):
        yield NOTHING_APPLIED
    elif lacking := sorted(key for key, is_there in there.items() if not is_there):
        yield failure(NOT_APPLIED, f"not applied: {join_names(lacking)}", command("apply"))


def _bypass_queries(config: Config) -> Sequence[ObjectQuery]:
    """Return what to list to find what bypasses the gate; nothing if nothing can."""
    gates = engines_of(config)
    served = (query for gate in gates if gate.gate.audiences for query in gate.served_queries)
    return tuple(dict.fromkeys([*(e for gate in gates for e in gate.bypass_queries), *served]))


def find_gate_bypass(listed: ListedObjects, config: Config) -> list[Finding]:
    """Return what bypasses the gates, by the listed objects of `_bypass_queries`."""
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


CHECKS = (
    ClusterCheck("what is applied", _applied_queries, _find_unapplied),
    ClusterCheck("others' routes", lambda _: routes.ROUTE_KINDS, routes.collisions, True),
    ClusterCheck("hosts of Gateways", lambda _: routes.GATEWAYS, routes.find_unserved_hosts),
    ClusterCheck("ways past a gate", _bypass_queries, find_gate_bypass, True),
    ClusterCheck("ways to models", access_queries, find_access_bypass, True),
    ClusterCheck("logins", login_queries, find_logins),
    ClusterCheck("identities", lambda _: IDENTITIES, find_stranded),
)


def _queries(config: Config) -> list[ObjectQuery]:
    return [query for check in CHECKS for query in check.queries(config)]


def find_in_cluster(cluster: Cluster, config: Config) -> list[Finding]:
    """Return what all checks find, and what the user may not list. Raises DaypassError."""
    return judge(routes.list_all(cluster, _queries(config)), config)


def find_if_possible(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return the same; if the cluster does not answer, or is None, what is not known."""
    unknown = "--kubeconfig FILE looks at the cluster"
    if cluster is not None:
        try:
            return find_in_cluster(cluster, config)
        except DaypassError as error:
            unknown = error.fact
    return judge(ListedObjects(unseen=frozenset(_queries(config))), config, unknown)


def judge(listed: ListedObjects, config: Config, unknown: str = "") -> list[Finding]:
    """Return what all checks find; of findings with the same hint, one with a line for each.

    `unknown`: why objects could not be listed, if that is not for a missing right.
    """
    found, unseen = list[Finding](), list[str]()
    for check in CHECKS:
        if not listed.unseen.isdisjoint(check.queries(config)):
            unseen.append(check.of)
        if check.is_partial or check.of not in unseen:
            found += check.find(listed, config)
    if unseen:
        what = f"not all is known about {join_names(unseen, len(unseen))}"
        why = unknown or f"no right to list {', '.join(listed.unseen_kinds)}"
        found.append(skipped("cluster", f"{what}: {why}"))
    return [
        replace(kind, fact="\n".join(each.fact for each in group))
        for kind, group in groupby(found, key=partial(replace, fact=""))
    ]
