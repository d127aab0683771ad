"""A million distinct tokens that are none: how fast the gate refuses them, and what is left of it.

Memory is what Envoy, or the authorizer's process, has more afterwards than after the first tenth.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.loads import Target, build, fire
from bench.report import figure
from daypass.config.gate import Check
from support.crowds import resident_bytes
from support.doors import EKF
from support.fake_reviews import fake_reviews
from support.gates import running_gate
from support.serving import SOCKET, serving
from support.tokens import AUDIENCE, ISSUER, Signer

COUNT = 1_000_000
FORGED: dict[Check, int] = {"jwt": 100_000, "review": 20_000}
CONNECTIONS = 16

Make = Callable[[int], str]


def run(*, quick: bool) -> None:
    """Junk, and tokens of which nothing but the signature is wrong, for both checks."""
    share = 10 if quick else 1
    for check, forged in FORGED.items():
        for kind, count, make in (("junk", COUNT, _junk), ("forged", forged, _forged)):
            with tempfile.TemporaryDirectory(prefix="bench-") as scratch, ExitStack() as stack:
                _measure(Path(scratch), check, stack, kind, count // share, make)


def _measure(
    folder: Path, check: Check, stack: ExitStack, kind: str, count: int, make: Make
) -> None:
    pids = {}
    path = ""
    if check == "review":
        reviews = stack.enter_context(fake_reviews(lambda token: False))
        served = stack.enter_context(serving(folder, reviews))
        pids["authorizer"], path = served.child.pid, str(folder / SOCKET)
    gate = stack.enter_context(running_gate(
        folder, Signer().jwks, longest_lifetime_seconds=7200, check=check, authorizer_socket=path,
    ))  # fmt: skip
    pids["Envoy"] = gate.envoy.pid
    (folder / "bearer").write_text("Authorization: Bearer {token}\n")
    (folder / "authority.crt").write_text(gate.authority.pem)
    numbers = itertools.count()

    def send(some: int) -> dict[str, Any]:
        tokens = folder / "tokens"
        tokens.write_text("".join(f"{make(next(numbers))}\n" for _ in range(some)))
        target = Target(
            port=gate.port, authority_file=folder / "authority.crt", name=EKF, path="/",
            header_file=folder / "bearer", tokens=tokens, method="GET",
        )  # fmt: skip
        # Of forged tokens the API server is asked, and who waits too long for it hears 503.
        is_asked = check == "review" and kind == "forged"
        return fire(build(), target, connections=CONNECTIONS, seconds=0, once=True, status=401,
                    tolerated=1.0 if is_asked else 0.0)  # fmt: skip

    send(count // 10)
    before = {name: resident_bytes(pid) for name, pid in pids.items()}
    figures = send(count)
    grown = ", ".join(
        f"{name} {(resident_bytes(pid) - before[name]) / 2**20:+.0f} MiB"
        for name, pid in pids.items()
    )
    figure(
        f"{check}: {count:,} {kind} tokens",
        f"{figures['per_second']:,.0f} /s, 99th percentile {figures['p99_us'] / 1000:.1f} ms,"
        f" {figures['errors']} got no 401; {grown}",
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
