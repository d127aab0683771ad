"""What the gate costs beside the same Envoy without a check, and how soon it obeys a deletion.

Rates are at saturation, where Envoy, the load generator and what is guarded share the machine. The
CPU time of Envoy alone for a request stands beside each: it is the same whatever else runs here.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.loads import Target, build, cpu_seconds, fire, stub
from bench.report import figure
from daypass.config import Address
from daypass.render.envoy.settings import Protected
from daypass.render.envoy.upstream import PROTECTED
from support.authority import Authority
from support.controlplane import ControlPlane
from support.doors import EKF
from support.gates import RunningGate, running_gate
from support.publishing import closing_in, published
from support.raw import Conversation, connect
from support.tokens import AUDIENCE, ISSUER, Signer
from support.up import HOST, running_up, up_config

LONGEST_SECONDS = 7200
TOKENS = 2000
UIDS = [str(uuid4()) for _ in range(10)]
"""Of the Secrets that the tokens are bound to."""
IDENTITIES = 20_000


def run(*, quick: bool) -> None:
    """The gate against no check, many identities against ten, and a deletion."""
    rounds = 3 if quick else 18
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        _cost(folder, rounds)
        with ControlPlane.start(folder / "control-plane") as plane:
            revocation(folder, plane, 10 if quick else 50)


def _cost(folder: Path, rounds: int) -> None:
    signer, authority = Signer("bench"), Authority()
    pair = authority.server("127.0.0.1")
    tokens = [_token(signer, number) for number in range(TOKENS)]
    for name, text in (("stub.crt", pair.certificate_pem), ("stub.key", pair.key_pem),
                       ("ca.crt", authority.pem), ("answer", "x" * 200),
                       ("bearer", "Authorization: Bearer {token}\n"),
                       ("tokens", "\n".join(tokens))):  # fmt: skip
        (folder / name).write_text(text)
    sizes = {"plain": 0, "few": 0, "many": IDENTITIES - len(UIDS)}
    load = build()
    with stub(load, folder / "stub.crt", folder / "stub.key", folder / "answer") as port:
        protected = Protected(
            address=Address(host="127.0.0.1", port=port),
            authority_file=str(folder / "ca.crt"),
        )

        @contextmanager
        def gate(name: str) -> Iterator[RunningGate]:
            place = folder / name
            place.mkdir()
            more = (str(uuid4()) for _ in range(sizes[name]))
            with running_gate(
                place, signer.jwks, longest_lifetime_seconds=LONGEST_SECONDS,
                published=published({*UIDS, *more}, closes_unix=closing_in(86_400)),
                protected=protected, change=_without_check if name == "plain" else _unchanged,
            ) as running:  # fmt: skip
                (place / "gate.crt").write_text(running.authority.pem)
                yield running

        with gate("plain") as plain, gate("few") as few, gate("many") as many:
            gates = {"plain": plain, "few": few, "many": many}
            costs: dict[str, list[float]] = {name: [] for name in gates}
            rates: dict[str, list[float]] = {name: [] for name in gates}

            def measure(name: str, *, once: bool = False) -> tuple[float, float]:
                target = Target(
                    port=gates[name].port, authority_file=folder / name / "gate.crt", name=EKF,
                    path="/pipeline", header_file=folder / "bearer", tokens=folder / "tokens",
                    method="GET",
                )  # fmt: skip
                before = cpu_seconds(gates[name].envoy.pid)
                figures = fire(load, target, connections=8, seconds=1.0, once=once)
                spent = cpu_seconds(gates[name].envoy.pid) - before
                return float(figures["per_second"]), spent / figures["requests"] * 1e6

            for name in gates:
                measure(name, once=True)  # every token is verified once, and then remembered
            order = tuple(gates)
            for index in range(rounds):
                turn = index % len(gates)  # so that none always finds the machine rested
                for name in (*order[turn:], *order[:turn]):
                    rate, cost = measure(name)
                    rates[name].append(rate)
                    costs[name].append(cost)
    for title, one, other, bar, most in (
        (f"gate | no check, {TOKENS} tokens, 8 connections", "few", "plain", ">= 0.75", ""),
        (f"{IDENTITIES:,} identities | {len(UIDS)}", "many", "few", "", "<= 1.05"),
    ):
        _tell(title, "/s", rates[one], rates[other], bar)
        _tell("the same, by CPU time of Envoy a request", "µs", costs[one], costs[other], most)


def _tell(title: str, unit: str, one: list[float], other: list[float], bar: str) -> None:
    ratios = sorted(a / b for a, b in zip(one, other, strict=True))
    a, b = statistics.median(one), statistics.median(other)
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    figure(title, f"{a:,.0f}, {b:,.0f} {unit}", ratio=ratio, bar=bar)


def _unchanged(files: dict[str, Any]) -> None:
    pass


def _without_check(files: dict[str, Any]) -> None:
    """The same Envoy as a plain reverse proxy."""
    (gate,) = (each for each in files["listeners.json"]["resources"] if each["name"] == "gate")
    for chain in gate["filter_chains"]:
        manager = chain["filters"][-1]["typed_config"]
        manager["http_filters"] = manager["http_filters"][-1:]
    (routes,) = files["routes-gate.json"]["resources"]
    passing = {"match": {"prefix": "/"}, "route": {"cluster": PROTECTED}}
    routes["virtual_hosts"][0]["routes"] = [passing]


def _token(signer: Signer, number: int) -> str:
    now = int(time.time())
    bound = {"namespace": "team", "serviceaccount": {"name": "bot", "uid": f"sa-{number % 50}"},
             "secret": {"name": "bot-daypass-x", "uid": UIDS[number % len(UIDS)]}}  # fmt: skip
    return signer.sign({"iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:team:bot",
                        "iat": now, "nbf": now, "exp": now + 7000, "jti": f"j-{number}",
                        "kubernetes.io": bound})  # fmt: skip


def _request(token: str, host: str) -> bytes:
    lines = ["GET /pipeline HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}", "", ""]
    return "\r\n".join(lines).encode()


def revocation(folder: Path, plane: ControlPlane, rounds: int, check: str = "jwt") -> None:
    """How soon a deletion is obeyed by `daypass up` with this check."""
    place = folder / f"up-{check}"
    place.mkdir()
    reader = plane.make_identity()
    credentials = place / "reader.json"
    credentials.touch(0o600)
    credentials.write_text(json.dumps(
        {"type": "daypass", "version": 1, "door": "https://localhost/kubernetes",
         "token": reader.token.reveal(), "audience": AUDIENCE}
    ))  # fmt: skip
    config = up_config(
        plane,
        local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external}",
        gate=f"{{audience: {AUDIENCE}, engine: envoy, hosts: [localhost], check: {check}}}",
    )
    arguments = ["--credentials", str(credentials), "--kubeconfig", str(plane.kubeconfig)]
    took: list[float] = []
    with running_up(place, config, arguments=arguments) as up:
        port = int(up.ready["listen"]["gate"].rpartition(":")[2])
        for _ in range(rounds):
            identity = plane.make_identity()
            token = plane.make_token(identity, audiences=[AUDIENCE])
            pem = up.authority_file.read_text()
            with connect(port, authority_pem=pem, name=HOST) as connection:
                conversation = Conversation(connection)

                def code(request: bytes, on: Conversation) -> int:
                    on.send(request)
                    return on.answer().code

                request = _request(token.reveal(), HOST)
                assert code(request, conversation) == 200
                began = time.perf_counter()
                plane.admin.delete(identity.secret_path)
                while (seen := code(request, conversation)) == 200:
                    assert time.perf_counter() - began < 30, "it is never refused"
                took.append(time.perf_counter() - began)
                assert seen == 401
    took.sort()
    median, worst = statistics.median(took), took[int(0.99 * len(took))]
    title = f"{check}: deletion to refusal"
    figure(f"{title}, median", f"{median:.3f} s", bar="<= 1 s")
    figure(f"{title}, 99th percentile", f"{worst:.3f} s", bar="<= 3 s")
