"""A million distinct tokens that are none: how fast a gate refuses them, and what is left of it.

Memory is what the process that verifies tokens has more afterwards than after the first tenth.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.loads import Target, build, fire
from bench.report import figure
from daypass.config.gate import DEFAULT_GATE
from daypass.render.names import gate_prefix
from support.authority import Authority
from support.children import resident_bytes
from support.doors import EKF
from support.fake_reviews import fake_reviews
from support.gates import running_gate
from support.objects import kubeconfig
from support.serving import gate_serve_over_tls
from support.tokens import AUDIENCE, ISSUER, Signer

COUNT, FORGED = 1_000_000, 100_000
CONNECTIONS = 16

Make = Callable[[int], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A process that verifies tokens, and where it is asked."""

    pid: int
    port: int
    authority_pem: str
    path: str = "/"


def run(*, quick: bool) -> None:
    """Junk, and tokens of which nothing but the signature is wrong, for both verifiers."""
    share = 10 if quick else 1
    for name, started in (("Envoy", _envoy), ("authorizer of Envoy Gateway", _authorizer)):
        for kind, count, make in (("junk", COUNT, _junk), ("forged", FORGED, _forged)):
            with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
                _measure(Path(scratch), name, started, kind, count // share, make)


@contextmanager
def _envoy(folder: Path) -> Iterator[Verifier]:
    """That of one machine; Istio's has the same rules."""
    with running_gate(folder, Signer().jwks) as gate:
        yield Verifier(pid=gate.envoy.pid, port=gate.port, authority_pem=gate.authority.pem)


@contextmanager
def _authorizer(folder: Path) -> Iterator[Verifier]:
    config = (
        f"version: 1\ncluster: {{issuer: '{ISSUER}'}}\n"
        f"domains: {{ekf: {{host: {EKF}, front: gateway-api, gateway: infra/public, "
        "tls: outside}}\n"
        f"policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}\n"
        f"gates: {{default: {{audience: {AUDIENCE}, engine: envoy-gateway, gateway: infra/public, "
        "check: review}}\n"
    )
    authority = Authority()
    with fake_reviews(lambda token: False) as reviews:
        reviews.keys = Signer().jwks
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig(reviews.access.server, {})))
        arguments = ("--kubeconfig", "kubeconfig", "--without-watch")
        with gate_serve_over_tls(folder, config, authority.server(EKF), *arguments) as served:
            path = f"{gate_prefix(DEFAULT_GATE)}/"
            yield Verifier(
                pid=served.child.pid, port=served.port, authority_pem=authority.pem, path=path
            )
        if reviews.asked:
            raise RuntimeError(f"the API server was asked about {len(reviews.asked)} tokens")


def _measure(
    folder: Path,
    name: str,
    started: Callable[[Path], AbstractContextManager[Verifier]],
    kind: str,
    count: int,
    make: Make,
) -> None:
    numbers = itertools.count()

    def send(to: Verifier, some: int) -> dict[str, Any]:
        tokens = folder / "tokens"
        tokens.write_text("".join(f"{make(next(numbers))}\n" for _ in range(some)))
        target = Target(
            port=to.port, authority_file=folder / "trusted.crt", name=EKF, path=to.path,
            header_file=folder / "bearer", tokens=tokens, method="GET",
        )  # fmt: skip
        return fire(build(), target, connections=CONNECTIONS, seconds=0, once=True, status=401)

    with started(folder) as verifier:
        (folder / "bearer").write_text("Authorization: Bearer {token}\n")
        (folder / "trusted.crt").write_text(verifier.authority_pem)
        send(verifier, count // 10)
        before = resident_bytes(verifier.pid)
        figures = send(verifier, count)
        grown = (resident_bytes(verifier.pid) - before) / 2**20
        figure(
            f"{name}: {count:,} {kind} tokens",
            f"{figures['per_second']:,.0f} /s, 99th percentile {figures['p99_us'] / 1000:.1f} ms; "
            f"{grown:+.0f} MiB",
            bar="bounded",
        )


def _junk(number: int) -> str:
    return f"e30.{number}.x"


def _forged(number: int) -> str:
    now = int(time.time())
    bound = {"namespace": "team", "serviceaccount": {"name": "bot", "uid": "sa-1"},
             "secret": {"name": "bot-daypass-x", "uid": "secret-1"}}  # fmt: skip
    claims = {"iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:team:bot",
              "iat": now, "nbf": now, "exp": now + 7000, "jti": f"j-{number}",
              "kubernetes.io": bound}  # fmt: skip
    parts = (json.dumps({"alg": "RS256", "kid": "key"}).encode(), json.dumps(claims).encode())
    encoded = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*parts, os.urandom(256)))
    return b".".join(encoded).decode()
