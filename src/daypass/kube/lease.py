"""Leader election by a Lease of coordination.k8s.io, as client-go does it.

Other clocks are not trusted: a lease has expired if it has not changed for its duration by the
local clock. A holder gives up before another may take over: if it could not renew the lease for
RENEW_WITHIN_SECONDS, and at once if it sees another holder's name.

Each acquisition has a higher term than those before it, in an annotation: a fencing token, for what
the holder writes. A lease that was deleted or restored begins at a lower one: see `raise_term`.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.labels import TERM
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError
from daypass.kube.resources import LEASES, Object

DURATION_SECONDS = 10
RENEW_WITHIN_SECONDS = 7.0
EVERY_SECONDS = 2.0


class LeaseLostError(DaypassError):
    """Another process holds the lease now."""


class Lease:
    """A lease that `me` tries to hold, in a background thread. Safe to share between threads.

    `holder`: whose it was at the last attempt. `term`: of the last acquisition, or as raised since.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, *, namespace: str, name: str, me: str
    ) -> None:
        self.holder = ""
        self.term = 0
        self.last_error = ""
        self._cluster = cluster
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._me = me
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._until: float | None = None
        self._writing = threading.Lock()
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
                    self._write(lease, {**lease["spec"], "holderIdentity": ""}, self.term)
            except DaypassError as error:
                self.last_error = str(error)

    def attempt(self) -> None:
        """Acquire or renew it, unless another process holds it."""
        with self._writing:
            began = self._clock.monotonic()
            try:
                self._until = began + RENEW_WITHIN_SECONDS if self._ask() else None
                self.last_error = ""
            except (AlreadyExistsError, ConflictError):
                self._until = None  # another process was faster; the next read shows which
            except DaypassError as error:
                self.last_error = str(error)

    def acquire(self) -> bool:
        """Acquire it, and renew it in the background; return False if another process renews it.

        It takes up to DURATION_SECONDS to see that a holder is lost.
        """
        self.attempt()
        seen = self._seen
        while not self.is_held and self._seen == seen:
            self._cluster.sleep(EVERY_SECONDS)
            self.attempt()
            if self.last_error:
                return False
        if self.is_held:
            self.start()
        return self.is_held

    def raise_term(self, at_least: int) -> int:
        """Write a term that is no lower than this, and higher than before; return it.

        Raises LeaseLostError, and the errors of `daypass.kube.errors`.
        """
        with self._writing:
            lease = self._cluster.get(LEASES, self._name, self._namespace)
            spec = lease.get("spec") or {}
            if not self.is_held or spec.get("holderIdentity") != self._me:
                raise LeaseLostError("another process holds the lease")
            term = max(at_least, self.term + 1, term_of(lease) + 1)
            self._write(lease, spec, term)
            self.term = term
            return term

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
        term = self.term
        if self.holder != self._me or term_of(lease) != term:
            transitions = int(spec.get("leaseTransitions") or 0) + (1 if self.holder else 0)
            renewed |= {"acquireTime": now, "leaseTransitions": transitions}
            term = max(term, term_of(lease)) + 1
        self._write(lease, renewed, term)
        self.holder, self.term = self._me, term
        return True

    def _is_abandoned(self, lease: Object) -> bool:
        seen = self.holder, str(lease["metadata"]["resourceVersion"])
        now = self._clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        duration = lease["spec"].get("leaseDurationSeconds")
        seconds = duration if isinstance(duration, int) else DURATION_SECONDS
        return now - self._seen_at > min(seconds, 60)

    def _write(self, lease: Object, spec: dict[str, Any], term: int) -> None:
        version = lease["metadata"]["resourceVersion"]
        metadata = {"resourceVersion": version, "annotations": {TERM: str(term)}}
        change = {"metadata": metadata, "spec": spec}
        self._cluster.patch(LEASES, self._name, change, self._namespace)


def term_of(document: Object) -> int:
    """Return the term in an object's annotation, or 0."""
    text = str((document["metadata"].get("annotations") or {}).get(TERM))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
