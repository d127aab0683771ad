"""How soon a change is in force on one machine: a real API server, `daypass up`, and its Envoy.

Deletions and creations are measured with few credentials, with 1,000 and 20,000, and while another
tenant makes 50 Secrets a second.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from pathlib import Path

from bench.report import figure
from bench.revocation import busy, fill
from support.controlplane import ControlPlane
from support.identities import WATCHED
from support.up import Up
from support.up_gate import calling, gate_up

SIZES = ((1_000, "<= 0.06 s"), (20_000, "<= 0.15 s"))
A_SECOND = 50


def run(*, quick: bool) -> None:
    """Measure rounds with each number of credentials, calm and busy."""
    rounds, sizes = (10, SIZES[:1]) if quick else (60, SIZES)
    with tempfile.TemporaryDirectory(prefix="b-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "plane") as plane:
            made = 0
            for size, bar in sizes:
                fill(plane, size - made)
                made = size
                up_folder = folder / str(size)
                up_folder.mkdir()
                with gate_up(up_folder, plane) as up:
                    measure(f"{size:,} credentials", up, plane, rounds, bar)
                    with busy(plane, A_SECOND):
                        what = f"{size:,}, and {A_SECOND} new Secrets a second"
                        measure(what, up, plane, rounds, bar)


def measure(what: str, up: Up, plane: ControlPlane, rounds: int, bar: str = "") -> None:
    """Report how soon deletions are refused, and new credentials pass."""
    removed, added = [], []
    namespace = plane.make_namespace(labels=WATCHED)
    for number in range(rounds):
        identity = plane.make_identity(namespace, f"bot-{number}", authorize=False)
        created = time.perf_counter()
        with calling(up, plane, identity) as caller:
            added.append(_until(caller.ask, 200) - created)
            time.sleep(0.2 + secrets.randbelow(500) / 1000)
            began = time.perf_counter()
            plane.admin.delete(identity.secret_path)
            removed.append(_until(caller.ask, 401) - began)
    for name, took, wanted in (
        ("deletion to refusal", removed, bar),
        ("creation to 200", added, ""),
    ):
        took.sort()
        worst = took[min(len(took) - 1, int(0.99 * len(took)))]
        median = statistics.median(took)
        figure(f"{what}: {name}, median", f"{median:.3f} s", bar=wanted)
        figure(f"{what}: {name}, 99th percentile", f"{worst:.3f} s")


def _until(ask: object, code: int) -> float:
    ends = time.perf_counter() + 60
    while ask().code != code:  # type: ignore[operator]
        if time.perf_counter() > ends:
            raise RuntimeError(f"no {code} within a minute")
    return time.perf_counter()
