"""The controller of a cluster's gate: watches revocations and publishes them.

Several replicas watch; the one that holds a Lease publishes. Each change is recorded before it is
published, so that a successor knows everything that is in force.

What is published is valid for a limited time, and is renewed at half of it while the watch gets
events. Without a working controller the gate closes.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.poller import Poller
from daypass.config import Config, Gate
from daypass.gate.revocation.publish_once import published_state
from daypass.gate.revocation.published_list import HEARTBEAT_SECONDS
from daypass.gate.revocation.publishers import ClusterPublisher, is_native, publisher_of, takes_keys
from daypass.gate.revocation.revocation_list import COMPACT_SOON_SECONDS, DAMAGES, ObjectKind
from daypass.gate.revocation.state_store import RevocationState, StateStore
from daypass.gate.revocation.watcher import RevocationWatcher, Scope, is_due
from daypass.gate.signing_keys import issuer_of, key_ids, key_set, keys_of
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.lease import Lease
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_WATCH


class WatchEvent(StrEnum):
    """Every event that is ever logged."""

    STARTED = "started"
    LEADING = "leading"
    FOLLOWING = "following"
    """Another replica publishes."""
    REVOKED = "revoked"
    """A UID, a `jti` or a namespace is refused from now on."""
    PUBLISHED = "published"
    NOT_PUBLISHED = "not-published"
    CLOSED = "closed"
    OPENED = "opened"
    KEYS = "keys"
    NAMESPACE_FOLLOWED = "namespace-followed"
    NAMESPACE_NOT_FOLLOWED = "namespace-not-followed"
    PUT_BACK = "put-back"
    """A published object had been changed or deleted, and was restored."""
    TROUBLE = "trouble"
    TROUBLE_OVER = "trouble-over"
    RECORD_LOST = "record-lost"
    """Tokens issued before are refused, since revocations among them are unknown."""
    STOPPED = "stopped"


LogEvent = Callable[..., None]
"""Called with a WatchEvent and its fields by name."""


TICK_SECONDS = 0.5
PACE_SECONDS = 0.25
"""Between two publications: changes in between are published together."""
KNOWN_EVERY_SECONDS = 1.0
RESTORE_EVERY_SECONDS = 30.0
SETTLE_SECONDS = 15.0
"""How long a new leader waits for its first lists, at most."""
LOGGED_AT_MOST = 1000
"""Entries of one publication, in the log."""
TRIES = 10


class RevocationController:
    """Watches and, while it holds the lease, publishes: `run`, or one `reconcile` at a time.

    `keys` gives the issuer and, on a line below, the key set; None if the gateway needs no keys.
    """

    def __init__(
        self,
        *,
        watcher: RevocationWatcher,
        store: StateStore,
        publisher: ClusterPublisher,
        lease: Lease,
        keys: Poller | None,
        clock: Clock,
        log: LogEvent,
        config: Config,
        close_after_seconds: float,
    ) -> None:
        self.watcher = watcher
        self.lease = lease
        self.keys = keys
        self.published: RevocationSnapshot | None = None
        self.published_at: float | None = None
        self.keys_at: float | None = None
        self.errors = 0
        self.trouble = ""
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._log = log
        self._config = config
        self._close_after_seconds = close_after_seconds
        self._began = clock.monotonic()
        self._was_leader = False
        self._knows_the_past = False
        self._unbroken_since: float | None = None
        self._recorded: RevocationState | None = None
        self._known: dict[str, Any] | None = None
        self._known_at = self._heartbeat_at = self._restored_at = -math.inf
        self._published_keys: str | None = None
        self._watched: frozenset[str] = frozenset()
        self._troubles = ""

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set, and then release the lease."""
        self._log(WatchEvent.STARTED)
        self.watcher.start()
        if self.keys is not None:
            self.keys.start()
        self.lease.start()
        try:
            while not stop.is_set():
                self.reconcile()
                self.watcher.changed.wait(TICK_SECONDS)
                self.watcher.changed.clear()
                if self.lease.is_held:
                    stop.wait(PACE_SECONDS)
        finally:
            self.watcher.stop()
            if self.keys is not None:
                self.keys.stop()
            self.lease.stop()
            self._log(WatchEvent.STOPPED)

    def reconcile(self) -> bool:
        """Publish what has changed; return whether everything is published."""
        self._log_troubles()
        if not self.lease.is_held:
            if self._was_leader:
                self._was_leader = False
                self._log(WatchEvent.FOLLOWING, leader=self.lease.holder)
            return False
        try:
            if not self._was_leader:
                self._take_over()
            done = self._publish()
            self._maintain()
            self.trouble = ""
            return done
        except (OSError, DaypassError) as error:
            self.errors += 1
            self._unbroken_since = None
            if not self.trouble:
                self._log(WatchEvent.NOT_PUBLISHED, why=str(error))
            self.trouble = f"the revocation list could not be published: {error}"
            if isinstance(error, (ConflictError, NotFoundError)):
                self._was_leader = False  # somebody else writes: start from what is there
            return False

    def _take_over(self) -> None:
        """Start from what others recorded and published."""
        recorded = self._store.read()
        known = self._store.read_known()
        if not self._knows_the_past and self._is_lost(recorded):
            self.watcher.record_is_lost()
            self._log(
                WatchEvent.RECORD_LOST, issuedBefore=self.watcher.revocations.recorded_since_unix
            )
        self._absorb({**recorded.refused, "known": known})
        self._knows_the_past = True
        self._recorded = recorded
        self.published, self._known, self._published_keys = None, known, None
        self._unbroken_since = None
        self._was_leader = True
        self._log(WatchEvent.LEADING, number=recorded.number)

    def _is_lost(self, recorded: RevocationState) -> bool:
        """Return whether part of the record is missing. At a first start there is neither a record
        nor a published object.
        """
        if recorded.number:
            return not frozenset(recorded.published.get("shards", ())) <= self._store.shards
        return bool(self._store.shards) or self._publisher.is_anything_published()

    def _absorb(self, record: dict[str, Any]) -> None:
        try:
            self.watcher.absorb(record)
        except DAMAGES:
            raise self._store.damaged() from None

    def _is_ready(self) -> bool:
        """Whether this replica knows at least as much as what is in force."""
        if self._clock.unix() < self.watcher.revocations.recorded_since_unix:
            return False
        waited = self._clock.monotonic() - self._began
        if self.watcher.heard_at is None:
            return waited > self._close_after_seconds
        return self.watcher.is_settled or waited > SETTLE_SECONDS

    def _publish(self) -> bool:
        if not self._is_ready():
            return False
        revoked = self.watcher.revoked(is_in_force=self._is_in_force)
        before = self.published
        if before is not None and not self._is_due(before, revoked):
            return True
        revoked, number = self._write_record()
        if not self.lease.is_held:
            self._unbroken_since = None
            return False
        heard_unix = self.watcher.heard_unix
        self._publisher.publish(revoked, heard_unix=heard_unix, number=number)
        now = self._clock.monotonic()
        self.published, self.published_at, self._heartbeat_at = revoked, now, now
        if self._unbroken_since is None:
            self._unbroken_since = now
        self._log_published(before, revoked, number)
        return True

    @property
    def _is_in_force(self) -> bool:
        """Whether every publication has succeeded for long enough to have reached the gateways."""
        since = self._unbroken_since
        return since is not None and self._clock.monotonic() - since >= COMPACT_SOON_SECONDS

    def _is_due(self, before: RevocationSnapshot, revoked: RevocationSnapshot) -> bool:
        # A changed bound for the age of tokens alone need not be published at once.
        same_age = replace(before, issued_after_unix=revoked.issued_after_unix)
        return is_due(same_age, revoked, self._close_after_seconds)

    def _write_record(self) -> tuple[RevocationSnapshot, int]:
        """Record what is to be published, with what others recorded in the meantime."""
        recorded = self._recorded or self._store.read()
        for attempt in range(TRIES):
            revoked = self.watcher.revoked()
            state = {
                **published_state(revoked, self._config, self.watcher.heard_unix),
                "shards": sorted(self._store.shards),
            }
            try:
                self._recorded = self._store.write(recorded, self.watcher.record(), state)
                return revoked, self._recorded.number
            except ConflictError:
                if attempt == TRIES - 1:
                    raise
                recorded = self._store.read()
                nothing: dict[str, Any] = {kind: {} for kind in ObjectKind}
                self._absorb({**recorded.refused, "known": nothing})
        raise AssertionError("unreachable")

    def _maintain(self) -> None:
        """Do what is less urgent: keys, heartbeat, changed objects, known UIDs."""
        now = self._clock.monotonic()
        number = self._recorded.number if self._recorded else 0
        keys = None if self.keys is None else self.keys.latest
        if keys is not None:
            self.keys_at = self.keys_at if keys == self._published_keys else now
            if keys != self._published_keys:
                issuer, _, key_set = keys.partition("\n")
                self._publisher.publish_keys(issuer, key_set, number=number)
                self._log(WatchEvent.KEYS, issuer=issuer, kids=key_ids(key_set))
                self._published_keys = keys
        if now - self._heartbeat_at >= HEARTBEAT_SECONDS / 2 and not self.watcher.is_closed:
            self._publisher.publish_heartbeat(self.watcher.heard_unix)
            self._heartbeat_at = now
        if now - self._restored_at >= RESTORE_EVERY_SECONDS:
            if restored := self._publisher.restore():
                self._log(WatchEvent.PUT_BACK, names=restored)
            self._restored_at = now
        # Last: it may take long, and nothing else should wait for it.
        if now - self._known_at >= KNOWN_EVERY_SECONDS:
            self._known_at = now
            known = self.watcher.record()["known"]
            if known != self._known:
                self._store.write_known(known)
                self._known = known

    def _log_published(
        self, before: RevocationSnapshot | None, revoked: RevocationSnapshot, number: int
    ) -> None:
        logged = 0
        for name in ("secrets", "service_accounts", "tokens", "namespaces"):
            old = getattr(before, name) if before is not None else frozenset()
            for value in sorted(getattr(revoked, name) - old)[: LOGGED_AT_MOST - logged]:
                logged += 1
                self._log(WatchEvent.REVOKED, kind=name, name=value)
        if before is not None and before.closed is not revoked.closed:
            self._log(WatchEvent.CLOSED if revoked.closed else WatchEvent.OPENED)
        self._log(
            WatchEvent.PUBLISHED,
            number=number,
            secrets=len(revoked.secrets),
            serviceAccounts=len(revoked.service_accounts),
            tokens=len(revoked.tokens),
            namespaces=len(revoked.namespaces),
            followed=len(revoked.followed or ()),
            closed=revoked.closed,
            closedAfter=revoked.closed_after_unix,
        )

    def _log_troubles(self) -> None:
        watched = self.watcher.watched
        for name in sorted(watched - self._watched):
            self._log(WatchEvent.NAMESPACE_FOLLOWED, namespace=name)
        for name in sorted(self._watched - watched):
            self._log(WatchEvent.NAMESPACE_NOT_FOLLOWED, namespace=name)
        self._watched = watched
        keys = "" if self.keys is None else self.keys.trouble
        troubles = "\n".join(filter(None, (self.watcher.trouble, keys, self.lease.trouble)))
        if troubles != self._troubles:
            event = WatchEvent.TROUBLE if troubles else WatchEvent.TROUBLE_OVER
            self._log(event, **({"why": troubles[:2000]} if troubles else {}))
            self._troubles = troubles


KEYS_EVERY_SECONDS = 10.0


def revocation_controller(
    cluster: Cluster,
    config: Config,
    gate: Gate,
    clock: Clock,
    log: LogEvent,
    *,
    longest_lifetime_seconds: int,
) -> RevocationController:
    """Return the controller of a config. `cluster` needs a connection for each informer."""

    def keys() -> str:
        issuer = config.cluster.issuer or issuer_of(cluster)
        return f"{issuer}\n{key_set(keys_of(cluster))}"

    namespace = config.door.namespace
    scope = Scope(denials_namespace=namespace, each_namespace=True, names_followed=is_native(gate))
    me = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
    return RevocationController(
        watcher=RevocationWatcher(
            cluster, clock, scope,
            longest_lifetime_seconds=longest_lifetime_seconds,
            close_after_seconds=gate.close_after_seconds,
        ),
        store=StateStore(cluster, namespace),
        publisher=publisher_of(cluster, config, gate),
        lease=Lease(cluster, clock, namespace=namespace, name=GATE_WATCH, me=me),
        keys=Poller(keys, KEYS_EVERY_SECONDS) if takes_keys(gate) else None,
        clock=clock,
        log=log,
        config=config,
        close_after_seconds=gate.close_after_seconds,
    )  # fmt: skip
