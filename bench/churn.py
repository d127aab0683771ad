"""Another tenant that creates and deletes all the time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.objects import name_of
from daypass.kube.resources import SECRETS
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import OF_DAYPASS, ensure_service_account, make_credential

A_SECOND = 50
AT_ONCE = 100
THREADS = 4


@contextmanager
def churning(plane: ControlPlane, namespace: str) -> Iterator[None]:
    """50 credentials a second are made in a namespace, and as many deleted, while the block runs;
    fails if the API server takes less than half of that.
    """
    account = ensure_service_account(plane.admin, namespace, "churn", labels=OF_DAYPASS)
    stop, lock, deleted = threading.Event(), threading.Lock(), 0

    def work() -> None:
        nonlocal deleted
        made: deque[str] = deque()
        due = SYSTEM_CLOCK.monotonic()
        while not stop.wait(max(0.0, due - SYSTEM_CLOCK.monotonic())):
            due += THREADS / A_SECOND
            secret = make_credential(plane.admin, plane.ca_pem, namespace, "churn", account)
            made.append(SECRETS.path(namespace, name_of(secret)))
            if len(made) > AT_ONCE / THREADS:
                plane.admin.delete(made.popleft())
                with lock:
                    deleted += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        eventually("it deletes", lambda: deleted)
        began, before = SYSTEM_CLOCK.monotonic(), deleted
        yield
        rate = (deleted - before) / (SYSTEM_CLOCK.monotonic() - began)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert rate > A_SECOND / 2, f"{rate:.0f} a second"
