"""What the gates of a cluster have published, as ConfigMaps: one for each shard of the set, and one
for denials. The watch writes them, authorizers read them, and commands wait for what they change.

They have a label of their own, so that one watch follows all of them. What is read is bounded and
checked: an unreadable shard counts as closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

from daypass._core.clock import rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.labels import PUBLISHED
from daypass._core.kubernetes.objects import Object, name_of, new_object
from daypass._core.text import printable
from daypass.kube.cluster import Cluster, NotReadyError, Waiter
from daypass.kube.errors import ClusterUnreachableError, ForbiddenError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES
from daypass.rules.published import (
    CLUSTER_SHARDS,
    DENIAL_KEY,
    DENIALS,
    LIMIT_DENIALS,
    NAMES,
    UID,
    Denial,
    Denials,
    Published,
    Shard,
    is_credential,
    shard_name,
    shard_of,
)

LIMIT_BYTES = 1024 * 1024
"""Of a ConfigMap's data, as the API server has it."""
_CLOSES, _ENTRIES, _ROOM = "closesAt", "entries", "credentialsPerNamespace"
LACKING = "lackingAt"
"""The gates whose gateways do not have it yet, for commands."""
GATE_NAMESPACES = f"{labels.GATE}=true"
"""Selects the namespaces of gates. Only cluster administrators can label namespaces."""
Missing: TypeAlias = Callable[[Object], str]
"""Returns what a ConfigMap lacks, or ""."""


class UnreadableShardError(ValueError):
    """A ConfigMap is no published shard of this format."""


def shard_config_map(number: int, shard: Shard, namespace: str, *, room: int) -> Object:
    """Return a shard's ConfigMap; the same shard gives the same bytes.

    `room`: how many credentials of one namespace the set takes, for commands that create them.
    """
    entries = sorted(shard.credentials)
    found = _config_map(shard_name(number), namespace, entries, shard.closes_unix)
    found["data"][_ROOM] = str(room)
    return found


def denials_config_map(denials: Denials, namespace: str) -> Object:
    """Return the denials' ConfigMap; the same denials give the same bytes."""
    return _config_map(DENIALS, namespace, sorted(denials.keys), denials.closes_unix)


def read_shard(document: Mapping[str, Any], shards: int) -> tuple[int, Shard]:
    """Return the number and the content of a shard. Raises UnreadableShardError."""
    found, closes_unix = _read(document)
    number = int(str(document["metadata"]["name"])[-2:])
    if not all(is_credential(each) and shard_of(each, shards) == number for each in found):
        raise UnreadableShardError("it has other than pairs of UIDs of its range")
    return number, Shard(credentials=frozenset(found), closes_unix=closes_unix)


def read_published_denials(document: Mapping[str, Any]) -> Denials:
    """Return the denials. Raises UnreadableShardError."""
    keys, closes_unix = _read(document)
    if len(keys) > LIMIT_DENIALS or not all(map(DENIAL_KEY.fullmatch, keys)):
        raise UnreadableShardError("it has too many denials, or other entries")
    return Denials(keys=frozenset(keys), closes_unix=closes_unix)


def read_object(document: Mapping[str, Any], before: Published) -> Published:
    """Return what is published with a shard, or the denials. Raises UnreadableShardError."""
    name = document["metadata"]["name"]
    if name not in NAMES:
        raise UnreadableShardError("it is neither a shard nor the denials")
    if name == DENIALS:
        return replace(before, denials=read_published_denials(document))
    return before.with_shard(*read_shard(document, len(before.shards)))


def closing_time(document: Mapping[str, Any]) -> int:
    """Return from when on it refuses every token. Raises UnreadableShardError."""
    return _read(document)[1]


def read_room(document: Mapping[str, Any]) -> int:
    """Return how many credentials of one namespace the set takes. Raises UnreadableShardError."""
    text = _data(document).get(_ROOM, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UnreadableShardError("it does not say how many credentials a namespace may have")
    return int(text)


def read_lacking(document: Mapping[str, Any]) -> str:
    """Return the names of the gates that do not have it yet, or "". Raises UnreadableShardError."""
    return _data(document).get(LACKING, "")


def _config_map(name: str, namespace: str, entries: Sequence[str], closes_unix: int) -> Object:
    data = {_CLOSES: rfc3339(utc(closes_unix)), _ENTRIES: "\n".join(entries)}
    return new_object("v1", "ConfigMap", name, namespace, labels={PUBLISHED: "true"}, data=data)


def _read(document: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the entries and the closing time. Raises UnreadableShardError."""
    data = _data(document)
    try:
        closes = datetime.strptime(data[_CLOSES], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return data[_ENTRIES].split(), int(closes.timestamp())
    except (KeyError, ValueError):
        raise UnreadableShardError("it has no entries or no closing time") from None


def _data(document: Mapping[str, Any]) -> Mapping[str, str]:
    data = document.get("data")
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise UnreadableShardError("it has no data")
    if sum(map(len, data.values())) > LIMIT_BYTES:
        raise UnreadableShardError("it is too large")
    return data


def gate_namespaces(cluster: Cluster) -> list[str]:
    """Return the namespaces of gates. Raises ForbiddenError."""
    found = cluster.list(NAMESPACES, labels=GATE_NAMESPACES, metadata_only=True)
    return sorted(map(name_of, found))


def require_gate(cluster: Cluster, gate_namespace: str) -> None:
    """Raise DaypassError if a namespace has no gate; not for users who may not list them."""
    with suppress(ForbiddenError):
        if gate_namespace not in gate_namespaces(cluster):
            fact = f"{cluster.connection.server} has no gate in namespace {gate_namespace}"
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


def read_published(cluster: Cluster, gate_namespace: str, uid: str) -> Published:
    """Return what the gate of a namespace has published: the shard of the set with a UID, and the
    denials. What is missing or unreadable is closed.
    """
    published = Published.closed(CLUSTER_SHARDS)
    number = shard_of(uid, CLUSTER_SHARDS) if UID.fullmatch(uid) else 0
    for name in (DENIALS, shard_name(number)):
        with suppress(UnreadableShardError):
            if found := cluster.find(CONFIG_MAPS, name, gate_namespace):
                published = read_object(found, published)
    return published


class GateWait:
    """Waits until every gate has published what a command changes, `timeout_seconds` in all.

    `gate_namespace`: the one that the config names, for users who may not list namespaces.
    `failed`: a gate has not published the change in time, or the user may not see whether it has;
    `warn` gets why. A dry run waits for nothing.
    """

    def __init__(
        self,
        cluster: Cluster,
        timeout_seconds: float,
        warn: Callable[[str, str], None],
        *,
        gate_namespace: str | None = None,
    ) -> None:
        self.failed = False
        self._cluster = cluster
        self._gate_namespace = gate_namespace
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
        """Wait until its gate has published a denial or (`undo`) no longer has it."""

        def missing(document: Object) -> str:
            is_denied = denial.key in read_published_denials(document).keys
            return "" if is_denied is not undo else "its published denials are older"

        self._wait({DENIALS: missing}, only_named=True)

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

    def _wait(self, missing: Mapping[str, Missing], *, only_named: bool = False) -> None:
        if not self._left or not missing:
            return
        began, waiter = self._cluster.clock.monotonic(), Waiter(self._cluster, self._left)
        seen = "whether the cluster has a gate that has to publish this"
        hint = (
            f"if no watch publishes, do it once: {command('gate', 'watch', '--once')}\n"
            f"namespaces that it may not watch: {command('identity', 'list', '-A', '--check')}"
        )
        try:
            for gate_namespace in self._gate_namespaces(only_named=only_named):
                seen = f"what the gate in {gate_namespace} has published"
                for name, missing_in in missing.items():
                    look = partial(_look, self._cluster, gate_namespace, name, missing_in)
                    waiter.wait(f"the gate in {gate_namespace}", look, hint)
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

    def _gate_namespaces(self, *, only_named: bool) -> list[str]:
        try:
            found = gate_namespaces(self._cluster)
        except ForbiddenError:
            if self._gate_namespace is None:
                raise
            return [self._gate_namespace]
        return [each for each in found if each == self._gate_namespace or not only_named]


def _look(cluster: Cluster, gate_namespace: str, name: str, missing_in: Missing) -> str | None:
    """Return what a ConfigMap lacks, or None."""
    try:
        found = cluster.find(CONFIG_MAPS, name, gate_namespace)
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
