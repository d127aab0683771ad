"""Waiting until what a command has changed is published at every gate of the cluster.

The watch sees what a command creates or deletes, and publishes it. The published ConfigMaps show
when it has: what they say is in force at Istio's gateways, or on its way to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ClusterUnreachableError, ForbiddenError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, Object, name_of
from daypass.kube.waiting import NotReadyError, Waiter
from daypass.published.config_maps import (
    DENIALS,
    UnreadablePartError,
    part_name,
    read_part,
    read_published_denials,
    read_room,
)
from daypass.published.credentials import CLUSTER_PARTS, split_uids
from daypass.published.denials import Denial

GATE_NAMESPACES = f"{labels.GATE}=true"
"""Selects the namespaces of gates. Only cluster administrators can label namespaces."""
_HINT = (
    f"if no watch publishes, do it once: {command('gate', 'watch', '--once')}\n"
    f"namespaces that it may not watch: {command('identity', 'list', '-A', '--check')}"
)


class NotPublishedError(DaypassError):
    """A gate does not have a change yet, or the user may not see whether it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A ConfigMap of a gate. `missing`: what it lacks, or "" if all is there."""

    home: str
    name: str
    missing: Callable[[Object], str]


def gate_namespaces(cluster: Cluster) -> list[str]:
    """Return the namespaces of gates. Raises ForbiddenError."""
    found = cluster.list(NAMESPACES, labels=GATE_NAMESPACES, metadata_only=True)
    return sorted(map(name_of, found))


def wait_published(
    cluster: Cluster,
    *,
    gone: Iterable[str] = (),
    there: Iterable[str] = (),
    home: str | None = None,
    timeout_seconds: float,
) -> float | None:
    """Wait until the set of every gate has none of the UIDs `gone`, and all of those `there`.

    `home`: the namespace of the only gate to look at, if the user may not list namespaces. Returns
    after how many seconds that was so; None if there is no gate, or nothing to wait for. Raises
    NotPublishedError.
    """
    split = [split_uids(uids, CLUSTER_PARTS) for uids in (gone, there)]
    changed = {part_name(n): each for n, each in enumerate(zip(*split, strict=True)) if any(each)}
    if not changed:
        return None
    wanted = [
        _Wanted(home=home, name=name, missing=partial(_missing_in_part, *each))
        for home in _homes(cluster, home)
        for name, each in changed.items()
    ]
    return _wait(cluster, wanted, timeout_seconds)


def wait_denied(
    cluster: Cluster, home: str, denial: Denial, *, undo: bool, timeout_seconds: float
) -> float | None:
    """Wait until the gate of a namespace has published a denial or (`undo`) no longer has it.

    Returns after how many seconds that was so; None if there is no gate. Raises NotPublishedError.
    """

    def missing(document: Object) -> str:
        is_denied = read_published_denials(document).has(denial)
        return "" if is_denied is not undo else "its published denials are older"

    wanted = [
        _Wanted(home=each, name=DENIALS, missing=missing)
        for each in _homes(cluster, home)
        if each == home
    ]
    return _wait(cluster, wanted, timeout_seconds)


def find_room(cluster: Cluster) -> int | None:
    """Return how many credentials of one namespace every gate takes; None if it is not known."""
    try:
        parts = [cluster.find(CONFIG_MAPS, part_name(0), each) for each in gate_namespaces(cluster)]
        return min((read_room(each) for each in parts if each is not None), default=None)
    except (ForbiddenError, UnreadablePartError):
        return None


def _homes(cluster: Cluster, home: str | None) -> list[str]:
    try:
        return gate_namespaces(cluster)
    except ForbiddenError as error:
        if home is not None:
            return [home]
        fact = "you may not see whether the cluster has a gate that has to publish this"
        raise NotPublishedError(fact, error.hint) from None


def _wait(cluster: Cluster, wanted: list[_Wanted], timeout_seconds: float) -> float | None:
    if not wanted:
        return None
    began, waiter = cluster.clock.monotonic(), Waiter(cluster, timeout_seconds)
    for each in wanted:
        try:
            waiter.wait(f"the gate in {each.home}", partial(_look, cluster, each), _HINT)
        except NotReadyError as error:
            raise NotPublishedError(error.fact, error.hint) from None
        except ForbiddenError as error:
            fact = f"you may not see what the gate in {each.home} has published"
            raise NotPublishedError(fact, error.hint) from None
    return cluster.clock.monotonic() - began


def _look(cluster: Cluster, wanted: _Wanted) -> str | None:
    """Return what is missing, or None."""
    try:
        found = cluster.find(CONFIG_MAPS, wanted.name, wanted.home)
        if found is None:
            return f"it has published no ConfigMap {wanted.name}"
        return wanted.missing(found) or None
    except UnreadablePartError as error:
        return f"its ConfigMap {wanted.name} is not readable: {error}"
    except ClusterUnreachableError as error:
        return error.fact


def _missing_in_part(gone: frozenset[str], there: frozenset[str], document: Object) -> str:
    uids = read_part(document, CLUSTER_PARTS)[1].uids
    if gone & uids:
        return "its published set still has what was deleted"
    return "its published set does not have what was created" if there - uids else ""
