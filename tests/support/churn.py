"""Another tenant who creates and deletes all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.labels import OWNED
from support.controlplane import ControlPlane
from support.identities import ensure_service_account, unique

EACH_SECOND = 50
AT_ONCE = 4


@contextmanager
def churning(plane: ControlPlane, namespace: str) -> Iterator[None]:
    """50 token Secrets a second are created or deleted in a namespace, while the block runs; fails
    if the API server takes no more than half of that.
    """
    account = ensure_service_account(plane.admin, namespace, "churn")
    stop, lock, count = threading.Event(), threading.Lock(), 0
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    annotations = {
        "kubernetes.io/service-account.name": "churn", "kubernetes.io/service-account.uid": account,
    }  # fmt: skip

    def work() -> None:
        nonlocal count
        while not stop.is_set():
            due = SYSTEM_CLOCK.monotonic() + 2 * AT_ONCE / EACH_SECOND
            name = unique("churn-daypass", 20)
            metadata = {"name": name, "labels": dict(OWNED), "annotations": annotations}
            kind = "kubernetes.io/service-account-token"
            plane.admin.create(secrets, {"metadata": metadata, "type": kind})
            plane.admin.delete(f"{secrets}/{name}")
            with lock:
                count += 2
            stop.wait(max(0.0, due - SYSTEM_CLOCK.monotonic()))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(AT_ONCE)]
    began = SYSTEM_CLOCK.monotonic()
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    rate = count / (SYSTEM_CLOCK.monotonic() - began)
    assert rate > EACH_SECOND / 2, f"{rate:.0f} a second"
