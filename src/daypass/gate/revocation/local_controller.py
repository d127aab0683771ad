"""Follows what tokens hang on in a cluster, and publishes whatever has to be refused.

What happens while a list is being published goes out together afterwards, so a fleet's rotation is
a few lists and not thousands. Who has not heard from the API server for too long knows nothing any
more, and closes the gate. Each list is valid until `close_after_seconds` after that, and is renewed
at half of it: Envoy closes the gate where nothing can be published any more.
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
    """Keeps the list of a gate of our own current: `first`, then `start`, at the end `stop`.

    It closes `cluster`. `record_is_lost`: there was no record of an earlier run, so that tokens
    issued before this start are refused. Raises RecordError.
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
        self._following = RevocationWatcher(
            cluster, clock, scope, longest_lifetime_seconds=longest_lifetime_seconds,
            close_after_seconds=close_after_seconds,
        )  # fmt: skip
        record = publisher.kept()
        self.record_is_lost = record is None and not publisher.is_first_start
        if record is not None:
            _recall(self._following, record)
        elif self.record_is_lost:
            self._following.record_is_lost()
        self._ended = threading.Event()
        self._is_started = False
        self._trouble = ""
        self._published: RevocationSnapshot | None = None
        self._recorded: dict[str, Any] | None = None
        self._is_recorded = True

    @property
    def trouble(self) -> str:
        """What does not work right now, in words."""
        return "\n".join(filter(None, (self._following.trouble, self._trouble)))

    @property
    def is_closed(self) -> bool:
        """Whether it has heard nothing for so long that all tokens have to be refused."""
        return self._following.is_closed

    @property
    def is_expired(self) -> bool:
        """Whether the list that Envoy has is no longer valid; with `review` Envoy has none."""
        until = 0 if self._published is None else self._published.closed_after_unix
        return 0 < until <= self._clock.unix()

    @property
    def opens_in_seconds(self) -> float:
        """How long it stays closed since its record was lost; see `Following.record_is_lost`."""
        return max(0.0, self._following.denials.recorded_since_unix - self._clock.unix())

    def longest_lifetime(self, seconds: int) -> None:
        """Take another longest lifetime; what is on the list stays for that long."""
        with self._following.lock:
            self._following.denials.longest_lifetime_seconds = seconds
        self._following.changed.set()

    def first(self) -> RevocationSnapshot:
        """List once, here and now; what has to be refused from the first request on."""
        self._following.look()
        self._published = self._following.revoked()
        return self._published

    def start(self) -> None:
        """Follow and publish, beside."""
        self._following.start()
        self._is_started = True
        threading.Thread(target=self._keep_publishing, daemon=True).start()

    def stop(self) -> None:
        """End it; a watch that is under way is not waited for, and does nothing more."""
        self._following.stop()
        self._ended.set()
        self._following.changed.set()
        if not self._is_started:
            self._cluster.close()

    def _keep_publishing(self) -> None:
        feeds = self._following.feeds
        while not self._ended.is_set():
            self._publish()
            self._following.changed.wait(TICK_SECONDS)
            self._following.changed.clear()
        for feed in feeds:
            feed.join()
        self._cluster.close()

    def _publish(self) -> None:
        revoked, record = self._following.revoked(), self._following.record()
        before = self._published
        if not self._is_recorded and before is not None and before.closed_after_unix:
            # A later start would not know of it: the gate closes, unless it is recorded in time.
            revoked = replace(revoked, closed_after_unix=before.closed_after_unix)
        try:
            if before is None or is_due(before, revoked, self._close_after_seconds):
                self._publisher.publish(revoked)
                self._published = revoked
            self._is_recorded = record == self._recorded
            if not self._is_recorded:
                self._publisher.keep(record)
                self._recorded, self._is_recorded = record, True
            self._trouble = ""
        except (OSError, DaypassError) as error:
            self._trouble = f"the list of the revoked could not be published: {error}"


def _recall(following: RevocationWatcher, record: dict[str, Any]) -> None:
    try:
        following.denials.recall(record)
    except DAMAGES:
        raise RecordError(
            "revocations.json in the state folder is damaged, or was written by another version",
            f"remove it, and start again. {WITHOUT_RECORD}",
        ) from None
