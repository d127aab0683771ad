"""How an authorizer follows the published revocation list, and closes once that is out of date."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from daypass._core.clock import Clock
from daypass._core.hints import command
from daypass.gate.revocation.published_list import RevocationListError, read_revocation_list
from daypass.kube.cluster import Cluster
from daypass.kube.informer import Informer
from daypass.kube.resources import CONFIG_MAPS, Object
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_REVOKED

WATCH_SECONDS = 30
CHECK_EVERY_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 1.0
FUTURE_SECONDS = 60.0
"""A heartbeat further ahead of the local clock is not believed."""
CLOSED = RevocationSnapshot(closed=True)


class RevocationListClient:
    """Calls `take` with each list on threads of its own, from `start` to `stop`.

    The list is closed while it can't be known what is revoked: if the last heartbeat is too old.
    `close_after_seconds`: the age of a heartbeat at which the gate closes.
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
        self._informer = Informer(
            cluster, CONFIG_MAPS, namespace, self.update, clock, name=GATE_REVOKED,
            watch_seconds=WATCH_SECONDS, longest_pause_seconds=LONGEST_PAUSE_SECONDS,
        )  # fmt: skip
        self._namespace = namespace
        self._take = take
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._revoked: RevocationSnapshot | None = None
        self._fresh_until = 0.0
        self._taken: RevocationSnapshot | None = None
        self._list_error = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        return self._informer.last_error or self._list_error

    def start(self) -> None:
        """Watch in the background."""
        self._informer.start()
        threading.Thread(target=self._check_age, daemon=True).start()

    def stop(self) -> None:
        """Stop without waiting for the watch; `take` is not called any more."""
        self._informer.stop()
        self._stopped.set()

    def update(self, event: str, found: list[Object]) -> None:
        """Take the ConfigMap, or that there is none."""
        if event == "DELETED" or not found:
            self._list_error = (
                f"there is no ConfigMap {GATE_REVOKED} in {self._namespace}: "
                f"does `{command('gate', 'watch')}` run?"
            )
            return
        try:
            listed = read_revocation_list(found[0])
        except RevocationListError as error:
            self._list_error = str(error)  # the last list stays in force until it is too old
            return
        age = self._clock.unix() - listed.heard_unix
        with self._lock:
            self._revoked = listed.revoked
            if age > -FUTURE_SECONDS:
                left = self._close_after_seconds - max(0.0, age)
                self._fresh_until = self._clock.monotonic() + left
        self._list_error = ""
        self.check()

    def check(self) -> None:
        """Pass on the list as it applies now, if it differs from the last one."""
        with self._lock:
            revoked = self._revoked
            is_fresh = self._clock.monotonic() < self._fresh_until
            now = CLOSED if revoked is None else revoked
            if not is_fresh:
                now = replace(now, closed=True)
            if revoked is None and self._taken is None:
                return  # nothing has been read yet
            if now != self._taken:
                self._taken = now
                self._take(now)

    def _check_age(self) -> None:
        while not self._stopped.wait(CHECK_EVERY_SECONDS):
            self.check()
