"""All findings about a config in its cluster, for `apply`, `diff`, `verify` and `status`.

Each check reads what it needs, and each kind is listed once for all of them. A kind that the user
may not list leaves the checks as they are that do not read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

from daypass._core.errors import DaypassError
from daypass._core.findings import Finding, skipped
from daypass._core.text import join_names
from daypass._core.threads import in_parallel
from daypass.analysis import gateways, models
from daypass.analysis.identities import find_stranded
from daypass.analysis.logins import find_logins
from daypass.analysis.snapshot import Look, ObjectQuery, Snapshot, look_at
from daypass.config import Config
from daypass.kube.cluster import Cluster


class Check(NamedTuple):
    """`of`: what it is about, in words. `is_partial`: what it finds is true even if it may not list
    everything that it reads.
    """

    of: str
    find: Callable[[Snapshot, Config], Iterable[Finding]]
    is_partial: bool = True


CHECKS = (
    Check("what is applied", gateways.find_unapplied, is_partial=False),
    Check("others' routes", gateways.find_collisions),
    Check("hosts of Gateways", gateways.find_unserved_hosts, is_partial=False),
    Check("hosts of Gateways", gateways.find_second_gateways),
    Check("hosts of Gateways", gateways.find_lost_hosts, is_partial=False),
    Check("NetworkPolicies", gateways.find_network_limits, is_partial=False),
    Check("ways past a gate", gateways.find_other_names),
    Check("ways past a gate", gateways.find_other_listeners),
    Check("ways past a gate", gateways.find_opened_routes),
    Check("ways to models", models.find_sessions),
    Check("ways to models", models.find_foreign_routes),
    Check("ways to models", models.find_own_routes),
    Check("ways to models", models.find_other_headers),
    Check("ways to models", models.find_other_gateways),
    Check("ways to models", models.find_other_domains, is_partial=False),
    Check("ways to models", models.find_open_pods, is_partial=False),
    Check("ways to models", models.find_route_rights),
    Check("ways to models", models.find_missing_rights, is_partial=False),
    Check("logins", find_logins, is_partial=False),
    Check("identities", find_stranded, is_partial=False),
)


def find_in_cluster(cluster: Cluster, config: Config) -> list[Finding]:
    """Return what all checks find, and what the user may not list. Raises DaypassError."""
    return judge(look_at(cluster), config)


def find_if_possible(cluster: Cluster | None, config: Config) -> list[Finding]:
    """Return the same; if the cluster does not answer, or is None, what is not known."""
    unknown = "--kubeconfig FILE looks at the cluster"
    if cluster is not None:
        try:
            return find_in_cluster(cluster, config)
        except DaypassError as error:
            unknown = error.fact
    return judge(lambda query: None, config, unknown)


def judge(look: Look, config: Config, unknown: str = "") -> list[Finding]:
    """Return what all checks find; of findings with the same hint, one with a line for each.

    `unknown`: why objects could not be listed, if that is not for a missing right.
    """

    def run(check: Check) -> tuple[list[Finding], set[ObjectQuery]]:
        snapshot = Snapshot(look)
        found = list(check.find(snapshot, config))
        is_valid = check.is_partial or not snapshot.unseen
        return found if is_valid else [], snapshot.unseen

    results = in_parallel(run, CHECKS, threads=len(CHECKS))
    found = [each for findings, _ in results for each in findings]
    if unseen := set[ObjectQuery]().union(*(queries for _, queries in results)):
        pairs = zip(CHECKS, results, strict=True)
        about = dict.fromkeys(check.of for check, (_, queries) in pairs if queries)
        what = f"not all is known about {join_names(about, len(about))}"
        kinds = dict.fromkeys(map(str, sorted(unseen)))
        why = unknown or f"no right to list {', '.join(kinds)}"
        found.append(skipped("cluster", f"{what}: {why}"))
    return [
        replace(kind, fact="\n".join(each.fact for each in group))
        for kind, group in groupby(found, key=partial(replace, fact=""))
    ]
