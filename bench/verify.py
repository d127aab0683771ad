"""What `daypass verify` of a healthy door takes, beside the one request that people send."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.rounds import compare
from daypass.testing.running import stack

DAYPASS = str(Path(sys.executable).parent / "daypass")
GUIDE = "/api/v1/namespaces/default/serviceaccounts/default/token"


def run(*, quick: bool) -> None:
    """Whole processes, in turns, against the stack of one machine; the bar is on ours alone."""
    with stack() as running:
        authority = str(running.authority_file)
        verify = [DAYPASS, "verify", running.door, "--certificate-authority", authority]
        curl = ["curl", "-sS", "--cacert", authority, f"{running.door}{GUIDE}"]
        compare(
            "daypass verify, one domain | curl, one request",
            lambda: _seconds(verify),
            lambda: _seconds(curl),
            rounds=5 if quick else 21,
            unit="s",
            bar="<= 1 s",
        )


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
