"""Follows the list of the revoked that the watch of a cluster publishes, on a thread of its own.

What it hands on is closed where it cannot be known what is revoked: where there is no list, or its
watch has not said for too long that it still knows all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass.gate.revocation.published_list import RevocationListError, read_revocation_list
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, Object
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_REVOKED

WATCH_SECONDS = 30
TICK_SECONDS = 1.0
PAUSE_SECONDS = 1.0
FUTURE_SECONDS = 60.0
"""How far a heartbeat may be ahead of our clock before it is not believed."""
CLOSED = RevocationSnapshot(closed=True)


class RevocationListClient:
    """Calls `take` with each list, from its own threads: `start`, at the end `stop`.

    It closes `cluster`. `close_after_seconds`: how old the watch's last word may be.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        take: Callable[[RevocationSnapshot], None],
        clock: Clock,
        *,
        close_after_seconds: float,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._take = take
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._revoked: RevocationSnapshot | None = None
        self._fresh_until = 0.0
        self._given: RevocationSnapshot | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.trouble = ""

    def start(self) -> None:
        """Follow, beside."""
        for work in (self._follow, self._look):
            threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        """End it; a watch that is under way is not waited for, and does nothing more."""
        self._ended.set()

    def see(self, found: Object | None) -> None:
        """Take the ConfigMap as it is now, or that there is none."""
        if found is None:
            self.trouble = (
                f"there is no ConfigMap {GATE_REVOKED} in {self._namespace}: "
                f"does `{command('gate', 'watch')}` run?"
            )
            return
        try:
            listed = read_revocation_list(found)
        except RevocationListError as error:
            self.trouble = str(error)  # the last good list goes on, until it is too old
            return
        age = self._clock.unix() - listed.heard_unix
        with self._lock:
            self._revoked = listed.revoked
            if age > -FUTURE_SECONDS:
                left = self._close_after_seconds - max(0.0, age)
                self._fresh_until = self._clock.monotonic() + left
        self.trouble = ""
        self.tell()

    def tell(self) -> None:
        """Hand on the list as it counts now, if that is another one."""
        with self._lock:
            revoked = self._revoked
            is_fresh = self._clock.monotonic() < self._fresh_until
            now = CLOSED if revoked is None else revoked
            if not is_fresh:
                now = replace(now, closed=True)
            if revoked is None and self._given is None:
                return  # it has only just begun to look
            if now != self._given:
                self._given = now
                self._take(now)

    def _follow(self) -> None:
        try:
            while not self._ended.is_set():
                try:
                    self._watch()
                except DaypassError as error:
                    self.trouble = str(error)
                except Exception as error:  # whatever it is: it must not end the following
                    self.trouble = f"what is revoked cannot be followed ({type(error).__name__})"
                self._ended.wait(PAUSE_SECONDS)
        finally:
            self._cluster.close()

    def _watch(self) -> None:
        fields = f"metadata.name={GATE_REVOKED}"
        # By name: the Role allows nothing else.
        found = self._cluster.find(CONFIG_MAPS, GATE_REVOKED, self._namespace)
        self.see(found)
        since = "0" if found is None else str(found["metadata"]["resourceVersion"])
        for what, each in self._cluster.watch(
            CONFIG_MAPS, self._namespace, since, fields=fields, timeout_seconds=WATCH_SECONDS
        ):
            if self._ended.is_set():
                return
            if what in ("ADDED", "MODIFIED"):
                self.see(each)
            elif what == "DELETED":
                self.see(None)

    def _look(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self.tell()
