"""The gates of a cluster, for commands: where they are, and what they have published.

A command deletes or creates, and waits here until every gate has published that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeAlias

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
from daypass.published.credentials import CLUSTER_PARTS, UID, CredentialSet, part_of, split_uids
from daypass.published.denials import Denial, Denials
from daypass.published.snapshot import Published

GATE_NAMESPACES = f"{labels.GATE}=true"
"""Selects the namespaces of gates. Only cluster administrators can label namespaces."""
_HINT = (
    f"if no watch publishes, do it once: {command('gate', 'watch', '--once')}\n"
    f"namespaces that it may not watch: {command('identity', 'list', '-A', '--check')}"
)

Missing: TypeAlias = Callable[[Object], str]
"""Returns what a ConfigMap lacks, or ""."""


class NotPublishedError(DaypassError):
    """A gate does not have a change yet, or the user may not see whether it has."""


def gate_namespaces(cluster: Cluster) -> list[str]:
    """Return the namespaces of gates. Raises ForbiddenError."""
    found = cluster.list(NAMESPACES, labels=GATE_NAMESPACES, metadata_only=True)
    return sorted(map(name_of, found))


def find_room(cluster: Cluster) -> int | None:
    """Return how many credentials of one namespace every gate takes; None if it is not known."""
    try:
        parts = [cluster.find(CONFIG_MAPS, part_name(0), each) for each in gate_namespaces(cluster)]
        return min((read_room(each) for each in parts if each is not None), default=None)
    except (ForbiddenError, UnreadablePartError):
        return None


def read_published(cluster: Cluster, home: str, uid: str) -> Published:
    """Return what the gate of a namespace has published: the part of the set with a UID, and the
    denials. What is missing or unreadable is closed.
    """
    parts, denials = list(CredentialSet.closed(CLUSTER_PARTS).parts), Denials()
    with suppress(UnreadablePartError):
        if found := cluster.find(CONFIG_MAPS, DENIALS, home):
            denials = read_published_denials(found)
    with suppress(UnreadablePartError):
        number = part_of(uid, CLUSTER_PARTS) if UID.fullmatch(uid) else 0
        if found := cluster.find(CONFIG_MAPS, part_name(number), home):
            parts[number] = read_part(found, CLUSTER_PARTS)[1]
    return Published(credentials=CredentialSet(parts=tuple(parts)), denials=denials)


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
    missing = {
        part_name(number): partial(_missing_in_part, *each)
        for number, each in enumerate(zip(*split, strict=True))
        if any(each)
    }
    return _wait(cluster, _homes(cluster, home) if missing else [], missing, timeout_seconds)


def wait_denied(
    cluster: Cluster, home: str, denial: Denial, *, undo: bool, timeout_seconds: float
) -> float | None:
    """Wait until the gate of a namespace has published a denial or (`undo`) no longer has it.

    Returns after how many seconds that was so; None if there is no gate. Raises NotPublishedError.
    """

    def missing(document: Object) -> str:
        is_denied = denial.key in read_published_denials(document).keys
        return "" if is_denied is not undo else "its published denials are older"

    homes = {home}.intersection(_homes(cluster, home))
    return _wait(cluster, homes, {DENIALS: missing}, timeout_seconds)


def _homes(cluster: Cluster, known: str | None) -> list[str]:
    try:
        return gate_namespaces(cluster)
    except ForbiddenError as error:
        if known is not None:
            return [known]
        fact = "you may not see whether the cluster has a gate that has to publish this"
        raise NotPublishedError(fact, error.hint) from None


def _wait(
    cluster: Cluster, homes: Iterable[str], missing: Mapping[str, Missing], timeout_seconds: float
) -> float | None:
    began, waiter, took = cluster.clock.monotonic(), Waiter(cluster, timeout_seconds), None
    for home in homes:
        try:
            for name, missing_in in missing.items():
                look = partial(_look, cluster, home, name, missing_in)
                waiter.wait(f"the gate in {home}", look, _HINT)
        except NotReadyError as error:
            raise NotPublishedError(error.fact, error.hint) from None
        except ForbiddenError as error:
            fact = f"you may not see what the gate in {home} has published"
            raise NotPublishedError(fact, error.hint) from None
        took = cluster.clock.monotonic() - began
    return took


def _look(cluster: Cluster, home: str, name: str, missing_in: Missing) -> str | None:
    """Return what a ConfigMap lacks, or None."""
    try:
        found = cluster.find(CONFIG_MAPS, name, home)
        return f"it has published no {name}" if found is None else missing_in(found) or None
    except UnreadablePartError as error:
        return f"its ConfigMap {name} is not readable: {error}"
    except ClusterUnreachableError as error:
        return error.fact


def _missing_in_part(gone: frozenset[str], there: frozenset[str], document: Object) -> str:
    uids = read_part(document, CLUSTER_PARTS)[1].uids
    if gone & uids:
        return "its published set still has what was deleted"
    return "its published set does not have what was created" if there - uids else ""
