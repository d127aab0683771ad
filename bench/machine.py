"""How soon a change is in force on one machine: a real API server, `daypass up`, and its Envoy.

Deletions and creations are measured with 1,000 and 20,000 credentials, and while another tenant
makes and deletes 50 a second.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from bench.churn import A_SECOND, churning
from bench.revocation import at_one_gate, fill, measure
from support.controlplane import ControlPlane
from support.up_gate import calling, gate_up
from support.watching import identity_namespace

SIZES = ((1_000, "<= 0.06 s"), (20_000, "<= 0.15 s"))


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
                    ours = at_one_gate(partial(calling, up, plane))
                    what = f"{size:,} credentials"
                    measure(what, plane, ours, rounds, median=bar)
                    with churning(plane, identity_namespace(plane)):
                        what += f", {A_SECOND} a second made and deleted"
                        measure(what, plane, ours, rounds, added="")
