"""Publishes in a cluster: ConfigMaps for authorizers and commands, EnvoyFilters for Istio.

Every object has the term of the leader that wrote it. A new leader first writes its term on all of
them, and every later write names the version of the object that it replaces. So a leader that was
paused, or cut off, cannot write any more: the API server refuses it.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias, TypeVar

from daypass._core.clock import Clock, rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.labels import TERM
from daypass._core.poller import Poller
from daypass.config import Config, Gate
from daypass.gate.signing_keys import SigningKeys, signing_keys_of
from daypass.gate.watch.controller import KEYS_EVERY_SECONDS, Controller, LogEvent
from daypass.gate.watch.observer import CredentialObserver
from daypass.kube.answers import METADATA
from daypass.kube.cluster import APPLY, JSON_PATCH, MERGE, Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.lease import Lease, term_of
from daypass.kube.resources import Object, name_of
from daypass.published.config_maps import (
    DENIALS,
    UnreadablePartError,
    denials_config_map,
    part_config_map,
    part_name,
    read_part,
    read_published_denials,
)
from daypass.published.credentials import (
    CLOSED_PART,
    CLUSTER_PARTS,
    CredentialPart,
)
from daypass.published.denials import Denials
from daypass.published.snapshot import Published
from daypass.render.envoy_gateway import keys_config_map, keys_namespace
from daypass.render.istio.objects import denials_object, keys_object, part_object
from daypass.render.objects import GATE_KEYS, GATE_WATCH

TRIES = 5
RESTORE_EVERY_SECONDS = 30.0
"""In which each object is looked at once."""

_HEAD = ("apiVersion", "kind", "metadata")
_WRITTEN_METADATA = ("resourceVersion", "labels", "annotations")
_Ref: TypeAlias = tuple[str, str]
"""Kind and name of an object."""
_Found: TypeAlias = dict[_Ref, Object | None]
_Content: TypeAlias = CredentialPart | Denials | SigningKeys
Closing = TypeVar("Closing", CredentialPart, Denials)


class FencedError(DaypassError):
    """A later leader has taken over what is published."""


def takes_keys(gate: Gate) -> bool:
    """Return whether a gateway needs the API server's keys."""
    return gate.is_checked_by_istio or keys_namespace(gate) is not None


class ClusterPublisher:
    """Publishes what a config's gate knows, in terms of a lease.

    Every method raises the errors of `daypass.kube.errors`, and FencedError; then its caller has to
    take over again. Not safe to share between threads.
    """

    parts = CLUSTER_PARTS
    pace_seconds = 0.25
    """istiod delivers a change once there was no other for 100 ms (PILOT_DEBOUNCE_AFTER), or after
    10 s: it needs a pause between two rounds."""

    def __init__(self, cluster: Cluster, config: Config, gate: Gate, lease: Lease) -> None:
        self._cluster = cluster
        self._config = config
        self._gate = gate
        self._lease = lease
        self._term = 0
        self._put: dict[str, _Content] = {}
        self._versions: dict[_Ref, str] = {}
        self._to_check: deque[_Ref] = deque()
        self._checked_at = -math.inf

    def take_over(self) -> Published:
        """Write the lease's term on every object, create missing ones closed, and return what is in
        force. The term is raised above all that are found: a lease may be new, or restored.
        """
        closed: dict[str, _Content] = {part_name(n): CLOSED_PART for n in range(self.parts)}
        closed |= {DENIALS: Denials(), GATE_KEYS: SigningKeys(issuer="", key_set="")}
        wanted = [each for item in closed.items() for each in self._documents(*item)]
        found = {_ref(each): self._find(each) for each in wanted}
        highest = max((term_of(each) for each in found.values() if each), default=0)
        term = self._lease.term
        self._term = term if term > highest else self._lease.raise_term(highest + 1)
        self._put, self._versions = {}, {}
        for document in wanted:
            found[_ref(document)] = self._stamp(document, found[_ref(document)])
        self._to_check = deque(self._versions)
        self._checked_at = self._cluster.clock.monotonic()
        parts = tuple(
            self._in_force(found, part_name(number), self._read_part, CLOSED_PART)
            for number in range(self.parts)
        )
        denials = self._in_force(found, DENIALS, read_published_denials, Denials())
        return Published(parts=parts, denials=denials)

    def publish_part(self, number: int, part: CredentialPart) -> None:
        """Write a part: for Istio first, so that what the ConfigMap says is there already."""
        self._publish(part_name(number), part)

    def publish_denials(self, denials: Denials) -> None:
        """Write the denials, in the same order."""
        self._publish(DENIALS, denials)

    def publish_keys(self, keys: SigningKeys) -> None:
        """Write other keys, where a gateway needs them."""
        self._publish(GATE_KEYS, keys)

    def restore(self) -> list[str]:
        """Look at the objects whose turn it is, and write those again that have changed."""
        now = self._cluster.clock.monotonic()
        share = min(1.0, (now - self._checked_at) / RESTORE_EVERY_SECONDS)
        count = int(share * len(self._to_check))
        if count:
            self._checked_at = now
        refs = [self._to_check[at] for at in range(count)]
        self._to_check.rotate(-count)
        return [ref[1] for ref in refs if self._restore(ref)]

    def _restore(self, ref: _Ref) -> bool:
        if ref[1] not in self._put:
            return False
        documents = self._documents(ref[1], self._put[ref[1]])
        document = next(each for each in documents if _ref(each) == ref)
        found = self._find(document, metadata_only=True)
        if found is not None and _version(found) == self._versions.pop(ref):
            self._versions[ref] = _version(found)
            return False
        if found is not None:
            self._refuse_later(found, self._term)
            self._versions[ref] = _version(found)
        self._write(document)
        return True

    def _documents(self, name: str, content: _Content) -> list[Object]:
        """Return the objects with this content, in the order in which they are written."""
        config, gate, home = self._config, self._gate, self._config.door.namespace
        if isinstance(content, SigningKeys):
            if gate.is_checked_by_istio:
                return [keys_object(config, content.issuer, content.key_set)]
            # Envoy Gateway's JWT filter; the issuer is in its policy.
            namespace = keys_namespace(gate)
            return [] if namespace is None else [keys_config_map(namespace, content.key_set)]
        for_istio = []
        if isinstance(content, Denials):
            config_map = denials_config_map(content, home)
            if gate.is_checked_by_istio:
                for_istio = [denials_object(config, content)]
        else:
            number, room = int(name[-2:]), gate.credentials_per_namespace
            config_map = part_config_map(number, content, home, room=room)
            if gate.is_checked_by_istio:
                for_istio = [part_object(config, number, content)]
        return [*for_istio, config_map]

    def _read_part(self, document: Object) -> CredentialPart:
        return read_part(document, self.parts)[1]

    def _in_force(
        self, found: _Found, name: str, read: Callable[[Object], Closing], closed: Closing
    ) -> Closing:
        """Return what is in force; closed if its objects differ from each other, or from what this
        config makes of it.
        """
        try:
            content = read(found["ConfigMap", name] or {})
        except UnreadablePartError:
            content = closed
        self._put[name] = content
        is_whole = all(_has(found[_ref(it)], it) for it in self._documents(name, content))
        return content if is_whole else closed

    def _stamp(self, document: Object, found: Object | None) -> Object | None:
        """Write the term on an object, or create it, and return it; None for missing keys."""
        for _ in range(TRIES):
            try:
                if found is None:
                    if name_of(document) == GATE_KEYS:
                        return None
                    self._versions.pop(_ref(document), None)
                    self._write(document)
                    return document
                self._refuse_later(found, self._term - 1)
                stamp = {"resourceVersion": _version(found), "annotations": {TERM: str(self._term)}}
                written = self._change(document, {"metadata": stamp}, MERGE)
                self._versions[_ref(document)] = _version(written)
                return found
            except (ConflictError, NotFoundError):
                found = self._find(document)
        raise FencedError(f"another process keeps changing {name_of(document)}")

    def _refuse_later(self, found: Object, term: int) -> None:
        if term_of(found) > term:
            raise FencedError(f"a later leader has written {name_of(found)}")

    def _publish(self, name: str, content: _Content) -> None:
        for document in self._documents(name, content):
            if _ref(document) not in self._versions:
                self._to_check.append(_ref(document))
            self._write(document)
        self._put[name] = content

    def _write(self, document: Object) -> None:
        """Write an object in place of the version that is known, or create it.

        No two leaders create the same one: each has a field manager of its own, and does not take
        fields from another.
        """
        ref = _ref(document)
        metadata = {**document["metadata"], "annotations": {TERM: str(self._term)}}
        document = {**document, "metadata": metadata}
        if (version := self._versions.pop(ref, None)) is not None:
            try:
                written = self._change(document, _replacing(document, version), JSON_PATCH)
                self._versions[ref] = _version(written)
                return
            except NotFoundError:
                pass  # deleted by someone else
        self._versions[ref] = _version(self._change(document, document, APPLY))

    def _change(self, document: Object, change: object, content_type: str) -> Object:
        """Send a change, and return the object's metadata."""
        is_new = content_type == APPLY
        manager = f"daypass-watch-{self._term}" if is_new else "daypass-watch"
        params = {"fieldManager": manager, **({"force": "false"} if is_new else {})}
        resource, name = self._cluster.resource(document), name_of(document)
        namespace = document["metadata"]["namespace"]
        return self._cluster.request(
            "PATCH",
            resource.path(namespace, name),
            change,
            content_type=content_type,
            params=params,
            headers={"Accept": METADATA.format("")},
            what=f"publish {resource.named(namespace, name)}",
        )

    def _find(self, document: Object, *, metadata_only: bool = False) -> Object | None:
        return self._cluster.find(
            self._cluster.resource(document),
            name_of(document),
            document["metadata"]["namespace"],
            metadata_only=metadata_only,
        )


def _ref(document: Object) -> _Ref:
    return str(document["kind"]), name_of(document)


def _replacing(document: Object, version: str) -> list[Object]:
    """Return a JSON patch. It leaves nothing of what was there, as a merge patch would: a label
    that no longer selects the gateway's pods, or what someone else has added.
    """
    metadata = {**document["metadata"], "resourceVersion": version}
    values = {f"metadata/{key}": metadata[key] for key in _WRITTEN_METADATA}
    values |= {key: value for key, value in document.items() if key not in _HEAD}
    return [{"op": "add", "path": f"/{path}", "value": value} for path, value in values.items()]


def _version(document: Object) -> str:
    return str(document["metadata"]["resourceVersion"])


def _has(found: Object | None, document: Object) -> bool:
    """Return whether an object has the labels and the content of a document."""
    if found is None:
        return False
    labels = found["metadata"].get("labels") or {}
    return document["metadata"]["labels"].items() <= labels.items() and all(
        found.get(key) == value for key, value in document.items() if key not in _HEAD
    )


def cluster_controller(
    cluster: Cluster, config: Config, gate: Gate, clock: Clock, log: LogEvent
) -> Controller:
    """Return the controller of a config's gate in a cluster."""
    home = config.door.namespace
    me = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
    lease = Lease(cluster, clock, namespace=home, name=GATE_WATCH, me=me)
    read_keys = partial(signing_keys_of, cluster, config.cluster.issuer)
    observer = CredentialObserver(
        cluster.connection,
        clock,
        home=home,
        per_namespace=gate.credentials_per_namespace,
        accounts_too=not gate.require_bound,
        close_after_seconds=gate.close_after_seconds,
    )
    return Controller(
        observer,
        ClusterPublisher(cluster, config, gate, lease),
        lease,
        Poller(read_keys, KEYS_EVERY_SECONDS) if takes_keys(gate) else None,
        clock,
        log,
        gate.close_after_seconds,
        clock_ahead=lambda: cluster.clock_ahead_seconds,
        warn=partial(_create_event, cluster, gate.credentials_per_namespace),
    )


def _create_event(cluster: Cluster, limit: int, namespace: str, left_out: int) -> None:
    """Report in a namespace, as an Event, that the gate refuses its newest credentials."""
    at = rfc3339(utc(cluster.clock.unix()))
    cluster.create({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{GATE_WATCH}.{secrets.token_hex(8)}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace,
        },
        "type": "Warning",
        "reason": "TooManyCredentials",
        "message": f"the gate refuses the newest {left_out} credentials of this namespace: it takes"
        f" {limit} of each (gate.credentialsPerNamespace)",
        "source": {"component": GATE_WATCH},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    })  # fmt: skip
