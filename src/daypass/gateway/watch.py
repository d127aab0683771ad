"""Follows what tokens hang on in a cluster, and publishes whatever has to be refused.

What happens while a list is being published goes out together afterwards, so a fleet's rotation is
a few lists and not thousands. Who has not heard from the API server for too long knows nothing any
more, and closes the gate.
"""

from __future__ import annotations

import threading
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.gateway.following import CLOSE_AFTER_SECONDS, Following, Scope
from daypass.gateway.published import Publisher, RecordError
from daypass.kube.cluster import Cluster
from daypass.render.envoy.revocation import Revoked

TICK_SECONDS = 1.0


class RevocationWatch:
    """Keeps the list of a gate of our own current: `first`, then `start`, at the end `stop`.

    It closes `cluster`. Raises RecordError.
    """

    def __init__(
        self,
        cluster: Cluster,
        publisher: Publisher,
        clock: Clock,
        *,
        longest_lifetime_seconds: int,
        scope: Scope,
        close_after_seconds: float = CLOSE_AFTER_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._publisher = publisher
        self._following = Following(
            cluster, clock, scope, longest_lifetime_seconds=longest_lifetime_seconds,
            close_after_seconds=close_after_seconds,
        )  # fmt: skip
        if (record := publisher.kept()) is not None:
            _recall(self._following, record)
        self._ended = threading.Event()
        self._is_started = False
        self._trouble = ""
        self._published: Revoked | None = None
        self._recorded: dict[str, Any] | None = None

    @property
    def trouble(self) -> str:
        """What does not work right now, in words."""
        return "\n".join(filter(None, (self._following.trouble, self._trouble)))

    @property
    def is_closed(self) -> bool:
        """Whether it has heard nothing for so long that all tokens have to be refused."""
        return self._following.is_closed

    def longest_lifetime(self, seconds: int) -> None:
        """Take another longest lifetime; what is on the list stays for that long."""
        with self._following.lock:
            self._following.denials.longest_lifetime_seconds = seconds
        self._following.changed.set()

    def first(self) -> Revoked:
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
        try:
            if revoked != self._published:
                self._publisher.publish(revoked)
                self._published = revoked
            if record != self._recorded:
                self._publisher.keep(record)
                self._recorded = record
            self._trouble = ""
        except (OSError, DaypassError) as error:
            self._trouble = f"the list of the revoked could not be published: {error}"


def _recall(following: Following, record: dict[str, Any]) -> None:
    try:
        following.denials.recall(record)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RecordError(
            "what was kept of earlier revocations is damaged, or was written by another version",
            "start with another --state, or without its file revocations.json: what was deleted"
            " before is then not refused",
        ) from None
