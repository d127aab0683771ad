"""Publishes in a cluster: ConfigMaps for authorizers and commands, and where the gateway
reads what is published itself, objects of its own.

Every object has the term of the leader that wrote it. A new leader first writes its term on all of
them, and every later write names the version of the object that it replaces. So a leader that was
paused, or cut off, cannot write any more: the API server refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import islice

from daypass._core.clock import rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.labels import TERM
from daypass._core.objects import Object, name_of, new_object
from daypass._core.poller import Poller
from daypass.gate.signing_keys import EVERY_SECONDS, SigningKeys, signing_keys_for
from daypass.kube.answers import METADATA
from daypass.kube.cluster import APPLY, JSON_PATCH, Cluster
from daypass.kube.errors import AlreadyExistsError, NotFoundError
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

LIMIT_TERM = 2**30
"""Beyond every term that a watch reaches; a Lease takes twice as much."""
CHECKED_AT_ONCE = 5
"""Objects; all of them within 30 s."""

_HEAD = ("apiVersion", "kind", "metadata")
_ONLY_METADATA = {"Accept": METADATA.format("")}


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
        self._engines = engines
        self.lease = lease
        read_keys = partial(signing_keys_for, config, cluster)
        needs_keys = any(engine.published_as is not None for engine in self._engines)
        self.keys = Poller(read_keys, EVERY_SECONDS) if needs_keys else None
        self._versions: dict[str, str] = {}  # by path, the one first that was checked longest ago

    @property
    def clock_ahead_seconds(self) -> float:
        """How far this clock is ahead of the API server's."""
        return self._cluster.clock_ahead_seconds

    def take_over(self) -> Published:
        """Write the lease's term on every object, create missing ones closed, and return what is in
        force. The term is raised above all that are found: a lease may be new, or restored.
        """
        closed, numbers = Published.closed(self.parts), [*range(self.parts), None]
        documents = [each for number in numbers for each in self._documents(number, closed)]
        keys = self._keys(SigningKeys(issuer="", key_set=""))
        found = {self._path(each): self._find(self._path(each)) for each in [*keys, *documents]}
        highest = max((term_of(each) for each in found.values() if each), default=0)
        if self.lease.term <= highest:
            self.lease.attempt(above=highest)
        if self.lease.term <= highest:
            raise DaypassError("another process holds the Lease")
        self._versions = {path: _version(each) for path, each in found.items() if each}
        for document in keys + documents:
            # Missing keys are not created: they are not known yet.
            if document not in keys or self._path(document) in self._versions:
                self._write(document, {})
        published = closed
        for number in numbers:
            *_, config_map = (found[self._path(each)] for each in self._documents(number, closed))
            if config_map is None:
                continue
            with suppress(UnreadablePartError):
                read = read_object(config_map, published)
                wanted = self._documents(number, read)
                # Its objects may differ from each other, or from what this config makes of it.
                if all(_has(found[self._path(each)], each) for each in wanted):
                    published = read
        return published

    def publish(self, number: int | None, wanted: Published) -> None:
        """Write a part, or the denials: for the gateways first, so that what the ConfigMap says is
        there already.
        """
        self._publish(self._documents(number, wanted))

    def publish_keys(self, keys: SigningKeys) -> None:
        """Write other keys, where a gateway needs them."""
        self._publish(self._keys(keys))

    def check(self) -> None:
        """Look at the objects whose turn it is. Raises DaypassError if one has changed."""
        for path in [*islice(self._versions, CHECKED_AT_ONCE)]:
            self._versions[path] = version = self._versions.pop(path)
            found = self._find(path, _ONLY_METADATA)
            if found is None or _version(found) != version:
                raise DaypassError(f"another process has changed or deleted {path}")

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
            message="the gate refuses the newest credentials of this namespace: it takes "
            f"{self._room} of each (watch.credentialsPerNamespace)",
            source={"component": GATE_WATCH},
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
        )
        with suppress(AlreadyExistsError):
            self._cluster.create(event)

    def _documents(self, number: int | None, published: Published) -> list[Object]:
        """Return the objects of a part, or of the denials, in the order in which they are
        written.
        """
        home = self._config.door.namespace
        if number is None:
            name, config_map = DENIALS, denials_config_map(published.denials, home)
        else:
            part, name = published.parts[number], part_name(number)
            config_map = part_config_map(number, part, home, room=self._room)
        of_gateways = [
            each for engine in self._engines for each in engine.published_objects(name, published)
        ]
        return [*of_gateways, config_map]

    def _keys(self, keys: SigningKeys) -> list[Object]:
        return [
            each
            for engine in self._engines
            for each in engine.keys_objects(keys.issuer, keys.key_set)
        ]

    @property
    def _room(self) -> int:
        return self._config.watch.credentials_per_namespace

    def _publish(self, documents: list[Object]) -> None:
        for document in documents:
            self._write(document, _content(document))

    def _write(self, document: Object, content: Object) -> None:
        """Write the term and this content on an object in place of the version that is known; if
        none is, create it whole.

        A JSON patch leaves nothing of what was there, as a merge patch would: a label that no
        longer selects the gateway's pods, or what someone else has added. No two leaders create the
        same object: each has a field manager of its own, and does not take fields from another.
        """
        path, term = self._path(document), {TERM: str(self.lease.term)}
        version = self._versions.pop(path, None)
        if version is None:
            metadata = {**document["metadata"], "annotations": term}
            change: object = {**document, "metadata": metadata}
            content_type, manager = APPLY, f"daypass-watch-{self.lease.term}"
            params = {"fieldManager": manager, "force": "false"}
        else:
            values = {"metadata/resourceVersion": version, "metadata/annotations": term, **content}
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
        self._versions[path] = _version(written)

    def _find(self, path: str, headers: dict[str, str] | None = None) -> Object | None:
        try:
            return self._cluster.request("GET", path, headers=headers, what=f"get {path}")
        except NotFoundError:
            return None

    def _path(self, document: Object) -> str:
        namespace = document["metadata"]["namespace"]
        return self._cluster.resource(document).path(namespace, name_of(document))


def term_of(document: Object) -> int:
    """Return the term in an object's annotation; 0 if no watch has written it."""
    text = str((document["metadata"].get("annotations") or {}).get(TERM))
    term = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    return term if term < LIMIT_TERM else 0


def _version(document: Object) -> str:
    return str(document["metadata"]["resourceVersion"])


def _content(document: Object) -> Object:
    """Return what a document replaces in an object, by path."""
    content = {key: value for key, value in document.items() if key not in _HEAD}
    return {"metadata/labels": document["metadata"].get("labels"), **content}


def _has(found: Object | None, document: Object) -> bool:
    return found is not None and _content(document).items() <= _content(found).items()
