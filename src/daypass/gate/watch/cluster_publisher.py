"""Publishes in a cluster: ConfigMaps for authorizers and commands, and for gateways that read what
is published themselves, objects of their own.

A gateway whose objects cannot be written does not stop the others. What it has closes in its time,
ConfigMaps name its gate, and it is tried again until it has everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Literal, TypeAlias

from daypass._core.clock import Backoff
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.labels import TERM
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.threads import Poller
from daypass.gate.publication import (
    LACKING,
    UnreadableShardError,
    denials_config_map,
    read_object,
    shard_config_map,
)
from daypass.gate.signing_keys import EVERY_SECONDS, SigningKeys, signing_keys_for
from daypass.gate.watch.schedule import Number
from daypass.kube.answers import METADATA
from daypass.kube.cluster import APPLY, JSON_PATCH, Cluster
from daypass.kube.errors import ApiError, ConflictError, NotFoundError
from daypass.kube.lease import Lease
from daypass.render.engines.engine import AnyEngine
from daypass.rules.published import CLUSTER_SHARDS, DENIALS, Published, shard_name

LIMIT_TERM = 2**30
"""Beyond every term that a watch reaches; a Lease takes twice as much."""
CHECKED_AT_ONCE = 3
"""Objects of one place; all of them within 30 s."""

Item: TypeAlias = Number | Literal["keys"]
"""What an object has: a shard, the denials (None), or the signing keys."""

_HEAD = ("apiVersion", "kind", "metadata")
_ONLY_METADATA = {"Accept": METADATA.format("")}
CATCHES_UP_SECONDS = 0.1
"""For how long a gateway is written to at once that lacks something: others have to wait."""

_OF_ONE_OBJECT = (400, 413, 422)
"""Codes that say nothing about other objects of the same gateway."""
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=10.0)
"""Between two attempts."""


class ClusterPublisher:
    """Publishes what the gates of a config know, in terms of a lease, and signing keys for the
    gateways that read them. `engines`: those of the gates, at least one. `gateways`: the gates
    whose gateways read what is published themselves.

    Every method raises the errors of `daypass.kube.errors`. Not safe to share between threads.
    """

    shards = CLUSTER_SHARDS

    def __init__(self, cluster: Cluster, engines: Sequence[AnyEngine], lease: Lease) -> None:
        self._cluster = cluster
        self._config = config = engines[0].config
        self._engines = [engine for engine in engines if engine.published_as is not None]
        self.lease = lease
        read_keys = partial(signing_keys_for, config, cluster)
        self.keys = Poller(read_keys, EVERY_SECONDS) if self._engines else None
        self._forget()

    def _forget(self) -> None:
        """Know nothing of what is there, and of how it was to write it."""
        self._objects = FencedObjects(self._cluster, self.lease)
        self.gateways = [Gateway(each, self._cluster, self.lease) for each in self._engines]
        self._published = Published.closed(self.shards)
        self._lacking: dict[Number, str] = {}  # the gates that a ConfigMap names

    @property
    def clock_ahead_seconds(self) -> float:
        """How far this clock is ahead of the API server's."""
        return self._cluster.clock_ahead_seconds

    def take_over(self) -> Published:
        """Write the lease's term on every object, create missing ones closed, and return what is in
        force. The term is raised above all that are found: a lease may be new, or restored.
        """
        self._forget()
        closed = self._published
        documents: dict[Item, Object] = {
            number: self._config_map(number, closed) for number in _numbers(closed)
        }
        found, published = self._objects.find(documents), closed
        at_gateways = [gateway.find(closed) for gateway in self.gateways]
        there = (each for some in (found, *at_gateways) for each in some.values())
        highest = max((term_of(each) for each in there if each is not None), default=0)
        if self.lease.term <= highest:
            self.lease.attempt(above=highest)
        if self.lease.term <= highest:
            raise DaypassError("another process holds the Lease")
        for number in _numbers(closed):
            with suppress(UnreadableShardError):
                if (config_map := found[number]) is not None:
                    read = read_object(config_map, published)
                    # It may differ from what this config makes of it.
                    if is_as(config_map, self._config_map(number, read)):
                        published = read
        for gateway, its in zip(self.gateways, at_gateways, strict=True):
            for number in gateway.take_over(its, published):
                published = published.updated(number, closed)
        for item, document in documents.items():
            self._objects.write(item, document, only_term=True)
        self._published = published
        return published

    def publish(self, number: Number, wanted: Published) -> None:
        """Write a shard, or the denials: for the gateways first, so that what the ConfigMap says is
        there already.
        """
        self._published = self._published.updated(number, wanted)
        for gateway in self.gateways:
            gateway.put(number, self._published)
        self._write(number)

    def publish_keys(self, keys: SigningKeys) -> None:
        """Write other keys, where a gateway needs them."""
        for gateway in self.gateways:
            gateway.keys = keys
            gateway.put("keys", self._published)

    def check(self) -> None:
        """Look at the objects whose turn it is, and let gateways catch up. Raises DaypassError if a
        ConfigMap has changed.
        """
        for _, path in self._objects.changed():
            raise DaypassError(_changed(path))
        for gateway in self.gateways:
            gateway.check(self._published)
        for number, named in [*self._lacking.items()]:
            if named != self._lacking_at(number):
                self._write(number)

    def _write(self, number: Number) -> None:
        """Write the ConfigMap of a shard, or of the denials."""
        document = self._config_map(number, self._published)
        self._lacking[number] = lacking = self._lacking_at(number)
        if lacking:
            document["data"][LACKING] = lacking
        self._objects.write(number, document)

    def _lacking_at(self, number: Number) -> str:
        return ", ".join(each.name for each in self.gateways if number in each.lacking)

    def _config_map(self, number: Number, published: Published) -> Object:
        gate_namespace = self._config.door.namespace
        if number is None:
            return denials_config_map(published.denials, gate_namespace)
        return shard_config_map(number, published.shards[number], gate_namespace, room=self._room)

    @property
    def _room(self) -> int:
        return self._config.watch.credentials_per_namespace


class Gateway:
    """What is published at a gateway that reads it itself. What fails there remains there.

    `lacking`: what it does not have as it is published; `why`: the last failure, until it has
    everything. `keys`: those to publish.
    """

    def __init__(self, engine: AnyEngine, cluster: Cluster, lease: Lease) -> None:
        self.name = engine.name
        self.lacking = set[Item]()
        self.why = ""
        self.keys = SigningKeys(issuer="", key_set="")
        self._engine = engine
        self._objects = FencedObjects(cluster, lease)
        self._clock = cluster.clock
        self._failures = 0  # in a row
        self._tries_again_at = self._is_back_at = -math.inf

    def find(self, closed: Published) -> dict[Item, Object | None]:
        """Return all objects as they are; nothing if that fails."""
        with self._failing():
            items: tuple[Item, ...] = ("keys", *_numbers(closed))
            return self._objects.find({item: self._document(item, closed) for item in items})
        return {}

    def take_over(self, found: Mapping[Item, Object | None], published: Published) -> list[Number]:
        """Write the term on what was found, and create what is missing, closed; but not the keys:
        they are not known yet. Return what is not there as it is published.

        Nothing is known of a gateway that fails: it lacks everything.
        """
        closed = Published.closed(len(published.shards))
        with self._failing():
            for item, each in found.items():
                if each is not None or item != "keys":
                    self._objects.write(item, self._document(item, closed), only_term=True)
        if self.why:
            self.lacking.update(_numbers(published))
            return []
        numbers = _numbers(published)
        return [n for n in numbers if not is_as(found[n], self._document(n, published))]

    def put(self, item: Item, published: Published) -> None:
        """Write an item, except while the gateway is left alone after a failure."""
        self.lacking.add(item)
        if self._clock.monotonic() >= self._is_back_at:
            with self._failing():
                self._objects.overwrite(item, self._document(item, published))
                self.lacking.discard(item)

    def check(self, published: Published) -> None:
        """Look at the objects whose turn it is, and write what is lacking."""
        if self._clock.monotonic() < self._is_back_at:
            return
        if not self.lacking:
            self.why, self._failures = "", 0
        with self._failing():
            for item, path in self._objects.changed():
                self.lacking.add(item)
                self.why = _changed(path)
        began = self._clock.monotonic()  # after looking: however long that takes, some are written
        if began >= self._tries_again_at:
            for item in [*self.lacking]:
                if self._clock.monotonic() <= began + CATCHES_UP_SECONDS:
                    self.put(item, published)

    def _document(self, item: Item, published: Published) -> Object:
        if item == "keys":
            return self._engine.keys_object(self.keys.issuer, self.keys.key_set)
        name = DENIALS if item is None else shard_name(item)
        return self._engine.published_object(name, published)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Note what the API server refuses, and pause before it is asked again."""
        try:
            yield
        except ApiError as error:
            self.why = str(error)
            self._failures += 1
            self._tries_again_at = self._clock.monotonic() + BACKOFF.seconds(self._failures)
            if error.status.code not in _OF_ONE_OBJECT:
                self._is_back_at = self._tries_again_at


def _numbers(published: Published) -> tuple[Number, ...]:
    """Return the numbers of all shards, and that of the denials."""
    return (*range(len(published.shards)), None)


def _changed(path: str) -> str:
    return f"another process has changed or deleted {path}"


class FencedObjects:
    """The objects of one place, one for each item, that one leader at a time writes.

    Each has the term of the leader that wrote it. A new leader first writes its term on all of
    them, and every later write names the version of the object that it replaces. So a leader that
    was paused, or cut off, cannot write any more: the API server refuses it.

    Every method raises the errors of `daypass.kube.errors`. Not safe to share between threads.
    """

    def __init__(self, cluster: Cluster, lease: Lease) -> None:
        self._cluster = cluster
        self._lease = lease
        # Path and version of what is known; first, what was checked longest ago.
        self._known: dict[Item, tuple[str, str]] = {}

    def find(self, documents: Mapping[Item, Object]) -> dict[Item, Object | None]:
        """Return objects as they are, if there are any, and know their versions from then on."""
        return {item: self._look(item, self._path(each)) for item, each in documents.items()}

    def write(self, item: Item, document: Object, *, only_term: bool = False) -> None:
        """Write the term and the content of an object in place of the version that is known; if
        none is, create it whole. Raises ConflictError or NotFoundError if it has changed since.

        A JSON patch leaves nothing of what was there, as a merge patch would: a label that no
        longer selects the gateway's pods, or what someone else has added. No two leaders create the
        same object: each has a field manager of its own, and does not take fields from another.
        """
        known, term = self._known.pop(item, None), {TERM: str(self._lease.term)}
        if known is None:
            path, metadata = self._path(document), {**document["metadata"], "annotations": term}
            change: object = {**document, "metadata": metadata}
            content_type, manager = APPLY, f"daypass-watch-{self._lease.term}"
            params = {"fieldManager": manager, "force": "false"}
        else:
            path, version = known
            values = {"metadata/resourceVersion": version, "metadata/annotations": term}
            values |= {} if only_term else _content(document)
            change = [
                {"op": "add", "path": f"/{at}", "value": value} for at, value in values.items()
            ]
            content_type, params = JSON_PATCH, {"fieldManager": "daypass-watch"}
        written = self._cluster.request(
            "PATCH",
            path,
            change,
            content_type=content_type,
            params=params,
            headers=_ONLY_METADATA,
            what=f"publish {document['kind']} {name_of(document)}",
        )
        self._known[item] = path, _version(written)

    def overwrite(self, item: Item, document: Object) -> None:
        """Write as `write`, whatever others have made of the object. Raises DaypassError unless the
        Lease says that this process has led since its term: they may be a later leader.
        """
        if item in self._known:
            with suppress(ConflictError, NotFoundError):
                return self.write(item, document)
        self._look(item, self._path(document))
        # After that: a later leader than it finds here gives the object another version.
        term = self._lease.term
        self._lease.attempt()
        if not self._lease.is_held or self._lease.term != term:
            raise DaypassError("another process publishes in a later term")
        return self.write(item, document)

    def changed(self) -> list[tuple[Item, str]]:
        """Look at the objects whose turn it is; return items and paths of those that others have
        changed. Their versions are no longer known.
        """
        found = []
        for item in [*islice(self._known, CHECKED_AT_ONCE)]:
            before = path, _ = self._known[item]
            self._look(item, path, _ONLY_METADATA)
            if self._known.get(item) != before:
                self._known.pop(item, None)
                found.append((item, path))
        return found

    def _path(self, document: Object) -> str:
        """Return an object's path. Raises NotFoundError for an unknown kind."""
        namespace = document["metadata"]["namespace"]
        return self._cluster.resource(document).path(namespace, name_of(document))

    def _look(self, item: Item, path: str, headers: dict[str, str] | None = None) -> Object | None:
        """Return an object, if there is one, and know its version."""
        self._known.pop(item, None)
        try:
            found = self._cluster.request("GET", path, headers=headers, what=f"get {path}")
        except NotFoundError:
            return None
        self._known[item] = path, _version(found)
        return found


def term_of(document: Object) -> int:
    """Return the term in an object's annotation; 0 if no watch has written it."""
    text = str((document["metadata"].get("annotations") or {}).get(TERM))
    term = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    return term if term < LIMIT_TERM else 0


def is_as(found: Object | None, document: Object) -> bool:
    """Return whether an object is there and has the content of a document."""
    return found is not None and _content(document).items() <= _content(found).items()


def _content(document: Object) -> Object:
    """Return what a document replaces in an object, by path."""
    content = {key: value for key, value in document.items() if key not in _HEAD}
    return {"metadata/labels": document["metadata"].get("labels"), **content}


def _version(document: Object) -> str:
    return str(document["metadata"]["resourceVersion"])
