"""How soon a deletion is a refusal on an open connection: a real API server, gate watch, Istio."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from bench.report import figure
from daypass.gate.revocation.revocation_list import ObjectKind
from daypass.gate.revocation.state_store import RevocationState, StateStore
from support.deadline import eventually
from support.identities import Identity
from support.istio_gates import GUARDED, IstioGate, running_istio_gate
from support.raw import Conversation
from support.tokens import AUDIENCE
from support.watching import HOME, identity_namespace, install, watching

LENGTHS = (0, 10_000, 19_000)
"""Entries that are on the list already; beyond 20,000 it names whole namespaces instead."""


def run(*, quick: bool) -> None:
    """Delete Secrets one by one, each with a connection of its own."""
    rounds = 10 if quick else 100
    for length in LENGTHS[: 2 if quick else 3]:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            took = sorted(_times(Path(scratch), length, rounds))
        median, p99 = statistics.median(took), took[min(len(took) - 1, int(0.99 * len(took)))]
        for what, seconds, bar in (("median", median, 1), ("99th percentile", p99, 3)):
            figure(f"{length:,} on the list, {what}", f"{seconds:.3f} s", bar=f"<= {bar} s")


def _times(folder: Path, length: int, rounds: int) -> Iterator[float]:
    (folder / "gate").mkdir()
    with running_istio_gate(folder / "gate") as gate:
        install(gate.plane, gate.config)
        namespace = identity_namespace(gate.plane)
        before = _record(gate, namespace, length)
        with watching(folder / "watch", gate.plane, gate.config) as watch:
            watch.wait_leading()
            eventually("all is in force", lambda: _is_in_force(gate, before), seconds=120)
            for number in range(rounds):
                yield _refused_after(gate, gate.plane.make_identity(namespace, f"bot-{number}"))


def _record(gate: IstioGate, namespace: str, length: int) -> set[str]:
    """Let as many be recorded as gone for a while, as a watch before has left them; their UIDs."""
    now = time.time()
    gone = {
        str(uuid.uuid4()): [ObjectKind.SECRET, namespace, int(now) - 1800] for _ in range(length)
    }
    refused = {"format": 1, "gone": gone, "namespaces": {}, "fresh": {}, "settledAt": now}
    StateStore(gate.cluster, HOME).write(RevocationState(), refused, {})
    return set(gone)


def _is_in_force(gate: IstioGate, uids: set[str]) -> bool:
    dump = gate.gateway.admin("/config_dump?resource=ecds_filters").decode()
    return uids <= set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", dump))


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
