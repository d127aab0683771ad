"""How soon a deletion is a refusal on an open connection: a real API server, gate watch, Istio."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from support.identities import Identity
from support.istio_gates import AUDIENCE, GUARDED, IstioGate, running_istio_gate
from support.raw import Conversation
from support.watching import identity_namespace, install, watching


def run(*, quick: bool) -> None:
    """Delete Secrets one by one, each with a connection of its own."""
    rounds = 10 if quick else 100
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        (folder / "gate").mkdir()
        with running_istio_gate(folder / "gate") as gate:
            install(gate.plane, gate.config)
            namespace = identity_namespace(gate.plane)
            with watching(folder / "watch", gate.plane, gate.config) as watch:
                watch.wait_leading()
                took = sorted(
                    _refused_after(gate, gate.plane.make_identity(namespace, f"bot-{number}"))
                    for number in range(rounds)
                )
    median, p99 = statistics.median(took), took[min(len(took) - 1, int(0.99 * len(took)))]
    for what, seconds, bar in (("median", median, 1), ("p99", p99, 3)):
        title = f"deleted -> refused on Istio, open connection, {what}"
        print(f"{title:<56} {seconds:>9.3f} s  bar <= {bar}", flush=True)


def _refused_after(gate: IstioGate, identity: Identity) -> float:
    token = gate.plane.make_token(identity, audiences=[AUDIENCE])
    lines = ["GET / HTTP/1.1", f"Host: {GUARDED}", f"Authorization: Bearer {token.reveal()}"]
    request = "\r\n".join([*lines, "", ""]).encode()
    with gate.conversation() as conversation:
        _until(conversation, request, 200)
        began = time.perf_counter()
        gate.plane.admin.delete(identity.secret_path)
        return _until(conversation, request, 401) - began


def _until(conversation: Conversation, request: bytes, code: int) -> float:
    ends = time.perf_counter() + 60
    while True:
        conversation.send(request)
        if conversation.answer().code == code:
            return time.perf_counter()
        if time.perf_counter() > ends:
            raise RuntimeError(f"no {code} within a minute")
