"""Publishers: they put a revocation list in force, in a cluster or in a local Envoy.

Every object in a cluster carries the number of the record that it was made from, and a publisher
never replaces a newer one: the newer record was made from the older one and contains all of it. So
a controller, its successor and commands may publish at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from daypass._core.errors import DaypassError
from daypass._core.files import UnsafeFileError, read_private, write_private
from daypass._core.labels import RECORD_NUMBER
from daypass.config import Config, Gate
from daypass.gate.revocation.published_list import (
    PublishedRevocations,
    heartbeat,
    revocation_config_map,
)
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.resources import CONFIG_MAPS, Object, name_of
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.envoy_gateway import keys_config_map, keys_namespace
from daypass.render.istio.objects import keys_object, revoked_objects
from daypass.render.objects import GATE_REVOKED

LIMIT_BYTES = 256 * 1024 * 1024


WITHOUT_RECORD = "Tokens issued before are then refused; clients get new ones automatically"
"""The consequence of removing a damaged record."""


class RecordError(DaypassError):
    """The record of an earlier run can't be read."""


class Publisher(Protocol):
    """Enforces the list. Both methods raise OSError where that fails for now.

    `is_first_start`: the API server is new too, so that no token was revoked before.
    """

    is_first_start: bool

    def publish(self, revoked: RevocationSnapshot) -> None:
        """Put the list in force."""

    def save(self, record: dict[str, Any]) -> None:
        """Keep what was known, for the next run."""

    def load(self) -> dict[str, Any] | None:
        """What was kept, or None where nothing was. Raises RecordError."""


class LocalPublisher:
    """An Envoy of our own, through `take`, and a file (mode 0600), or None to remember nothing."""

    def __init__(
        self, take: Callable[[RevocationSnapshot], None], file: Path | None, *, is_first_start: bool
    ) -> None:
        self.is_first_start = is_first_start or file is None
        self._take = take
        self._file = file

    def publish(self, revoked: RevocationSnapshot) -> None:
        """Put the list in force."""
        self._take(revoked)

    def save(self, record: dict[str, Any]) -> None:
        """Keep what was known."""
        if self._file is not None:
            write_private(str(self._file), json.dumps(record).encode())

    def load(self) -> dict[str, Any] | None:
        """What was kept. Raises RecordError."""
        return None if self._file is None else read_record(self._file)


def read_record(file: Path) -> dict[str, Any] | None:
    """The record in a file, or None where there is none. Raises RecordError."""
    try:
        record = json.loads(read_private(str(file), limit_bytes=LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, UnsafeFileError) as error:
        raise RecordError(
            f"{file}, which says what was revoked, cannot be read: {error}",
            f"remove it, and start again. {WITHOUT_RECORD}",
        ) from None
    return record if isinstance(record, dict) else {}


TRIES = 5


class GatewayObjects(Protocol):
    """The objects of a gateway that checks tokens itself and reloads them while it runs."""

    def keys(self, issuer: str, keys: str) -> list[Object]:
        """Return the objects that hold the API server's JSON Web Key Set."""

    def revoked(self, revoked: RevocationSnapshot) -> list[Object]:
        """Return the objects that hold a list; always the same names."""


class ClusterPublisher:
    """Publishes a cluster's list. `native`: the gateway's objects; None if it has none.

    `for_authorizers`: the namespace of the ConfigMap that authorizers read; None if there are none.
    Every method raises the errors of `daypass.kube.errors`. Not safe to share between threads.
    """

    def __init__(
        self, cluster: Cluster, native: GatewayObjects | None, *, for_authorizers: str | None
    ) -> None:
        self._cluster = cluster
        self._native = native
        self._for_authorizers = for_authorizers
        self._put: dict[str, tuple[Object, int]] = {}
        self._versions: dict[str, str] = {}
        self._found: dict[str, Object] = {}

    def publish(self, revoked: RevocationSnapshot, *, heard_unix: float, number: int) -> None:
        """Publish a list; unchanged objects are not written. `heard_unix`: its heartbeat."""
        documents = self._native.revoked(revoked) if self._native else []
        documents = [document for document in documents if not self._is_put(document)]
        for document in documents:
            self._look(document)
        # Growing objects first: an entry that moves is never in neither object.
        for document in sorted(documents, key=self._growth, reverse=True):
            self._replace(document, number)
        if self._for_authorizers is not None:
            listed = PublishedRevocations(revoked=revoked, heard_unix=heard_unix)
            self._replace(revocation_config_map(listed, self._for_authorizers), number)

    def is_anything_published(self) -> bool:
        """Return whether any published object exists, whatever its content."""
        documents = []
        if self._native is not None:
            documents = [*self._native.keys("", ""), *self._native.revoked(RevocationSnapshot())]
        if self._for_authorizers is not None:
            nothing = PublishedRevocations(revoked=RevocationSnapshot(), heard_unix=0)
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

    def publish_keys(self, issuer: str, keys: str, *, number: int) -> None:
        """Publish another JSON Web Key Set."""
        for document in self._native.keys(issuer, keys) if self._native else ():
            self._replace(document, number)

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


class IstioObjects:
    """EnvoyFilters for Istio's gateway."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def keys(self, issuer: str, keys: str) -> list[Object]:
        """Return the object that holds the key set."""
        return [keys_object(self._config, issuer, keys)]

    def revoked(self, revoked: RevocationSnapshot) -> list[Object]:
        """Return the objects that hold the list."""
        return revoked_objects(self._config, revoked)


class EnvoyGatewayObjects:
    """Envoy Gateway's JWT filter: keys from a ConfigMap, and no revocation."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def keys(self, issuer: str, keys: str) -> list[Object]:
        """Return the ConfigMap that holds the key set; the issuer is in the policy."""
        return [keys_config_map(self._namespace, keys)]

    def revoked(self, revoked: RevocationSnapshot) -> list[Object]:
        """Return none: the authorizer checks the list."""
        return []


def is_native(gate: Gate) -> bool:
    """Return whether a cluster's gateway checks tokens itself, with or without authorizers."""
    return gate.engine == "istio" and gate.check != "review"


def takes_keys(gate: Gate) -> bool:
    """Return whether a gateway needs the API server's keys."""
    return is_native(gate) or keys_namespace(gate) is not None


def publisher_of(cluster: Cluster, config: Config, gate: Gate) -> ClusterPublisher:
    """Return the publisher of a config."""
    native: GatewayObjects | None = IstioObjects(config) if is_native(gate) else None
    if (namespace := keys_namespace(gate)) is not None:
        native = EnvoyGatewayObjects(namespace)
    return ClusterPublisher(
        cluster, native, for_authorizers=None if gate.check == "jwt" else config.door.namespace
    )
