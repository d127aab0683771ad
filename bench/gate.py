"""What the gate costs beside the same Envoy without a check, with few identities and with many.

Rates are at saturation, where Envoy, the load generator and what is guarded share the machine. The
CPU time of Envoy alone for a request stands beside each: it is the same whatever else runs here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.loads import Target, build, cpu_seconds, fire, stub
from bench.rounds import Comparison
from daypass.config import Address
from daypass.render.envoy.settings import Protected
from daypass.render.envoy.upstream import PROTECTED
from daypass.rules.published import LOCAL_SHARDS
from support.authority import Authority
from support.doors import EKF
from support.gates import RunningGate, running_gate
from support.publishing import closing_in, published
from support.single_changes import RULES
from support.tokens import ACCOUNT_UID, AUDIENCE, ISSUER, Signer

TOKENS = 2000
UIDS = [str(uuid4()) for _ in range(10)]
"""Of the Secrets that the tokens are bound to."""
IDENTITIES = 20_000
GATES = ("plain", "few", "many")
"""None, and with few identities and with many."""
ROUNDS_A_START = 10
"""Where an Envoy has its memory makes it faster or slower by some percent, until it ends."""
LONGEST = 3
"""Times as many rounds, if the machine is not quiet enough to know the ratios well."""


def run(*, quick: bool) -> None:
    """The gate against no check, and with many identities against few."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        _cost(Path(scratch), 3 if quick else 60)


def _cost(folder: Path, rounds: int) -> None:
    signer, authority = Signer("bench"), Authority()
    pair = authority.server("127.0.0.1")
    for name, text in (("stub.crt", pair.certificate_pem), ("stub.key", pair.key_pem),
                       ("ca.crt", authority.pem), ("answer", "x" * 200),
                       ("bearer", "Authorization: Bearer {token}\n"),
                       ("tokens", _tokens(signer))):  # fmt: skip
        (folder / name).write_text(text)
    sizes = {"many": IDENTITIES - len(UIDS)}
    load = build()
    with stub(load, folder / "stub.crt", folder / "stub.key", folder / "answer") as port:
        protected = Protected(
            address=Address(host="127.0.0.1", port=port),
            authority_file=str(folder / "ca.crt"),
        )

        @contextmanager
        def gate(name: str) -> Iterator[RunningGate]:
            place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
            more = (str(uuid4()) for _ in range(sizes.get(name, 0)))
            with running_gate(
                place, signer.jwks,
                published=published(
                    {*UIDS, *more}, closes_unix=closing_in(86_400), shards=LOCAL_SHARDS
                ),
                protected=protected, rules=RULES,
                change=_without_check if name == "plain" else _unchanged,
            ) as running:  # fmt: skip
                (place / "gate.crt").write_text(running.authority.pem)
                yield running

        gates: dict[str, RunningGate] = {}
        costs: dict[str, list[float]] = {name: [] for name in GATES}
        rates: dict[str, list[float]] = {name: [] for name in costs}

        def measure(name: str, *, once: bool = False) -> tuple[float, float]:
            target = Target(
                port=gates[name].port, authority_file=gates[name].folder / "gate.crt", name=EKF,
                path="/pipeline", header_file=folder / "bearer", method="GET",
                tokens=folder / "tokens",
            )  # fmt: skip
            before = cpu_seconds(gates[name].envoy.pid)
            figures = fire(load, target, connections=8, seconds=1.0, once=once)
            spent = cpu_seconds(gates[name].envoy.pid) - before
            return float(figures["per_second"]), spent / figures["requests"] * 1e6

        with ExitStack() as stack:
            for index in range(rounds * LONGEST):
                compared = _comparisons(rates, costs)
                if index >= rounds and all(
                    each.is_narrow for each in compared if each.unit == "µs"
                ):
                    break
                if index % ROUNDS_A_START == 0:
                    stack.close()
                    gates |= {name: stack.enter_context(gate(name)) for name in GATES}
                    for name in gates:
                        measure(name, once=True)  # each token is verified once, then remembered
                turn = index % len(gates)  # so that none always finds the machine rested
                order = tuple(gates)
                for name in (*order[turn:], *order[:turn]):
                    rate, cost = measure(name)
                    rates[name].append(rate)
                    costs[name].append(cost)
    for comparison in _comparisons(rates, costs):
        comparison.report()


def _comparisons(
    rates: Mapping[str, list[float]], costs: Mapping[str, list[float]]
) -> Iterator[Comparison]:
    for title, one, other, bar, most in (
        (f"gate | no check, {TOKENS} tokens, 8 connections", "few", "plain", ">= 0.75", ""),
        (f"{IDENTITIES:,} identities | {len(UIDS)}", "many", "few", "", "<= 1.05"),
    ):  # fmt: skip
        for name, unit, found, wanted in (
            (title, "/s", rates, bar),
            ("the same, by CPU time of Envoy a request", "µs", costs, most),
        ):
            yield Comparison(
                name=name, unit=unit, ours=tuple(found[one]), theirs=tuple(found[other]),
                bar=wanted, certain=True,
            )  # fmt: skip


def _unchanged(files: dict[str, Any]) -> None:
    pass


def _without_check(files: dict[str, Any]) -> None:
    """The same Envoy as a plain reverse proxy."""
    listeners = files["envoy.json"]["static_resources"]["listeners"]
    (gate,) = (each for each in listeners if each["name"] == "gate")
    passing = {"match": {"prefix": "/"}, "route": {"cluster": PROTECTED}}
    for chain in gate["filter_chains"]:
        manager = chain["filters"][-1]["typed_config"]
        manager["http_filters"] = manager["http_filters"][-1:]
        manager["route_config"]["virtual_hosts"][0]["routes"] = [passing]


def _tokens(signer: Signer) -> str:
    return "\n".join(_token(signer, number) for number in range(TOKENS))


def _token(signer: Signer, number: int) -> str:
    now = int(time.time())
    bound = {"namespace": "team", "serviceaccount": {"name": "bot", "uid": ACCOUNT_UID},
             "secret": {"name": "bot-daypass-x", "uid": UIDS[number % len(UIDS)]}}  # fmt: skip
    return signer.sign({"iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:team:bot",
                        "iat": now, "nbf": now, "exp": now + 7000, "jti": f"j-{number}",
                        "kubernetes.io": bound})  # fmt: skip
