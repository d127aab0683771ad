"""The gates of a cluster, for commands: where they are, and what they have published.

A command deletes or creates, and waits here until every gate has published that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.text import printable
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ClusterUnreachableError, ForbiddenError
from daypass.kube.published_objects import (
    UnreadableShardError,
    read_lacking,
    read_object,
    read_published_denials,
    read_room,
    read_shard,
)
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES
from daypass.kube.waiting import NotReadyError, Waiter
from daypass.rules.denials import Denial
from daypass.rules.published import (
    CLUSTER_SHARDS,
    DENIALS,
    NAMES,
    UID,
    Published,
    shard_name,
    shard_of,
)

GATE_NAMESPACES = f"{labels.GATE}=true"
"""Selects the namespaces of gates. Only cluster administrators can label namespaces."""
Missing: TypeAlias = Callable[[Object], str]
"""Returns what a ConfigMap lacks, or ""."""


def gate_namespaces(cluster: Cluster) -> list[str]:
    """Return the namespaces of gates. Raises ForbiddenError."""
    found = cluster.list(NAMESPACES, labels=GATE_NAMESPACES, metadata_only=True)
    return sorted(map(name_of, found))


def require_gate(cluster: Cluster, home: str) -> None:
    """Raise DaypassError if a namespace has no gate; not for users who may not list them."""
    with suppress(ForbiddenError):
        if home not in gate_namespaces(cluster):
            fact = f"{cluster.connection.server} has no gate in namespace {home}"
            hint = f"name its cluster: --context CONTEXT\nor apply it: {command('apply')}"
            raise DaypassError(fact, hint, reason="no-gate")


def find_room(cluster: Cluster) -> int | None:
    """Return how many credentials of one namespace every gate takes; None if it is not known."""
    try:
        shards = [
            cluster.find(CONFIG_MAPS, shard_name(0), each) for each in gate_namespaces(cluster)
        ]
        return min((read_room(each) for each in shards if each is not None), default=None)
    except (ForbiddenError, UnreadableShardError):
        return None


def read_published(cluster: Cluster, home: str, uid: str) -> Published:
    """Return what the gate of a namespace has published: the shard of the set with a UID, and the
    denials. What is missing or unreadable is closed.
    """
    published = Published.closed(CLUSTER_SHARDS)
    number = shard_of(uid, CLUSTER_SHARDS) if UID.fullmatch(uid) else 0
    for name in (DENIALS, shard_name(number)):
        with suppress(UnreadableShardError):
            if found := cluster.find(CONFIG_MAPS, name, home):
                published = read_object(found, published)
    return published


class GateWait:
    """Waits until every gate has published what a command changes, `timeout_seconds` in all.

    `home`: a gate's namespace that the config names, for users who may not list namespaces.
    `failed`: a gate has not published the change in time, or the user may not see whether it has;
    `warn` gets why. A dry run waits for nothing.
    """

    def __init__(
        self,
        cluster: Cluster,
        timeout_seconds: float,
        warn: Callable[[str, str], None],
        *,
        home: str | None = None,
    ) -> None:
        self.failed = False
        self._cluster = cluster
        self._home = home
        self._left = 0.0 if cluster.dry_run else timeout_seconds
        self._warn = warn
        self._took: float | None = None
        self._is_new = False

    @property
    def exit_code(self) -> int:
        """3 if it has failed, else 0."""
        return 3 if self.failed else 0

    @property
    def at_gates(self) -> str:
        """When the change applies at gates, for a message; "" if there is nothing to say."""
        if self.failed and self._is_new:
            return "a gate of daypass may refuse them at first"
        if self.failed:
            return "at a gate of daypass: once it has published this"
        if self._took is None:
            return ""
        return f"at a gate of daypass: published after {max(self._took, 0.1):.1f} s"

    def wait_removed(self, uids: Iterable[str]) -> None:
        """Wait until the set of no gate has any of these UIDs."""
        self._wait_for_parts(uids, are_new=False)

    def wait_added(self, uids: Iterable[str]) -> None:
        """Wait until the set of every gate has all of these UIDs."""
        self._is_new = True
        self._wait_for_parts(uids, are_new=True)

    def wait_denied(self, denial: Denial, *, undo: bool) -> None:
        """Wait until the gate in `home` has published a denial or (`undo`) no longer has it."""

        def missing(document: Object) -> str:
            is_denied = denial.key in read_published_denials(document).keys
            return "" if is_denied is not undo else "its published denials are older"

        self._wait({DENIALS: missing}, only_home=True)

    def _wait_for_parts(self, uids: Iterable[str], *, are_new: bool) -> None:
        def missing(changed: set[str], document: Object) -> str:
            published = read_shard(document, CLUSTER_SHARDS)[1].uids
            if are_new:
                return "" if changed <= published else "its published set lacks what was created"
            return "its published set still has what was deleted" if changed & published else ""

        changed = defaultdict[str, set[str]](set)
        for uid in uids if self._left else ():
            changed[shard_name(shard_of(uid, CLUSTER_SHARDS))].add(uid)
        self._wait({name: partial(missing, its) for name, its in changed.items()})

    def _wait(self, missing: Mapping[str, Missing], *, only_home: bool = False) -> None:
        if not self._left or not missing:
            return
        began, waiter = self._cluster.clock.monotonic(), Waiter(self._cluster, self._left)
        seen = "whether the cluster has a gate that has to publish this"
        hint = (
            f"if no watch publishes, do it once: {command('gate', 'watch', '--once')}\n"
            f"namespaces that it may not watch: {command('identity', 'list', '-A', '--check')}"
        )
        try:
            for home in self._homes(only_home=only_home):
                seen = f"what the gate in {home} has published"
                for name, missing_in in missing.items():
                    look = partial(_look, self._cluster, home, name, missing_in)
                    waiter.wait(f"the gate in {home}", look, hint)
                took = self._cluster.clock.monotonic() - began
                self._took = max(took, self._took or 0.0)
            self._left = max(waiter.left(), 0.1)
        except ForbiddenError as error:
            self._fail(f"you may not see {seen}", error.hint)
        except NotReadyError as error:
            self._fail(error.fact, error.hint)

    def _fail(self, fact: str, hint: str) -> None:
        self.failed, self._left = True, 0.0
        self._warn(fact, hint)

    def _homes(self, *, only_home: bool) -> list[str]:
        try:
            found = gate_namespaces(self._cluster)
        except ForbiddenError:
            if self._home is None:
                raise
            return [self._home]
        return [each for each in found if each == self._home or not only_home]


def _look(cluster: Cluster, home: str, name: str, missing_in: Missing) -> str | None:
    """Return what a ConfigMap lacks, or None."""
    try:
        found = cluster.find(CONFIG_MAPS, name, home)
        if found is None:
            return f"it has not published all {len(NAMES)} shards of what it knows"
        if missing := missing_in(found):
            return missing
        gates = read_lacking(found)
        return f"it could not be published at: {printable(gates)}" if gates else None
    except UnreadableShardError as error:
        return f"its ConfigMap {name} is not readable: {error}"
    except ClusterUnreachableError as error:
        return error.fact
