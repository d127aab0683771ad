"""Publishers: they put a revocation list in force, in a cluster or in a local Envoy.

Every object in a cluster carries the number of the record that it was made from, and a publisher
never replaces a newer one: the newer record was made from the older one and contains all of it. So
a controller, its successor and commands may publish at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from daypass._core.labels import RECORD_NUMBER
from daypass.config import Config, Gate
from daypass.gate.revocation.published_list import (
    HEARTBEAT_SECONDS,
    PublishedRevocations,
    heartbeat,
    revocation_config_map,
)
from daypass.gate.signing_keys import SigningKeys
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.resources import CONFIG_MAPS, Object, name_of
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.envoy_gateway import keys_config_map, keys_namespace
from daypass.render.istio.objects import keys_object, revoked_objects
from daypass.render.objects import GATE_REVOKED

TRIES = 5
HEARTBEAT_EVERY_SECONDS = HEARTBEAT_SECONDS / 2
RESTORE_EVERY_SECONDS = 30.0
Documents: TypeAlias = list[Object]


class LocalPublisher:
    """Passes lists on to Envoy and the authorizer on this machine.

    `take` is set once Envoy runs; it has the first list from its start. `is_first_start`: the API
    server is new too, so that no token was revoked before.
    """

    pace_seconds = 0.0

    def __init__(self, *, is_first_start: bool) -> None:
        self.take: Callable[[RevocationSnapshot], None] | None = None
        self._is_first_start = is_first_start

    def publish(self, revoked: RevocationSnapshot, *, heard_unix: float, number: int) -> None:
        """Put the list in force. Raises what `take` raises."""
        if self.take is not None:
            self.take(revoked)

    def is_anything_published(self) -> bool:
        """Return whether tokens may have been revoked before this start."""
        return not self._is_first_start

    def publish_keys(self, keys: SigningKeys, *, number: int) -> None:
        """Do nothing: the process that runs Envoy gives it the keys."""

    def maintain(self, heard_unix: float | None) -> list[str]:
        """Do nothing: a list in Envoy needs no heartbeat."""
        return []


class ClusterPublisher:
    """Publishes a cluster's list, in objects that its gateway reloads while it runs.

    `list_objects`: the gateway's objects that hold a list, always the same names. `key_objects`:
    those with the API server's issuer and keys. `for_authorizers`: the namespace of the ConfigMap
    that authorizers read; None if there are none. Every method raises the errors of
    `daypass.kube.errors`. Not safe to share between threads.
    """

    pace_seconds = 0.25
    """Between two publications: changes in between are published together."""

    def __init__(
        self,
        cluster: Cluster,
        list_objects: Callable[[RevocationSnapshot], Documents],
        key_objects: Callable[[SigningKeys], Documents],
        *,
        for_authorizers: str | None,
    ) -> None:
        self._cluster = cluster
        self._list_objects = list_objects
        self._key_objects = key_objects
        self._for_authorizers = for_authorizers
        self._heartbeat_at = self._restored_at = -math.inf
        self._put: dict[str, tuple[Object, int]] = {}
        self._versions: dict[str, str] = {}
        self._found: dict[str, Object] = {}

    def publish(self, revoked: RevocationSnapshot, *, heard_unix: float, number: int) -> None:
        """Publish a list; unchanged objects are not written. `heard_unix`: its heartbeat."""
        documents = [each for each in self._list_objects(revoked) if not self._is_put(each)]
        for document in documents:
            self._look(document)
        # Growing objects first: an entry that moves is never in neither object.
        for document in sorted(documents, key=self._growth, reverse=True):
            self._replace(document, number)
        if self._for_authorizers is not None:
            listed = PublishedRevocations(revoked=revoked, heard_unix=heard_unix)
            self._replace(revocation_config_map(listed, self._for_authorizers), number)
        self._heartbeat_at = self._cluster.clock.monotonic()

    def is_anything_published(self) -> bool:
        """Return whether any published object exists, whatever its content."""
        no_keys, no_list = SigningKeys(issuer="", key_set=""), RevocationSnapshot()
        documents = [*self._key_objects(no_keys), *self._list_objects(no_list)]
        if self._for_authorizers is not None:
            nothing = PublishedRevocations(revoked=no_list, heard_unix=0)
            documents.append(revocation_config_map(nothing, self._for_authorizers))
        return any(self._find(document, metadata_only=True) for document in documents)

    def publish_heartbeat(self, heard_unix: float) -> None:
        """Renew the heartbeat for authorizers; they expect one every HEARTBEAT_SECONDS."""
        key = f"ConfigMap/{GATE_REVOKED}"
        if self._for_authorizers is None or key not in self._put:
            return
        document, number = self._put[key]
        change = {"metadata": {"resourceVersion": self._versions[key]}, **heartbeat(heard_unix)}
        try:
            written = self._cluster.patch(CONFIG_MAPS, GATE_REVOKED, change, self._for_authorizers)
            self._versions[key] = str(written["metadata"]["resourceVersion"])
        except (ConflictError, NotFoundError):
            self._forget(key)
            self._replace({**document, **heartbeat(heard_unix)}, number)

    def publish_keys(self, keys: SigningKeys, *, number: int) -> None:
        """Publish other keys."""
        for document in self._key_objects(keys):
            self._replace(document, number)

    def maintain(self, heard_unix: float | None) -> list[str]:
        """Renew the heartbeat, unless `heard_unix` is None, and restore objects, each if it is
        time. Return the names of the restored ones.
        """
        now = self._cluster.clock.monotonic()
        if heard_unix is not None and now - self._heartbeat_at >= HEARTBEAT_EVERY_SECONDS:
            self.publish_heartbeat(heard_unix)
            self._heartbeat_at = now
        if now - self._restored_at < RESTORE_EVERY_SECONDS:
            return []
        restored = self.restore()
        self._restored_at = now
        return restored

    def restore(self) -> list[str]:
        """Write objects again that were changed or deleted; return their names."""
        restored = []
        for key, (document, number) in list(self._put.items()):
            found = self._find(document, metadata_only=True)
            if found is None or found["metadata"]["resourceVersion"] != self._versions.get(key):
                self._forget(key)
                self._replace(document, number)
                restored.append(name_of(document))
        return restored

    def _replace(self, document: Object, number: int) -> None:
        if self._is_put(document):
            return
        key = _key(document)
        for attempt in range(TRIES):
            self._look(document)
            if (found := self._found.pop(key, None)) is not None:
                annotations = found["metadata"].get("annotations") or {}
                if _number(annotations.get(RECORD_NUMBER)) > number:
                    self._forget(key)
                    return
                if _content(found) == _content(document):
                    self._put[key] = document, number
                    return
            try:
                written = self._cluster.apply(self._stamped(key, document, number), force=True)
            except ConflictError:
                self._forget(key)
                if attempt == TRIES - 1:
                    raise
                continue
            self._versions[key] = str(written["metadata"]["resourceVersion"])
            self._put[key] = document, number
            return

    def _is_put(self, document: Object) -> bool:
        put = self._put.get(_key(document))
        return put is not None and put[0] == document

    def _look(self, document: Object) -> None:
        """Read the existing object, if its version is not known."""
        key = _key(document)
        if key in self._versions:
            return
        found = self._find(document)
        if found is not None:
            self._versions[key] = str(found["metadata"]["resourceVersion"])
            self._found[key] = found

    def _growth(self, document: Object) -> int:
        key = _key(document)
        before = self._put[key][0] if key in self._put else self._found.get(key, {})
        return len(str(_content(document))) - len(str(_content(before)))

    def _stamped(self, key: str, document: Object, number: int) -> Object:
        metadata = {**document["metadata"], "annotations": {RECORD_NUMBER: str(number)}}
        if version := self._versions.get(key):
            metadata["resourceVersion"] = version
        return {**document, "metadata": metadata}

    def _find(self, document: Object, *, metadata_only: bool = False) -> Object | None:
        return self._cluster.find(
            self._cluster.resource(document), name_of(document),
            document["metadata"]["namespace"], metadata_only=metadata_only,
        )  # fmt: skip

    def _forget(self, key: str) -> None:
        self._versions.pop(key, None)
        self._put.pop(key, None)
        self._found.pop(key, None)


def _key(document: Object) -> str:
    return f"{document['kind']}/{name_of(document)}"


def _content(document: Object) -> Object:
    """Return the content of an object, without its metadata."""
    return {k: v for k, v in document.items() if k not in ("apiVersion", "kind", "metadata")}


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def takes_keys(gate: Gate) -> bool:
    """Return whether a gateway needs the API server's keys."""
    return gate.is_checked_by_istio or keys_namespace(gate) is not None


def publisher_of(cluster: Cluster, config: Config, gate: Gate) -> ClusterPublisher:
    """Return the publisher of a config."""

    def list_objects(revoked: RevocationSnapshot) -> Documents:
        return revoked_objects(config, revoked) if gate.is_checked_by_istio else []

    def key_objects(keys: SigningKeys) -> Documents:
        if gate.is_checked_by_istio:
            return [keys_object(config, keys.issuer, keys.key_set)]
        # Envoy Gateway's JWT filter; the issuer is in its policy, and authorizers check the list.
        namespace = keys_namespace(gate)
        return [] if namespace is None else [keys_config_map(namespace, keys.key_set)]

    return ClusterPublisher(
        cluster, list_objects, key_objects,
        for_authorizers=None if gate.check == "jwt" else config.door.namespace,
    )  # fmt: skip
