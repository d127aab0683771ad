"""Something fetched again and again beside the main loop, which picks it up when it looks.

The watch of a cluster's gate: several of them follow, and the one that holds a lease publishes.

Each change is first recorded and then put in force, so that nothing is in force that a successor
would not know of. The record says in which order; `published_in_cluster` keeps to it.

What is published says until when it counts. As long as there is a watch that hears, it is renewed
at half of that time; without one the gate closes by itself.

The watch of a cluster, put together from a config.
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
from daypass.config import Config, Gate
from daypass.gate.explain import issuer_of, key_ids, key_set, keys_of
from daypass.gate.revocation.publish_once import published_state
from daypass.gate.revocation.published_list import HEARTBEAT_SECONDS
from daypass.gate.revocation.publishers import ClusterPublisher, is_native, publisher_of, takes_keys
from daypass.gate.revocation.revocation_list import DAMAGES, SETTLE_SOON_SECONDS, ObjectKind
from daypass.gate.revocation.state_store import RevocationState, StateStore
from daypass.gate.revocation.watcher import RevocationWatcher, Scope, is_due
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, NotFoundError
from daypass.kube.lease import Lease
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_WATCH


class Poller:
    """Calls `fetch` every `every_seconds` on a thread of its own until `stop`.

    `latest`: the last value that was fetched. `trouble`: why the last fetch failed, or "".
    """

    def __init__(self, fetch: Callable[[], str], every_seconds: float) -> None:
        self.latest: str | None = None
        self.trouble = ""
        self._fetch = fetch
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Fetch once, here and now, and then beside."""
        self.fetch()
        self._thread.start()

    def stop(self) -> None:
        """End it; a fetch that is under way is not waited for."""
        self._ended.set()

    def _follow(self) -> None:
        while not self._ended.wait(self._every_seconds):
            self.fetch()

    def fetch(self) -> None:
        """Fetch once, here and now."""
        try:
            self.latest = self._fetch()
            self.trouble = ""
        except DaypassError as error:
            self.trouble = str(error)


class WatchEvent(StrEnum):
    """One word for everything that is told."""

    STARTED = "started"
    LEADING = "leading"
    FOLLOWING = "following"
    """Another one publishes."""
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
    """Somebody else had changed or deleted what is published."""
    TROUBLE = "trouble"
    TROUBLE_OVER = "trouble-over"
    RECORD_LOST = "record-lost"
    """Tokens issued before are refused: nobody knows what of them was revoked."""
    STOPPED = "stopped"


LogEvent = Callable[..., None]
"""Called with an Event and its fields by name."""


TICK_SECONDS = 0.5
PACE_SECONDS = 0.25
"""Between two lists: what happens meanwhile goes out together."""
KNOWN_EVERY_SECONDS = 1.0
PUT_BACK_EVERY_SECONDS = 30.0
SETTLE_SECONDS = 15.0
"""So long at most a new watch waits for all lists before it says what it knows."""
TOLD_AT_MOST = 1000
"""Entries of one list, in the log."""
TRIES = 10


class RevocationController:
    """Follows and, while it holds the lease, publishes: `run`, or `turn` by turn.

    `keys`: the issuer and, on a line below, what `key_set` gave; None where nobody checks
    signatures.
    """

    def __init__(
        self,
        *,
        following: RevocationWatcher,
        record: StateStore,
        publisher: ClusterPublisher,
        lease: Lease,
        keys: Poller | None,
        clock: Clock,
        tell: LogEvent,
        config: Config,
        close_after_seconds: float,
    ) -> None:
        self.following = following
        self.lease = lease
        self.keys = keys
        self.published: RevocationSnapshot | None = None
        self.published_at: float | None = None
        self.keys_at: float | None = None
        self.errors = 0
        self.trouble = ""
        self._record = record
        self._publisher = publisher
        self._clock = clock
        self._tell = tell
        self._config = config
        self._close_after_seconds = close_after_seconds
        self._began = clock.monotonic()
        self._was_leader = False
        self._knows_the_past = False
        self._unbroken_since: float | None = None
        self._recorded: RevocationState | None = None
        self._known: dict[str, Any] | None = None
        self._known_at = self._heartbeat_at = self._put_back_at = -math.inf
        self._keys: str | None = None
        self._followed: frozenset[str] = frozenset()
        self._troubles = ""

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; then let go of the lease."""
        self._tell(WatchEvent.STARTED)
        self.following.start()
        if self.keys is not None:
            self.keys.start()
        self.lease.start()
        try:
            while not stop.is_set():
                self.turn()
                self.following.changed.wait(TICK_SECONDS)
                self.following.changed.clear()
                if self.lease.is_held:
                    stop.wait(PACE_SECONDS)
        finally:
            self.following.stop()
            if self.keys is not None:
                self.keys.stop()
            self.lease.stop()
            self._tell(WatchEvent.STOPPED)

    def turn(self) -> bool:
        """Look once, and publish what is to be; whether all that was to be done is done."""
        self._tell_troubles()
        if not self.lease.is_held:
            if self._was_leader:
                self._was_leader = False
                self._tell(WatchEvent.FOLLOWING, leader=self.lease.holder)
            return False
        try:
            if not self._was_leader:
                self._take_over()
            done = self._publish()
            self._keep_up()
            self.trouble = ""
            return done
        except (OSError, DaypassError) as error:
            self.errors += 1
            self._unbroken_since = None
            if not self.trouble:
                self._tell(WatchEvent.NOT_PUBLISHED, why=str(error))
            self.trouble = f"what is revoked could not be published: {error}"
            if isinstance(error, (ConflictError, NotFoundError)):
                self._was_leader = False  # somebody else writes: begin with what is there
            return False

    def _take_over(self) -> None:
        """Begin with what others have recorded and published; all of it is compared."""
        recorded = self._record.read()
        known = self._record.read_known()
        if not self._knows_the_past and self._is_lost(recorded):
            self.following.record_is_lost()
            self._tell(
                WatchEvent.RECORD_LOST, issuedBefore=self.following.denials.recorded_since_unix
            )
        self._absorb({**recorded.refused, "known": known})
        self._knows_the_past = True
        self._recorded = recorded
        self.published, self._known, self._keys = None, known, None
        self._unbroken_since = None
        self._was_leader = True
        self._tell(WatchEvent.LEADING, number=recorded.number)

    def _is_lost(self, recorded: RevocationState) -> bool:
        """Whether something is missing of what earlier watches knew. At a first start nothing is
        there at all: neither a record nor anything that is published.
        """
        if recorded.number:
            return not frozenset(recorded.published.get("shards", ())) <= self._record.shards
        return bool(self._record.shards) or self._publisher.is_anything_published()

    def _absorb(self, record: dict[str, Any]) -> None:
        try:
            self.following.absorb(record)
        except DAMAGES:
            raise self._record.damaged() from None

    def _is_ready(self) -> bool:
        """Whether what is known here is more than what is in force already."""
        if self._clock.unix() < self.following.denials.recorded_since_unix:
            return False
        waited = self._clock.monotonic() - self._began
        if self.following.heard_at is None:
            return waited > self._close_after_seconds
        return self.following.is_settled or waited > SETTLE_SECONDS

    def _publish(self) -> bool:
        if not self._is_ready():
            return False
        revoked = self.following.revoked(is_in_force=self._is_in_force)
        before = self.published
        if before is not None and not self._is_due(before, revoked):
            return True
        revoked, number = self._write_record()
        if not self.lease.is_held:
            self._unbroken_since = None
            return False
        heard_unix = self.following.heard_unix
        self._publisher.publish(revoked, heard_unix=heard_unix, number=number)
        now = self._clock.monotonic()
        self.published, self.published_at, self._heartbeat_at = revoked, now, now
        if self._unbroken_since is None:
            self._unbroken_since = now
        self._tell_published(before, revoked, number)
        return True

    @property
    def _is_in_force(self) -> bool:
        """Whether all that was to be published for a while was, so that it has arrived."""
        since = self._unbroken_since
        return since is not None and self._clock.monotonic() - since >= SETTLE_SOON_SECONDS

    def _is_due(self, before: RevocationSnapshot, revoked: RevocationSnapshot) -> bool:
        # An older bound for the age of tokens goes with a longer list, and need not follow at once.
        same_age = replace(before, issued_after_unix=revoked.issued_after_unix)
        return is_due(same_age, revoked, self._close_after_seconds)

    def _write_record(self) -> tuple[RevocationSnapshot, int]:
        """Record what is to be put in force, with what others have recorded meanwhile."""
        recorded = self._recorded or self._record.read()
        for attempt in range(TRIES):
            revoked = self.following.revoked()
            state = {
                **published_state(revoked, self._config, self.following.heard_unix),
                "shards": sorted(self._record.shards),
            }
            try:
                self._recorded = self._record.write(recorded, self.following.record(), state)
                return revoked, self._recorded.number
            except ConflictError:
                if attempt == TRIES - 1:
                    raise
                recorded = self._record.read()
                nothing: dict[str, Any] = {kind: {} for kind in ObjectKind}
                self._absorb({**recorded.refused, "known": nothing})
        raise AssertionError("unreachable")

    def _keep_up(self) -> None:
        """What is not as urgent: the keys, a sign of life, what was changed, and what is known."""
        now = self._clock.monotonic()
        number = self._recorded.number if self._recorded else 0
        keys = None if self.keys is None else self.keys.latest
        if keys is not None:
            self.keys_at = self.keys_at if keys == self._keys else now
            if keys != self._keys:
                issuer, _, key_set = keys.partition("\n")
                self._publisher.publish_keys(issuer, key_set, number=number)
                self._tell(WatchEvent.KEYS, issuer=issuer, kids=key_ids(key_set))
                self._keys = keys
        if now - self._heartbeat_at >= HEARTBEAT_SECONDS / 2 and not self.following.is_closed:
            self._publisher.tell_heard(self.following.heard_unix)
            self._heartbeat_at = now
        if now - self._put_back_at >= PUT_BACK_EVERY_SECONDS:
            if mended := self._publisher.put_back():
                self._tell(WatchEvent.PUT_BACK, names=mended)
            self._put_back_at = now
        # Last: nothing else may wait for it, however much there is to know.
        if now - self._known_at >= KNOWN_EVERY_SECONDS:
            self._known_at = now
            known = self.following.record()["known"]
            if known != self._known:
                self._record.write_known(known)
                self._known = known

    def _tell_published(
        self, before: RevocationSnapshot | None, revoked: RevocationSnapshot, number: int
    ) -> None:
        told = 0
        for name in ("secrets", "service_accounts", "tokens", "namespaces"):
            old = getattr(before, name) if before is not None else frozenset()
            for value in sorted(getattr(revoked, name) - old)[: TOLD_AT_MOST - told]:
                told += 1
                self._tell(WatchEvent.REVOKED, kind=name, name=value)
        if before is not None and before.closed is not revoked.closed:
            self._tell(WatchEvent.CLOSED if revoked.closed else WatchEvent.OPENED)
        self._tell(
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

    def _tell_troubles(self) -> None:
        followed = self.following.followed
        for name in sorted(followed - self._followed):
            self._tell(WatchEvent.NAMESPACE_FOLLOWED, namespace=name)
        for name in sorted(self._followed - followed):
            self._tell(WatchEvent.NAMESPACE_NOT_FOLLOWED, namespace=name)
        self._followed = followed
        keys = "" if self.keys is None else self.keys.trouble
        troubles = "\n".join(filter(None, (self.following.trouble, keys, self.lease.trouble)))
        if troubles != self._troubles:
            event = WatchEvent.TROUBLE if troubles else WatchEvent.TROUBLE_OVER
            self._tell(event, **({"why": troubles[:2000]} if troubles else {}))
            self._troubles = troubles


KEYS_EVERY_SECONDS = 10.0


def revocation_controller(
    cluster: Cluster,
    config: Config,
    gate: Gate,
    clock: Clock,
    tell: LogEvent,
    *,
    longest_lifetime_seconds: int,
) -> RevocationController:
    """The watch that a config asks for; `cluster` allows as many connections as it has feeds."""

    def keys() -> str:
        issuer = config.cluster.issuer or issuer_of(cluster)
        return f"{issuer}\n{key_set(keys_of(cluster))}"

    namespace = config.door.namespace
    scope = Scope(orders_namespace=namespace, each_namespace=True, names_followed=is_native(gate))
    me = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
    return RevocationController(
        following=RevocationWatcher(
            cluster, clock, scope,
            longest_lifetime_seconds=longest_lifetime_seconds,
            close_after_seconds=gate.close_after_seconds,
        ),
        record=StateStore(cluster, namespace),
        publisher=publisher_of(cluster, config, gate),
        lease=Lease(cluster, clock, namespace=namespace, name=GATE_WATCH, me=me),
        keys=Poller(keys, KEYS_EVERY_SECONDS) if takes_keys(gate) else None,
        clock=clock,
        tell=tell,
        config=config,
        close_after_seconds=gate.close_after_seconds,
    )  # fmt: skip
