"""What many identities cost Istio's gateway: the memory of its Envoy, on a real istiod.

istiod gives each TLS server a filter chain of its own, and Envoy has a copy of each part of the set
for each chain.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from uuid import uuid4

from bench.report import figure
from support.deadline import eventually
from support.istio_gates import GUARDED, IstioEnv, running_istio_gate, served_at, signed
from support.istio_gateway import INGRESS

IDENTITIES = 20_000
SERVERS = (1, 10, 40)
BAR = "<= 40 MiB"


def run(*, quick: bool) -> None:
    """Measure Envoy with ten identities, then with many, for several numbers of TLS servers."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        running_istio_gate(Path(scratch)) as gate,
    ):
        for servers in SERVERS[:2] if quick else SERVERS:
            _measure(gate, servers)


def _measure(gate: IstioEnv, servers: int) -> None:
    others = [[f"h{number}.example.com"] for number in range(1, servers)]
    gate.apply(served_at("istio-system/public", INGRESS, [GUARDED], *others))
    eventually("it serves them", lambda: _chains(gate) == servers)
    few = _allocated_with(gate, 10)
    many = _allocated_with(gate, IDENTITIES)
    figure(
        f"Envoy with {IDENTITIES:,} identities | 10, TLS servers: {servers}",
        f"{many:.0f}, {few:.0f} MiB, {many - few:+.0f}",
        bar=BAR if servers == 1 else "",
    )


def _allocated_with(gate: IstioEnv, identities: int) -> float:
    """What a new Envoy has allocated once it knows so many identities, in MiB."""
    uids = [str(uuid4()) for _ in range(identities)]
    gate.know(gate.known(*uids))
    gate.gateway.restart_envoy()
    # Some of nearly every part.
    lines = [_line(gate, uid) for uid in uids[:300]]
    eventually("it knows them", lambda: all(gate.send(line).code == 200 for line in lines))
    return float(json.loads(gate.gateway.admin("/memory"))["allocated"]) / 2**20


def _line(gate: IstioEnv, uid: str) -> str:
    return signed(
        gate, gate.signer, **{"kubernetes.io": {"namespace": "team", "secret": {"uid": uid}}}
    )


def _chains(gate: IstioEnv) -> int:
    dump = json.loads(gate.gateway.admin("/config_dump?resource=dynamic_listeners"))
    (listener,) = dump["configs"]
    return len(listener["active_state"]["listener"]["filter_chains"])
