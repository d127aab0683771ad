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
from typing import Literal, TypeAlias

from daypass._core.clock import Clock, rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.objects import Object, new_object
from daypass._core.poller import Poller
from daypass.gate.signing_keys import EVERY_SECONDS, SigningKeys, signing_keys_for
from daypass.gate.watch.controller import BACKOFF, AtGate
from daypass.gate.watch.fenced_objects import FencedObjects, content_of, term_of
from daypass.gate.watch.schedule import Number
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ApiError
from daypass.kube.lease import Lease
from daypass.kube.published_objects import (
    UnreadablePartError,
    denials_config_map,
    part_config_map,
    read_object,
)
from daypass.render.engines import AnyEngine
from daypass.render.names import GATE_WATCH
from daypass.rules.credentials import CLUSTER_PARTS
from daypass.rules.published import DENIALS, Published, part_name

CATCHES_UP_SECONDS = 0.1
"""For how long a gateway is written to at once that lacks something: others have to wait."""

_Item: TypeAlias = Number | Literal["keys"]
"""A part, the denials (None), or the signing keys."""
_NO_KEYS = SigningKeys(issuer="", key_set="")
_OF_ONE_OBJECT = (400, 413, 422)
"""Codes that say nothing about other objects of the same gateway."""


class ClusterPublisher:
    """Publishes what the gates of a config know, in terms of a lease, and signing keys for the
    gateways that read them. `engines`: those of the gates, at least one.

    Every method raises the errors of `daypass.kube.errors`. Not safe to share between threads.
    """

    parts = CLUSTER_PARTS
    pace_seconds = 0.25
    """istiod delivers a change once there was no other for 100 ms (PILOT_DEBOUNCE_AFTER), or after
    10 s: it needs a pause between two rounds."""

    def __init__(self, cluster: Cluster, engines: Sequence[AnyEngine], lease: Lease) -> None:
        self._cluster = cluster
        self._config = config = engines[0].config
        self.lease = lease
        self._home = FencedObjects(cluster, lease)
        self._gateways = [
            _Gateway(engine, FencedObjects(cluster, lease), cluster.clock)
            for engine in engines
            if engine.published_as is not None
        ]
        read_keys = partial(signing_keys_for, config, cluster)
        self.keys = Poller(read_keys, EVERY_SECONDS) if self._gateways else None
        self._published = Published.closed(self.parts)
        self._lacking: dict[Number, list[str]] = {}  # the gates that a ConfigMap names

    @property
    def clock_ahead_seconds(self) -> float:
        """How far this clock is ahead of the API server's."""
        return self._cluster.clock_ahead_seconds

    @property
    def gates(self) -> Mapping[str, AtGate]:
        """What the gates lack whose gateways read what is published themselves."""
        return {gateway.name: gateway.state for gateway in self._gateways}

    def take_over(self) -> Published:
        """Write the lease's term on every object, create missing ones closed, and return what is in
        force. The term is raised above all that are found: a lease may be new, or restored.
        """
        closed, numbers = Published.closed(self.parts), [*range(self.parts), None]
        documents = [self._config_map(number, closed, []) for number in numbers]
        self._home.forget()
        found = [self._home.find(each) for each in documents]
        terms = [term_of(each) for each in found if each is not None]
        highest = max([0, *terms, *(each.find(closed) for each in self._gateways)])
        if self.lease.term <= highest:
            self.lease.attempt(above=highest)
        if self.lease.term <= highest:
            raise DaypassError("another process holds the Lease")
        for gateway in self._gateways:
            gateway.take_over(closed)
        for document in documents:
            self._home.write(document, {})
        published = closed
        for number, config_map in zip(numbers, found, strict=True):
            if config_map is None:
                continue
            with suppress(UnreadablePartError):
                read = read_object(config_map, published)
                wanted = self._config_map(number, read, [])
                # Its objects may differ from each other, or from what this config makes of it.
                is_right = content_of(wanted).items() <= content_of(config_map).items()
                if is_right and all(each.had(number, read) for each in self._gateways):
                    published = read
        for gateway in self._gateways:
            gateway.expect(published)
        self._published, self._lacking = published, {}
        return published

    def publish(self, number: Number, wanted: Published) -> None:
        """Write a part, or the denials: for the gateways first, so that what the ConfigMap says is
        there already.
        """
        self._published = self._published.updated(number, wanted)
        for gateway in self._gateways:
            gateway.publish(number, self._published)
        self._write(number)

    def publish_keys(self, keys: SigningKeys) -> None:
        """Write other keys, where a gateway needs them."""
        for gateway in self._gateways:
            gateway.publish_keys(keys)

    def check(self) -> None:
        """Look at the objects whose turn it is, and let gateways catch up. Raises DaypassError if a
        ConfigMap has changed.
        """
        for path in self._home.changed():
            raise DaypassError(_changed(path))
        for gateway in self._gateways:
            gateway.check()
        for number in [*self._lacking]:
            if self._lacking[number] != self._lacking_at(number):
                self._write(number)

    def warn(self, namespace: str) -> None:
        """Report it as an Event, unless there is one: the API server keeps each for an hour."""
        now = rfc3339(utc(self._cluster.clock.unix()))
        event = new_object(
            "v1",
            "Event",
            f"{GATE_WATCH}.too-many",
            namespace,
            # An Event is only of objects in its own namespace: with `namespace`, this is one.
            involvedObject={
                "apiVersion": "v1",
                "kind": "Namespace",
                "name": namespace,
                "namespace": namespace,
            },
            type="Warning",
            reason="TooManyCredentials",
            message="the gates refuse the newest credentials of this namespace: they take "
            f"{self._room} of each (watch.credentialsPerNamespace)",
            source={"component": GATE_WATCH},
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
        )
        with suppress(AlreadyExistsError):
            self._cluster.create(event)

    def _write(self, number: Number) -> None:
        """Write the ConfigMap of a part, or of the denials."""
        lacking = self._lacking_at(number)
        document = self._config_map(number, self._published, lacking)
        self._home.write(document, content_of(document))
        self._lacking.pop(number, None)
        if lacking:
            self._lacking[number] = lacking

    def _lacking_at(self, number: Number) -> list[str]:
        return [each.name for each in self._gateways if number in each.lacking]

    def _config_map(self, number: Number, published: Published, lacking: Sequence[str]) -> Object:
        home = self._config.door.namespace
        if number is None:
            return denials_config_map(published.denials, home, lacking)
        return part_config_map(number, published.parts[number], home, lacking, room=self._room)

    @property
    def _room(self) -> int:
        return self._config.watch.credentials_per_namespace


class _Gateway:
    """What is published at a gateway that reads it itself. What fails there remains there.

    `lacking`: what it does not have as it is published.
    """

    def __init__(self, engine: AnyEngine, objects: FencedObjects, clock: Clock) -> None:
        self.name = engine.name
        self.lacking = set[_Item]()
        self._engine = engine
        self._objects = objects
        self._clock = clock
        self._published = Published.closed(0)
        self._keys = _NO_KEYS
        self._found: dict[_Item, list[Object | None]] = {}
        self._items: dict[str, _Item] = {}  # by path
        self._why = ""
        self._failures = 0  # in a row
        self._tries_again_at = self._is_back_at = -math.inf

    @property
    def state(self) -> AtGate:
        """What it lacks, and why."""
        return AtGate(lacking=len(self.lacking), why=self._why)

    def find(self, closed: Published) -> int:
        """Look at all objects, and return the highest term on them."""
        self._objects.forget()
        self.lacking, self._found, self._items = set(), {}, {}
        self._why, self._failures, self._keys = "", 0, _NO_KEYS
        self._tries_again_at = self._is_back_at = -math.inf
        with self._failing():
            for item in ("keys", *range(len(closed.parts)), None):
                for document in self._documents(item, closed):
                    self._items[self._objects.path(document)] = item
                    self._found.setdefault(item, []).append(self._objects.find(document))
        found = [each for some in self._found.values() for each in some if each is not None]
        return max(map(term_of, found), default=0)

    def take_over(self, closed: Published) -> None:
        """Write the term on what was found, and create what is missing, closed; but not the keys:
        they are not known yet."""
        if self._why:
            return
        with self._failing():
            for item in self._found:
                for document in self._documents(item, closed):
                    if item != "keys" or self._objects.has(document):
                        self._objects.write(document, {})

    def had(self, number: Number, published: Published) -> bool:
        """Return whether this was in force when it was looked at, or cannot be known."""
        pairs = zip(self._found.get(number, ()), self._documents(number, published), strict=False)
        return bool(self._why) or all(
            found is not None and content_of(document).items() <= content_of(found).items()
            for found, document in pairs
        )

    def expect(self, published: Published) -> None:
        """Take what is in force; nothing is known of a gateway that has failed."""
        self._published = published
        if self._why:
            self.lacking.update(range(len(published.parts)), [None])

    def publish(self, number: Number, published: Published) -> None:
        """Write a part, or the denials."""
        self._published = published
        self._put(number)

    def publish_keys(self, keys: SigningKeys) -> None:
        """Write other keys."""
        self._keys = keys
        self._put("keys")

    def check(self) -> None:
        """Look at the objects whose turn it is, and write what is lacking."""
        began = self._clock.monotonic()
        if began < self._is_back_at:
            return
        if not self.lacking:
            self._why, self._failures = "", 0
        with self._failing():
            for path in self._objects.changed():
                self.lacking.add(self._items[path])
                if not self._failures:  # others can't put off what is written next
                    self._fail(DaypassError(_changed(path)))
        if began < self._tries_again_at:
            return
        for item in [*self.lacking]:
            now = self._clock.monotonic()
            if now < self._is_back_at or now > began + CATCHES_UP_SECONDS:
                break
            self._put(item)

    def _put(self, item: _Item) -> None:
        self.lacking.add(item)
        if self._clock.monotonic() < self._is_back_at:
            return
        with self._failing():
            for document in self._documents(item, self._published):
                self._items[self._objects.path(document)] = item
                self._objects.overwrite(document, content_of(document))
            self.lacking.discard(item)

    def _documents(self, item: _Item, published: Published) -> list[Object]:
        """Return the objects of an item."""
        if item == "keys":
            return self._engine.keys_objects(self._keys.issuer, self._keys.key_set)
        name = DENIALS if item is None else part_name(item)
        return self._engine.published_objects(name, published)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Note what the API server refuses, and pause before it is asked again."""
        try:
            yield
        except ApiError as error:
            self._fail(error)
            if error.status.code not in _OF_ONE_OBJECT:
                self._is_back_at = self._tries_again_at

    def _fail(self, error: DaypassError) -> None:
        self._why = str(error)
        self._failures += 1
        self._tries_again_at = self._clock.monotonic() + BACKOFF.seconds(self._failures)


def _changed(path: str) -> str:
    return f"another process has changed or deleted {path}"
