"""Leader election by a Lease of coordination.k8s.io, as client-go does it.

Other clocks are not trusted: a lease has expired if it has not changed for its duration by the
local clock. A holder gives up before another may take over: if it could not renew the lease for
RENEW_WITHIN_SECONDS, and at once if it sees another holder's name.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError
from daypass.kube.resources import LEASES, Object

DURATION_SECONDS = 10
RENEW_WITHIN_SECONDS = 7.0
EVERY_SECONDS = 2.0


class Lease:
    """A lease that `me` tries to hold, in a background thread. `is_held` is safe in any thread."""

    def __init__(
        self, cluster: Cluster, clock: Clock, *, namespace: str, name: str, me: str
    ) -> None:
        self.holder = ""
        self.last_error = ""
        self._cluster = cluster
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._me = me
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._until: float | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process holds it now."""
        until = self._until
        return until is not None and self._clock.monotonic() < until

    def start(self) -> None:
        """Start to acquire and renew it in a background thread."""
        self._thread = threading.Thread(target=self._hold, name="daypass-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Release it, so that the next holder need not wait."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(RENEW_WITHIN_SECONDS)
        if self._until is not None:  # even one that has expired here: others wait for it
            self._until = None
            try:
                lease = self._cluster.find(LEASES, self._name, self._namespace)
                if lease is not None and lease["spec"].get("holderIdentity") == self._me:
                    self._write(lease, {**lease["spec"], "holderIdentity": ""})
            except DaypassError as error:
                self.last_error = str(error)

    def attempt(self) -> None:
        """Acquire or renew it, unless another process holds it."""
        began = self._clock.monotonic()
        try:
            self._until = began + RENEW_WITHIN_SECONDS if self._ask() else None
            self.last_error = ""
        except (AlreadyExistsError, ConflictError):
            self._until = None  # another process was faster; the next read shows which
        except DaypassError as error:
            self.last_error = str(error)

    def _hold(self) -> None:
        while not self._ended.is_set():
            self.attempt()
            self._ended.wait(EVERY_SECONDS)

    def _ask(self) -> bool:
        lease = self._cluster.find(LEASES, self._name, self._namespace)
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            head = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
            lease = self._cluster.apply({**head, "spec": {}})  # by its name, as RBAC allows it
        spec = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        if self.holder not in ("", self._me) and not self._is_abandoned(lease):
            return False
        now = datetime.fromtimestamp(self._clock.unix(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        renewed: dict[str, Any] = {
            **spec, "holderIdentity": self._me, "renewTime": now,
            "leaseDurationSeconds": DURATION_SECONDS,
        }  # fmt: skip
        if self.holder != self._me:
            transitions = int(spec.get("leaseTransitions") or 0) + (1 if self.holder else 0)
            renewed |= {"acquireTime": now, "leaseTransitions": transitions}
        self._write(lease, renewed)
        self.holder = self._me
        return True

    def _is_abandoned(self, lease: Object) -> bool:
        seen = self.holder, str(lease["metadata"]["resourceVersion"])
        now = self._clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        duration = lease["spec"].get("leaseDurationSeconds")
        seconds = duration if isinstance(duration, int) else DURATION_SECONDS
        return now - self._seen_at > min(seconds, 60)

    def _write(self, lease: Object, spec: dict[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version}, "spec": spec}
        self._cluster.patch(LEASES, self._name, change, self._namespace)
