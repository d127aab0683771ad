"""The controller of a gate: watches revocations, records them, and publishes them.

Each change is recorded before it is published, so that a successor knows everything that is in
force. What is published is valid for a limited time, and is renewed at half of it while the watch
gets events and the record can be written. Without a working controller the gate closes.

In a cluster several replicas watch, and the one that holds a Lease publishes. On one machine there
is one controller, which needs no Lease.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.poller import Poller
from daypass.config import Config, Gate
from daypass.gate.revocation.publish_once import published_state
from daypass.gate.revocation.publishers import (
    ClusterPublisher,
    LocalPublisher,
    publisher_of,
    takes_keys,
)
from daypass.gate.revocation.revocation_list import COMPACT_SOON_SECONDS, DAMAGES, no_known_uids
from daypass.gate.revocation.state_store import FileStore, RevocationState, StateStore
from daypass.gate.revocation.watcher import RevocationWatcher, Scope
from daypass.gate.signing_keys import SigningKeys, key_ids, signing_keys_of
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.lease import Lease
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_WATCH


class WatchEvent(StrEnum):
    """Every event that is ever logged."""

    STARTED = "started"
    """The watch runs."""
    LEADING = "leading"
    """This replica publishes from now on. `number`: of the record that it continues."""
    FOLLOWING = "following"
    """Another replica publishes: `leader`."""
    REVOKED = "revoked"
    """A UID, a `jti` or a namespace is refused from now on. `kind`: secrets, service_accounts,
    tokens or namespaces; `name`."""
    PUBLISHED = "published"
    """A list is published. `number`, how many entries of each kind it has, `followed` namespaces,
    `closed`, and `closedAfter` (Unix time)."""
    NOT_PUBLISHED = "not-published"
    """A publication failed, and is repeated: `why`."""
    CLOSED = "closed"
    """The published list refuses every token: the API server has been silent for
    `gate.closeAfter`."""
    OPENED = "opened"
    """It does so no longer."""
    KEYS = "keys"
    """Signing keys are published: `issuer`, `kids`."""
    NAMESPACE_WATCHED = "namespace-followed"
    """Tokens of a namespace of identities are accepted from now on: `namespace`."""
    NAMESPACE_NOT_WATCHED = "namespace-not-followed"
    """They are no longer, since the watch cannot read it: `namespace`."""
    PUT_BACK = "put-back"
    """Published objects had been changed or deleted, and were restored: `names`."""
    TROUBLE = "trouble"
    """Something does not work: `why`. An administrator may have to act."""
    TROUBLE_OVER = "trouble-over"
    """All of it works again."""
    RECORD_LOST = "record-lost"
    """Tokens issued before `issuedBefore` (Unix time) are refused, since revocations among them are
    unknown."""
    STOPPED = "stopped"
    """The watch ended in order."""


LogEvent = Callable[..., None]
"""Called with a WatchEvent and its fields by name."""


TICK_SECONDS = 0.5
SETTLE_SECONDS = 15.0
"""How long a new leader waits for its first lists, at most."""
LOGGED_AT_MOST = 1000
"""Entries of one publication, in the log."""
TRIES = 10
KEYS_EVERY_SECONDS = 10.0


class RevocationController:
    """Watches and publishes while it is the leader: `run`, or `sync` and one `reconcile`.

    `lease`: None if there is no other controller. `keys`: None if the publisher needs none.
    `last_error`: why it can't publish, or "".
    """

    def __init__(
        self,
        *,
        watcher: RevocationWatcher,
        store: StateStore | FileStore,
        publisher: ClusterPublisher | LocalPublisher,
        lease: Lease | None,
        keys: Poller[SigningKeys] | None,
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
        self.last_error = ""
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
        self._known_at = -math.inf
        self._published_keys: SigningKeys | None = None
        self._watched_namespaces: frozenset[str] = frozenset()
        self._reported = ""

    @property
    def is_leader(self) -> bool:
        """Whether this controller publishes."""
        return self.lease is None or self.lease.is_held

    @property
    def other_leader(self) -> str:
        """The name of the controller that publishes instead of this one, or ""."""
        return "" if self.is_leader or self.lease is None else self.lease.holder

    @property
    def is_expired(self) -> bool:
        """Whether the list that it has published last is no longer valid."""
        until = 0 if self.published is None else self.published.closed_after_unix
        return 0 < until <= self._clock.unix()

    def problems(self) -> dict[str, str]:
        """Return what does not work right now, by kind."""
        found = {
            "trouble": self.watcher.last_error,
            "publish": self.last_error,
            "lease": "" if self.lease is None else self.lease.last_error,
            "keys": "" if self.keys is None else self.keys.last_error,
        }
        return {kind: text for kind, text in found.items() if text}

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set, and then release the lease."""
        self._log(WatchEvent.STARTED)
        self.watcher.start()
        if self.keys is not None:
            self.keys.start()
        if self.lease is not None:
            self.lease.start()
        try:
            while not stop.is_set():
                self.reconcile()
                self.watcher.changed.wait(TICK_SECONDS)
                self.watcher.changed.clear()
                if self.is_leader:
                    stop.wait(self._publisher.pace_seconds)
        finally:
            self.watcher.stop()
            if self.keys is not None:
                self.keys.stop()
            self.release()
            self._log(WatchEvent.STOPPED)

    def sync(self) -> None:
        """List everything, fetch the keys, and try to get the lease until `release`."""
        self.watcher.sync()
        if self.keys is not None:
            self.keys.fetch()
        if self.lease is not None:
            self.lease.attempt()
            self.lease.start()

    def release(self) -> None:
        """Release the lease."""
        if self.lease is not None:
            self.lease.stop()

    def reconcile(self, *, wait: bool = False) -> bool:
        """Publish what has changed; return whether everything is published.

        `wait`: after a lost record, wait until the gate may open (for less than a second).
        """
        self._log_problems()
        if not self.is_leader:
            if self._was_leader:
                self._was_leader = False
                self._log(WatchEvent.FOLLOWING, leader=self.other_leader)
            return False
        try:
            if not self._was_leader:
                self.take_over()
            if wait:
                time.sleep(min(1.0, self.watcher.opens_in_seconds))
            done = self._publish()
            self._maintain()
            self.last_error = self._store.last_error
            return done
        except (OSError, DaypassError) as error:
            self.errors += 1
            self._unbroken_since = None
            if not self.last_error:
                self._log(WatchEvent.NOT_PUBLISHED, why=str(error))
            self.last_error = f"the revocation list could not be published: {error}"
            if isinstance(error, (ConflictError, NotFoundError)):
                self._was_leader = False  # somebody else writes: start from what is there
            return False

    def take_over(self) -> bool:
        """Start from what was recorded; return whether a part of it is lost.

        Raises RecordError and the errors of `daypass.kube.errors`.
        """
        recorded = self._store.read()
        known = self._store.read_known()
        is_lost = not self._knows_the_past and self._is_lost(recorded)
        if is_lost:
            self.watcher.refuse_issued_until_now()
            self._log(
                WatchEvent.RECORD_LOST, issuedBefore=self.watcher.revocations.recorded_since_unix
            )
        self._merge({**recorded.refused, "known": known})
        self._knows_the_past = True
        self._recorded = recorded
        self.published, self._known, self._published_keys = None, known, None
        self._unbroken_since = None
        self._was_leader = True
        self._log(WatchEvent.LEADING, number=recorded.number)
        return is_lost

    def _is_lost(self, recorded: RevocationState) -> bool:
        """Return whether part of the record is missing. At a first start there is neither a record
        nor a published object.
        """
        if recorded.number:
            return not frozenset(recorded.published.get("shards", ())) <= self._store.shards
        return bool(self._store.shards) or self._publisher.is_anything_published()

    def _merge(self, record: dict[str, Any]) -> None:
        try:
            self.watcher.merge(record)
        except DAMAGES:
            raise self._store.damaged() from None

    def _is_ready(self) -> bool:
        """Whether this controller knows at least as much as what is in force."""
        if self.published is None and self.watcher.opens_in_seconds > 0:
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
        if before is not None and not self._store.last_error and not self._is_due(before, revoked):
            return True
        revoked, number = self._write_record()
        if not self.is_leader:
            self._unbroken_since = None
            return False
        if before is not None and self._store.last_error:
            # A later start would not know of it: the gate closes unless it is recorded in time.
            until = before.closed_after_unix or revoked.closed_after_unix
            revoked = replace(revoked, closed_after_unix=until)
            if not self._is_due(before, revoked):
                return False
        self._publisher.publish(revoked, heard_unix=self.watcher.heard_unix, number=number)
        now = self._clock.monotonic()
        self.published, self.published_at = revoked, now
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
        """Whether the list differs, or half of the time for which `before` is valid has passed."""
        until = revoked.closed_after_unix
        # A changed bound for the age of tokens alone need not be published at once.
        same = replace(before, issued_after_unix=revoked.issued_after_unix, closed_after_unix=until)
        is_half_over = until - before.closed_after_unix >= self._close_after_seconds / 2
        return same != revoked or is_half_over

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
                self._merge({**recorded.refused, "known": no_known_uids()})
        raise AssertionError("unreachable")

    def _maintain(self) -> None:
        """Do what is less urgent: keys, what the publisher maintains, known UIDs."""
        now = self._clock.monotonic()
        number = self._recorded.number if self._recorded else 0
        keys = None if self.keys is None else self.keys.latest
        if keys is not None:
            self.keys_at = self.keys_at if keys == self._published_keys else now
            if keys != self._published_keys:
                self._publisher.publish_keys(keys, number=number)
                self._log(WatchEvent.KEYS, issuer=keys.issuer, kids=key_ids(keys.key_set))
                self._published_keys = keys
        heard_unix = None if self.watcher.is_closed else self.watcher.heard_unix
        if restored := self._publisher.maintain(heard_unix):
            self._log(WatchEvent.PUT_BACK, names=restored)
        # Last: it may take long, and nothing else should wait for it.
        if now - self._known_at >= self._store.pace_seconds:
            self._known_at = now
            record = self.watcher.record()
            known = record["known"]
            if known != self._known and self._is_recorded(record):
                self._store.write_known(known)
                self._known = known

    def _is_recorded(self, record: dict[str, Any]) -> bool:
        """Whether each deletion is in the record. A UID may not leave the known ones before, since
        a later start would not learn of the deletion.
        """
        refused = {} if self._recorded is None else self._recorded.refused
        is_gone_recorded: bool = record["gone"].keys() <= refused.get("gone", {}).keys()
        return is_gone_recorded and record["namespaces"] == refused.get("namespaces", {})

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
            followed=len(revoked.watched_namespaces or ()),
            closed=revoked.closed,
            closedAfter=revoked.closed_after_unix,
        )

    def _log_problems(self) -> None:
        watched = self.watcher.watched_namespaces
        for name in sorted(watched - self._watched_namespaces):
            self._log(WatchEvent.NAMESPACE_WATCHED, namespace=name)
        for name in sorted(self._watched_namespaces - watched):
            self._log(WatchEvent.NAMESPACE_NOT_WATCHED, namespace=name)
        self._watched_namespaces = watched
        found = self.problems()
        found.pop("publish", None)  # an event of its own
        problems = "\n".join(found.values())
        if problems != self._reported:
            event = WatchEvent.TROUBLE if problems else WatchEvent.TROUBLE_OVER
            self._log(event, **({"why": problems[:2000]} if problems else {}))
            self._reported = problems


def revocation_controller(
    cluster: Cluster,
    config: Config,
    gate: Gate,
    clock: Clock,
    log: LogEvent,
) -> RevocationController:
    """Return the controller of a config. `cluster` needs a connection for each informer."""
    read_keys = partial(signing_keys_of, cluster, config.cluster.issuer)
    namespace = config.door.namespace
    scope = Scope(
        denials_namespace=namespace,
        each_namespace=True,
        only_watched_namespaces=gate.is_checked_by_istio,
    )
    me = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
    return RevocationController(
        watcher=RevocationWatcher(
            cluster, clock, scope,
            longest_lifetime_seconds=config.longest_lifetime_seconds,
            close_after_seconds=gate.close_after_seconds,
        ),
        store=StateStore(cluster, namespace),
        publisher=publisher_of(cluster, config, gate),
        lease=Lease(cluster, clock, namespace=namespace, name=GATE_WATCH, me=me),
        keys=Poller(read_keys, KEYS_EVERY_SECONDS) if takes_keys(gate) else None,
        clock=clock,
        log=log,
        config=config,
        close_after_seconds=gate.close_after_seconds,
    )  # fmt: skip
