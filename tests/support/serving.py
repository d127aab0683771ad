"""`daypass gate serve` as a process of its own, before an API server of the test's own."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.children import Child
from support.deadline import eventually
from support.doors import EKF
from support.fake_reviews import FakeReviews
from support.gates import AUDIENCE, ISSUER

SOCKET = "a.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running one. `path`: its Unix socket, unless it was told to listen elsewhere.

    `listens`, `status`: where it listens for questions, and for probes.
    """

    child: Child
    path: Path
    listens: str
    status: str

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        with urllib.request.urlopen(f"http://{self.status}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])


@contextmanager
def serving(
    folder: Path, reviews: FakeReviews, *arguments: str, open_files: int = 1024
) -> Iterator[Served]:
    """One that guards EKF for AUDIENCE, ended with the block.

    `arguments`: more of its command line. `open_files`: what it is given to begin with, as by a
    service manager.
    """
    (folder / "daypass.yaml").write_text(
        f"version: 1\ncluster: {{issuer: '{ISSUER}'}}\n"
        f"domains: {{ekf: {{host: {EKF}, front: envoy}}}}\n"
        f"gate: {{audience: {AUDIENCE}, engine: envoy, check: review}}\n"
    )
    (folder / "kubeconfig").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": reviews.access.server}}],
        "users": [{"name": "x", "user": {}}],
    }))  # fmt: skip
    limited = f'ulimit -Sn {open_files}; exec "$@"'
    child = Child(
        ["/bin/sh", "-c", limited, "sh", sys.executable, "-m", "daypass", "gate", "serve",
         "--without-watch", "--config", "daypass.yaml", "--kubeconfig", "kubeconfig",
         "--listen", f"unix:{SOCKET}", "--status", "127.0.0.1:0", "--drain", "0s", *arguments],
        log=folder / "authorizer.log", folder=folder,
    )  # fmt: skip
    try:
        found = _told(child, r"the authorizer listens at (\S+), its health at (\S+)$")
        yield Served(child=child, path=folder / SOCKET, listens=found[1], status=found[2])
    finally:
        child.stop()


def _told(child: Child, pattern: str) -> re.Match[str]:
    def told() -> re.Match[str] | None:
        child.check()
        return re.search(pattern, child.log.read_text(), re.MULTILINE)

    return eventually("it says where it listens", told)
