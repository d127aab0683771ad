"""What `daypass status` takes with 20 domains and 5,000 identities, on a real API server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.inventory import _make
from bench.report import figure
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deploying import apply, prepare
from support.kubeflow import install_kubeflow

DOMAINS, IDENTITIES = 20, 5000
BASE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(*, quick: bool) -> None:
    """Whole processes; `quick` takes fewer identities."""
    count = IDENTITIES // 10 if quick else IDENTITIES
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        ControlPlane.start(Path(scratch) / "control-plane") as plane,
    ):
        install_kubeflow(plane)
        prepare(plane, (), "istio-system")
        _make(plane, count)
        text = _config()
        (Path(scratch) / "daypass.yaml").write_text(text)
        with admin_cluster(plane) as cluster:
            apply(cluster, text)
        command = [sys.executable, "-m", "daypass", "status", "--kubeconfig", str(plane.kubeconfig)]
        seconds = [_seconds(command, scratch) for _ in range(3 if quick else 7)]
        figure(
            f"daypass status, {DOMAINS} domains, {count:,} identities",
            f"{median(seconds):.2f} s", bar="<= 3 s",
        )  # fmt: skip


def _config() -> str:
    domains = "".join(
        f"  d{n}: {{host: d{n}.example.com, front: istio, tls: {{secret: tls-{n}}}}}\n"
        for n in range(DOMAINS)
    )
    return f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
{domains}policy: {{audiences: [gate.example.com]}}
gates: {{default: {{audience: gate.example.com, hosts: [d0.example.com]}}}}
gatePods: {{image: 'r.example.com/daypass:1'}}
"""


def _seconds(command: list[str], folder: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=BASE, capture_output=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr.decode())
    return time.perf_counter() - started
