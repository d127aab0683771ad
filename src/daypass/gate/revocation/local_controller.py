"""The controller of the gate on one machine: watches revocations and hands them to its Envoy.

Changes during a publication are published together afterwards, so that rotating many identities
takes few lists. After too long a silence of the API server the gate closes. Each list is valid
until `close_after_seconds` later and is renewed at half of that: Envoy closes the gate if no list
can be published any more.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.gate.revocation.publishers import WITHOUT_RECORD, Publisher, RecordError
from daypass.gate.revocation.revocation_list import DAMAGES
from daypass.gate.revocation.watcher import RevocationWatcher, Scope, is_due
from daypass.kube.cluster import Cluster
from daypass.render.envoy.filters import RevocationSnapshot

TICK_SECONDS = 1.0


class LocalRevocationController:
    """Keeps the list of a local gate current: `first`, then `start`; at the end `stop`.

    It closes `cluster`. `record_is_lost`: there is no record of an earlier run, so tokens issued
    before this start are refused. Raises RecordError.
    """

    def __init__(
        self,
        cluster: Cluster,
        publisher: Publisher,
        clock: Clock,
        *,
        longest_lifetime_seconds: int,
        scope: Scope,
        close_after_seconds: float,
    ) -> None:
        self._cluster = cluster
        self._publisher = publisher
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._watcher = RevocationWatcher(
            cluster, clock, scope, longest_lifetime_seconds=longest_lifetime_seconds,
            close_after_seconds=close_after_seconds,
        )  # fmt: skip
        record = publisher.load()
        self.record_is_lost = record is None and not publisher.is_first_start
        if record is not None:
            _recall(self._watcher, record)
        elif self.record_is_lost:
            self._watcher.record_is_lost()
        self._stopped = threading.Event()
        self._is_started = False
        self._trouble = ""
        self._published: RevocationSnapshot | None = None
        self._recorded: dict[str, Any] | None = None
        self._is_recorded = True

    @property
    def trouble(self) -> str:
        """What does not work right now, or ""."""
        return "\n".join(filter(None, (self._watcher.trouble, self._trouble)))

    @property
    def is_closed(self) -> bool:
        """Whether the API server was silent for so long that all tokens are refused."""
        return self._watcher.is_closed

    @property
    def is_expired(self) -> bool:
        """Whether the list that Envoy has is no longer valid; with `check: review` it has none."""
        until = 0 if self._published is None else self._published.closed_after_unix
        return 0 < until <= self._clock.unix()

    @property
    def opens_in_seconds(self) -> float:
        """How long it stays closed after its record was lost (RevocationWatcher.record_is_lost)."""
        return max(0.0, self._watcher.revocations.recorded_since_unix - self._clock.unix())

    def longest_lifetime(self, seconds: int) -> None:
        """Change the longest lifetime, which is how long entries stay on the list."""
        with self._watcher.lock:
            self._watcher.revocations.longest_lifetime_seconds = seconds
        self._watcher.changed.set()

    def first(self) -> RevocationSnapshot:
        """List once on this thread; return what is refused from the first request on."""
        self._watcher.sync()
        self._published = self._watcher.revoked()
        return self._published

    def start(self) -> None:
        """Watch and publish in the background."""
        self._watcher.start()
        self._is_started = True
        threading.Thread(target=self._keep_publishing, daemon=True).start()

    def stop(self) -> None:
        """Stop without waiting for the watches; nothing is published any more."""
        self._watcher.stop()
        self._stopped.set()
        self._watcher.changed.set()
        if not self._is_started:
            self._cluster.close()

    def _keep_publishing(self) -> None:
        informers = self._watcher.informers
        while not self._stopped.is_set():
            self._publish()
            self._watcher.changed.wait(TICK_SECONDS)
            self._watcher.changed.clear()
        for informer in informers:
            informer.join()
        self._cluster.close()

    def _publish(self) -> None:
        revoked, record = self._watcher.revoked(), self._watcher.record()
        before = self._published
        if not self._is_recorded and before is not None and before.closed_after_unix:
            # A later start would not know of it: the gate closes unless it is recorded in time.
            revoked = replace(revoked, closed_after_unix=before.closed_after_unix)
        try:
            if before is None or is_due(before, revoked, self._close_after_seconds):
                self._publisher.publish(revoked)
                self._published = revoked
            self._is_recorded = record == self._recorded
            if not self._is_recorded:
                self._publisher.save(record)
                self._recorded, self._is_recorded = record, True
            self._trouble = ""
        except (OSError, DaypassError) as error:
            self._trouble = f"the revocation list could not be published: {error}"


def _recall(watcher: RevocationWatcher, record: dict[str, Any]) -> None:
    try:
        watcher.revocations.recall(record)
    except DAMAGES:
        raise RecordError(
            "revocations.json in the state folder is damaged, or was written by another version",
            f"remove it, and start again. {WITHOUT_RECORD}",
        ) from None
