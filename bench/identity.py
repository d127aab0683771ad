"""What it costs to make identities, and to rotate a fleet of them, on a real API server."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from daypass.identity.fleet import THREADS
from daypass.identity.naming import IdentityName
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.lifecycle import make

DAYPASS = Path(sys.executable).parent / "daypass"
DOOR = "https://ekf.example.com/kubernetes"


def run(*, quick: bool) -> None:
    """All of it; `quick` takes a smaller fleet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "control-plane") as plane:
            namespace = plane.make_namespace()
            environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            _create(folder, namespace, environment, rounds=5 if quick else 15)
            _rotate(folder, plane, environment, size=100 if quick else 500)


def _create(folder: Path, namespace: str, environment: dict[str, str], *, rounds: int) -> None:
    seconds = []
    for number in range(rounds):
        command = ["create", f"bot-{number}", "-n", namespace, "--door", DOOR, "--audience", "gate"]
        seconds.append(_timed(command, folder, environment)[0])
    middle = statistics.median(seconds)
    print(
        f"daypass identity create, whole process: {middle:.2f} s"
        f" ({min(seconds):.2f}-{max(seconds):.2f})  bar <= 1 s",
        flush=True,
    )


def _rotate(folder: Path, plane: ControlPlane, environment: dict[str, str], *, size: int) -> None:
    namespace = plane.make_namespace()
    cluster = admin_cluster(plane)
    names = [IdentityName(namespace=namespace, name=f"bot-{n}") for n in range(size)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda name: make(cluster, name), names))
    cluster.close()
    rates = []
    for number in range(3):
        command = ["rotate", "--all", "-n", namespace, "--output-dir", f"out-{number}"]
        seconds, out = _timed([*command, "--output", "json"], folder, environment)
        assert not [each for each in json.loads(out) if each["error"]]
        rates.append(size / seconds)
    print(
        f"daypass identity rotate --all, {size} identities, whole process:"
        f" {statistics.median(rates):.0f} /s ({min(rates):.0f}-{max(rates):.0f})  bar >= 20 /s",
        flush=True,
    )


def _timed(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Seconds of a whole process, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(DAYPASS), "identity", *command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    return elapsed, done.stdout
