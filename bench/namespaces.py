"""The watch of 2,000 namespaces with identities, on a real API server: what it costs, how soon it
is complete, and for how short a closeAfter it keeps up.

Something else is always written, as in a real cluster: a consistent list then waits for up to 0.1 s
until the API server's cache is as recent as etcd (k8s.io/apiserver, pkg/storage/cacher/progress).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.churn import churning
from bench.observer_process import make_namespaces, running_observer
from bench.report import figure, short
from support.controlplane import ControlPlane

NAMESPACES = 2_000
SECRETS_EACH = 10
CLOSE_AFTER_SECONDS = (600, 30)
"""It keeps up while the oldest listing is less than half as old."""


def run(*, quick: bool) -> None:
    """Observe with one closeAfter after the other."""
    count = 200 if quick else NAMESPACES
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        ControlPlane.start(Path(scratch) / "plane") as plane,
    ):
        make_namespaces(plane, count, secrets=SECRETS_EACH)
        with churning(plane, plane.make_namespace()):
            for close_after in CLOSE_AFTER_SECONDS:
                _observe(plane, count, close_after)


def _observe(plane: ControlPlane, count: int, close_after: int) -> None:
    with running_observer(plane, close_after) as observed:
        first = observed.report()
        time.sleep(min(close_after, 45))  # each watch ends and begins
        later = observed.report()
    what = f"{count:,} namespaces, closeAfter {close_after} s"
    figure(f"{what}: complete after", f"{short(observed.complete_seconds)} s")
    oldest = max(first["oldest_seconds"], later["oldest_seconds"])
    share = oldest / close_after
    figure(f"{what}: oldest listing", f"{short(oldest)} s", ratio=f"{share:.2f}", bar="<= 0.5")
    figure(f"{what}: CPU", f"{100 * later['cpu_share']:.0f} % of a core")
    figure(f"{what}: memory", f"{later['mib']:.0f} MiB", bar="<= 150 MB")
    figure(f"{what}: connections", f"{later['connections']}", bar="<= 50")
