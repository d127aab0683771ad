"""`daypass gate serve` as a process of its own."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.files import write_private
from support.authority import Certificate
from support.children import Child
from support.deadline import eventually
from support.doors import EKF
from support.fake_reviews import FakeReviews
from support.objects import kubeconfig
from support.tokens import AUDIENCE, ISSUER
from support.unlimited_reviews import UNLIMITED

SOCKET = "a.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running one. `listens`, `status`: where it listens for questions, and for probes."""

    child: Child
    listens: str
    status: str

    @property
    def port(self) -> int:
        return int(self.listens.rpartition(":")[2])

    @property
    def events(self) -> list[Any]:
        lines = self.child.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://{self.status}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])


@contextmanager
def gate_serve(
    folder: Path, *arguments: str, program: Sequence[str] = ("-m", "daypass")
) -> Iterator[Served]:
    """One with the config and the certificate in `folder`, once it listens; ended with the block.

    It begins with 1,024 open files, as a service manager gives. `arguments`: more of its command
    line. `program`: what Python runs.
    """
    limited = 'ulimit -Sn 1024; exec "$@"'
    child = Child(
        ["sh", "-c", limited, "sh", sys.executable, *program, "gate", "serve",
         "--status", "127.0.0.1:0", "--drain", "0s", *arguments],
        log=folder / "authorizer.log", folder=folder,
    )  # fmt: skip

    def told() -> re.Match[str] | None:
        child.check()
        pattern = r"the authorizer listens at (\S+), its health at (\S+)$"
        return re.search(pattern, child.log.read_text(), re.MULTILINE)

    try:
        found = eventually("it says where it listens", told)
        yield Served(child=child, listens=found[1], status=found[2])
    finally:
        child.stop()


@contextmanager
def gate_serve_over_tls(
    folder: Path, config: str, pair: Certificate, *arguments: str
) -> Iterator[Served]:
    """One with this config that shows this certificate, on a free port."""
    files = {"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem, "daypass.yaml": config}
    for name, text in files.items():
        write_private(str(folder / name), text.encode())
    tls = ("--listen", "127.0.0.1:0", "--certificate", "tls.crt", "--key", "tls.key")
    with gate_serve(folder, *tls, *arguments) as served:
        yield served


@contextmanager
def serving(folder: Path, reviews: FakeReviews, *arguments: str) -> Iterator[Served]:
    """One that guards EKF for AUDIENCE, on the Unix socket SOCKET unless `arguments` differ, and
    waits for every TokenReview.
    """
    (folder / "daypass.yaml").write_text(
        f"version: 1\ncluster: {{issuer: '{ISSUER}'}}\n"
        f"domains: {{ekf: {{host: {EKF}, front: envoy}}}}\n"
        f"gates: {{default: {{audience: {AUDIENCE}, engine: envoy, check: review}}}}\n"
    )
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig(reviews.access.server, {})))
    usual = ("--without-watch", "--kubeconfig", "kubeconfig", "--listen", f"unix:{SOCKET}")
    with gate_serve(folder, *usual, *arguments, program=UNLIMITED) as served:
        yield served
