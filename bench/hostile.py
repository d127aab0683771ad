"""How many of N hostile requests reach the API server as anything but a TokenRequest."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.report import figure
from daypass.render.envoy.settings import DoorSettings, Timeouts
from support.authority import Authority
from support.doors import running_door
from support.hostile import run_hostile
from support.recorder import Recorder

SERVER = "kubernetes.default.svc"


def run(*, quick: bool) -> None:
    """100,000 requests (`quick`: 5,000), bent in every way that the wire tests know."""
    count = 5_000 if quick else 100_000
    authority = Authority()

    def impatient(settings: DoorSettings) -> DoorSettings:
        return replace(settings, timeouts=Timeouts(close_seconds=0.05))

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with (
            Recorder(authority, folder, (SERVER,)) as recorder,
            running_door(
                folder, recorder.port, upstream_authority_pem=authority.pem, change=impatient
            ) as door,
        ):
            seed = time.time_ns() % 1_000_000
            report = run_hostile(door, recorder, count, seed)
    for fault in report.faults[:10]:
        print(f"  {fault}")
    figure(
        f"{report.sent:,} hostile requests (seed {seed})",
        f"{report.arrived:,} were TokenRequests and arrived as such;"
        f" {len(report.faults)} arrived as anything else",
        bar="0",
    )
