"""What `daypass apply` adds to `kubectl apply --server-side` of the same objects: whole processes,
in turns, on one real API server.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.commands import BIN, _seconds
from bench.rounds import compare
from daypass._core.clock import SYSTEM_CLOCK
from daypass.config import load
from daypass.deploy.prerequisites import authority_in, authority_object, make_serving_certificate
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR_PAIR, DOOR_TRUST
from daypass.render.tls_server import door_server
from daypass.render.yaml import stream
from support.controlplane import ControlPlane
from support.crds import install_istio

CONFIG = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}, dns: external-dns}
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
policy: {audiences: [gate.example.com]}
"""
BAR = "<= 1.2"


def run(*, quick: bool) -> None:
    """All of it; `quick` takes fewer rounds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "control-plane") as plane:
            install_istio(plane)
            plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "istio-system"}})
            _Measured(folder, plane).run(quick=quick)


class _Measured:
    """Both tools on one control plane, each with a home of its own for what it remembers."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self._environment = {"KUBECONFIG": str(plane.kubeconfig), "HOME": str(folder)}
        self._wholes = []
        self._configs = []
        for replicas in (2, 3):  # what differs from one to the other
            file = folder / f"{replicas}" / "daypass.yaml"
            file.parent.mkdir()
            file.write_text(f"{CONFIG}door: {{replicas: {replicas}, trustedHops: {replicas}}}\n")
            self._configs.append(file)
            manifests = file.with_name("manifests")
            manifests.write_text(_manifests(file))
            self._wholes.append(manifests)

    def run(self, *, quick: bool) -> None:
        """From nothing, with a change, and with none."""
        compare(
            "daypass apply | kubectl apply, from nothing", self._fresh(self._daypass),
            self._fresh(self._kubectl), rounds=3 if quick else 9, unit="ms", bar=BAR,
        )  # fmt: skip
        compare(
            "daypass apply | kubectl apply, with a change", self._changing(self._daypass),
            self._changing(self._kubectl), rounds=5 if quick else 31, unit="ms", bar=BAR,
        )  # fmt: skip
        compare(
            "daypass apply | kubectl apply, without one", self._daypass, self._kubectl,
            rounds=5 if quick else 31, unit="ms", bar=BAR,
        )  # fmt: skip

    def _daypass(self, which: int = 0) -> float:
        options = ("--no-commit", "--yes", "--no-wait", "--force-conflicts")
        command = [str(BIN / "daypass"), "apply", "--config", str(self._configs[which]), *options]
        return _seconds(command, self._environment)

    def _kubectl(self, which: int = 0) -> float:
        command = [
            str(BIN / "kubectl"), "apply", "--server-side", "--force-conflicts",
            "-f", str(self._wholes[which]),
        ]  # fmt: skip
        return _seconds(command, self._environment)

    def _fresh(self, apply: Callable[[], float]) -> Callable[[], float]:
        """On a cluster that has none of it."""

        def measure() -> float:
            self._clear()
            return apply()

        return measure

    def _changing(self, apply: Callable[[int], float]) -> Callable[[], float]:
        """With an object or three that differ from what is there."""

        def measure() -> float:
            apply(0)
            return apply(1)

        return measure

    def _clear(self) -> None:
        command = [
            str(BIN / "kubectl"), "delete", "--ignore-not-found", "-f", str(self._wholes[0])
        ]  # fmt: skip
        subprocess.run(
            command, env={**os.environ, **self._environment}, check=True, capture_output=True
        )


def _manifests(file: Path) -> str:
    """What `daypass apply` applies, the Secrets as well."""
    config = load(file)
    namespace = config.door.namespace
    pair = make_serving_certificate(namespace, DOOR_PAIR, door_server(config).host, SYSTEM_CLOCK)
    trust = authority_object("Secret", "istio-system", DOOR_TRUST, authority_in(pair))
    first, *rest = render_objects(config, ClusterFacts())
    return stream([first, pair, trust, *rest])
