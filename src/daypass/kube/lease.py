"""Leader election by a Lease of coordination.k8s.io, as client-go does it.

Other clocks are not trusted: a lease has expired if it has not changed for its duration by the
local clock. A holder gives up before another may take over: if it could not renew the lease for
RENEW_WITHIN_SECONDS, and at once if it sees another holder's name.

Each acquisition has a higher term than those before it, its `leaseTransitions`: a fencing token,
for what the holder writes. A lease that was deleted or restored begins at a lower one: `attempt`
can raise it.
"""

from __future__ import annotations

import math
import threading

from daypass._core.clock import utc
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.objects import Object
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError
from daypass.kube.resources import LEASES

DURATION_SECONDS = 10
RENEW_WITHIN_SECONDS = 7.0
EVERY_SECONDS = 2.0


class Lease:
    """A lease that `me` tries to hold, in a background thread. Safe to share between threads.

    `holder`: whose it was at the last attempt. `term`: of the last acquisition, or as raised since.
    `last_error`: why the last attempt failed, or "".
    """

    def __init__(self, cluster: Cluster, *, namespace: str, name: str, me: str) -> None:
        self.holder = ""
        self.term = 0
        self.last_error = ""
        self._cluster = cluster
        self._clock = cluster.clock
        self._namespace = namespace
        self._name = name
        self._me = me
        self._seen = ""
        self._seen_at = 0.0
        self._until = -math.inf
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process holds it now."""
        return self._clock.monotonic() < self._until

    def start(self) -> None:
        """Start to acquire and renew it in a background thread."""
        self._thread = threading.Thread(target=self._hold, name="daypass-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Release it, so that the next holder need not wait."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(RENEW_WITHIN_SECONDS)
        if self._until > -math.inf:  # even one that has expired here: others wait for it
            self._until = -math.inf
            try:
                lease = self._cluster.find(LEASES, self._name, self._namespace)
                if lease is not None and _holder(lease) == self._me:
                    self._write(lease, "", self.term)
            except DaypassError as error:
                self.last_error = str(error)

    def attempt(self, above: int = 0) -> None:
        """Acquire or renew it with a term that is higher than `above`, unless another process holds
        it.
        """
        with self._writing:
            began = self._clock.monotonic()
            try:
                self._until = began + RENEW_WITHIN_SECONDS if self._ask(above) else -math.inf
                self.last_error = ""
            except (AlreadyExistsError, ConflictError):
                self._until = -math.inf  # another process was faster; the next read shows which
            except DaypassError as error:
                self.last_error = str(error)

    def acquire(self) -> bool:
        """Acquire it, and renew it in the background; return False if another process renews it.

        It takes up to DURATION_SECONDS to see that a holder is lost.
        """
        self.attempt()
        seen = self._seen
        while not (self.is_held or self.last_error) and self._seen == seen:
            self._cluster.sleep(EVERY_SECONDS)
            self.attempt()
        if self.is_held:
            self.start()
        return self.is_held

    def _hold(self) -> None:
        while not self._ended.is_set():
            self.attempt()
            self._ended.wait(EVERY_SECONDS)

    def _ask(self, above: int) -> bool:
        lease = self._cluster.find(LEASES, self._name, self._namespace)
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            head = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
            lease = self._cluster.apply({**head, "spec": {}})  # by its name, as RBAC allows it
        self.holder = _holder(lease)
        if self.holder not in ("", self._me) and not self._is_abandoned(lease):
            return False
        term = self.term
        if self.holder != self._me or _term(lease) != term or term <= above:
            term = max(term, _term(lease), above) + 1
        self._write(lease, self._me, term)
        return True

    def _is_abandoned(self, lease: Object) -> bool:
        version, now = str(lease["metadata"]["resourceVersion"]), self._clock.monotonic()
        if version != self._seen:
            self._seen, self._seen_at = version, now
        return now - self._seen_at > DURATION_SECONDS

    def _write(self, lease: Object, holder: str, term: int) -> None:
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "leaseTransitions": term,
            "renewTime": f"{utc(self._clock.unix()):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        metadata = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        change = {"metadata": metadata, "spec": spec}
        self._cluster.patch(LEASES, self._name, change, self._namespace)
        self.holder, self.term = holder, term


def _holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _term(lease: Object) -> int:
    return int((lease.get("spec") or {}).get("leaseTransitions") or 0)
