"""What it costs to make identities and to rotate a fleet, and how soon revoked ones end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.report import figure, spread
from daypass._core.secret import Secret
from daypass.identity.delete import revoke
from daypass.identity.model import IdentityName
from daypass.identity.rotate import THREADS
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError
from support.clusters import admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.lifecycle import GATE, accepts, exchange, make
from support.watching import Watch, prepare, watched_config

DAYPASS = Path(sys.executable).parent / "daypass"
FORGOTTEN_SECONDS, PAUSE_SECONDS = 30.0, 0.05
DOOR = "https://ekf.example.com/kubernetes"


def run(*, quick: bool) -> None:
    """All of it; `quick` takes a smaller fleet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "control-plane") as plane, ExitStack() as stack:
            prepare(plane, watched_config())
            watch = stack.enter_context(Watch(folder / "watch", plane, watched_config()))
            watch.wait_leading()
            namespace = plane.make_namespace()
            environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            _create(folder, namespace, environment, rounds=5 if quick else 15)
            _rotate(folder, plane, environment, size=100 if quick else 500)
            _revoke(plane, rounds=3 if quick else 10)


def _create(folder: Path, namespace: str, environment: dict[str, str], *, rounds: int) -> None:
    seconds = []
    for number in range(rounds):
        command = ["create", f"bot-{number}", "-n", namespace, "--door", DOOR, "--audience", "gate"]
        seconds.append(_timed(command, folder, environment)[0])
    figure(
        "daypass identity create, whole process, until it is published",
        spread(seconds, 2, "s"),
        bar="<= 1 s",
    )


def _rotate(folder: Path, plane: ControlPlane, environment: dict[str, str], *, size: int) -> None:
    namespace = plane.make_namespace()
    names = [IdentityName(namespace=namespace, name=f"bot-{n}") for n in range(size)]
    with admin_cluster(plane) as cluster, ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda name: make(cluster, name), names))
    rates = []
    for number in range(3):
        command = ["rotate", "--all", "-n", namespace, "--credentials-out", f"out-{number}"]
        seconds, out = _timed([*command, "--output", "json"], folder, environment)
        assert not [each for each in json.loads(out) if each["error"]]
        rates.append(size / seconds)
    title = f"daypass identity rotate --all, {size} identities, until they are published"
    figure(title, spread(rates, 0, "/s"), bar=">= 20 /s")


def _revoke(plane: ControlPlane, *, rounds: int) -> None:
    """All rounds at the same time: each waits for the API server to forget."""
    namespace = plane.make_namespace()
    names = [IdentityName(namespace=namespace, name=f"leaked-{n}") for n in range(rounds)]
    with admin_cluster(plane) as cluster, ThreadPoolExecutor(rounds) as pool:
        ends = list(pool.map(lambda name: _ends(plane, cluster, name), names))
    # Of tokens that the API server let in just before: it remembers for 10 s.
    for what in ends[0]:
        seconds = [each[what] for each in ends]
        figure(f"revoke, {rounds} times: {what}", spread(seconds, 2, "s"))


def _ends(plane: ControlPlane, cluster: Cluster, name: IdentityName) -> dict[str, float]:
    """Seconds until each use of a token is refused that the API server let in just before."""
    made = make(cluster, name)
    holder = cluster_as(plane, made.token)

    def born() -> Secret | None:
        child = exchange(holder, name, bound_to=made.secret.name)
        return child if isinstance(child, Secret) else None

    child = eventually("its right to ask is known to the API server", born)
    refused: dict[str, Callable[[], bool]] = {
        "a token bound to it is no longer issued": lambda: born() is None,
        "no token is made at all, without the policy": lambda: isinstance(
            exchange(holder, name, bound_to=None), ApiError
        ),
        "TokenReview refuses the long-lived token": lambda: not accepts(cluster, made.token),
        "TokenReview refuses those that were made of it": lambda: not accepts(cluster, child, GATE),
    }
    assert not any(is_refused() for is_refused in refused.values())
    began = time.perf_counter()
    revoke(cluster, name)
    seconds: dict[str, float] = {}
    while len(seconds) < len(refused) and time.perf_counter() - began < FORGOTTEN_SECONDS:
        for what, is_refused in refused.items():
            if what not in seconds and is_refused():
                seconds[what] = time.perf_counter() - began
        time.sleep(PAUSE_SECONDS)
    holder.close()
    if len(seconds) < len(refused):
        raise RuntimeError(f"{name} is revoked and still let in after {FORGOTTEN_SECONDS} s")
    return seconds


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
