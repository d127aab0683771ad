"""What the statistics for Prometheus cost door and gate: the CPU time of Envoy for a request."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.gate import LONGEST, ROUNDS_A_START, TOKENS, UIDS, _tokens
from bench.loads import Target, build, cpu_seconds, fire, stub
from bench.report import figure
from bench.rounds import Comparison
from daypass.config import Address
from daypass.local.envoy import ADMIN_SOCKET, Envoy
from daypass.render.envoy.bootstrap import envoy_files
from daypass.render.envoy.door_routes import REFUSALS
from daypass.render.envoy.settings import DoorSettings, Protected
from daypass.render.envoy.statistics import metrics_listener, stats_config
from daypass.render.envoy.upstream import admin_cluster
from daypass.rules.credentials import LOCAL_PARTS
from support.authority import Authority
from support.doors import BODY, EKF, JWT, PATH, door_settings, running_envoy, upstream_at
from support.gates import running_gate
from support.publishing import closing_in, published
from support.scrapes import scrape
from support.tokens import AUDIENCE, Signer

SERVER = "kubernetes.default.svc"
ANYWHERE = Address(host="127.0.0.1", port=0)
_COUNTING = ("track_per_rule_stats", "rules_stat_prefix", REFUSALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """An Envoy with the statistics or without them, and what is asked of it."""

    envoy: Envoy
    target: Target
    status: int

    def cost(self, program: Path) -> float:
        """Microseconds of CPU time for a request."""
        before = cpu_seconds(self.envoy.pid)
        figures = fire(program, self.target, connections=8, seconds=1.0, status=self.status)
        return (cpu_seconds(self.envoy.pid) - before) / float(figures["requests"]) * 1e6


def run(*, quick: bool) -> None:
    """Door and gate, what passes and what is refused, with statistics against without."""
    program, rounds = build(), 3 if quick else 60
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder, authority, signer = Path(scratch), Authority(), Signer("bench")
        pair = authority.server("127.0.0.1", SERVER)
        for name, text in (
            ("stub.crt", pair.certificate_pem), ("stub.key", pair.key_pem), ("answer", "x" * 1500),
            ("ca.crt", authority.pem), ("body", BODY.decode()),
            ("jwt", f"Authorization: Bearer {JWT}{'a' * 800}\nContent-Type: application/json\n"),
            ("bearer", "Authorization: Bearer {token}\n"), ("tokens", _tokens(signer, AUDIENCE)),
            ("others", _tokens(signer, "elsewhere.example.com")),
        ):  # fmt: skip
            (folder / name).write_text(text)
        with stub(program, folder / "stub.crt", folder / "stub.key", folder / "answer") as port:

            @contextmanager
            def door(counts: bool) -> Iterator[Envoy]:
                with _door(_place(folder), port, authority.pem, counts=counts) as envoy:
                    yield envoy

            @contextmanager
            def gate(counts: bool) -> Iterator[Envoy]:
                protected = Protected(
                    address=Address(host="127.0.0.1", port=port),
                    authority_file=str(folder / "ca.crt"),
                )
                known = published(UIDS, closes_unix=closing_in(86_400), parts=LOCAL_PARTS)
                with running_gate(
                    _place(folder), signer.jwks, published=known, protected=protected,
                    change=_counting if counts else _without_series,
                ) as running:  # fmt: skip
                    (running.folder / "authority.crt").write_text(running.authority.pem)
                    yield running.envoy

            asked = {"header_file": folder / "bearer", "path": "/pipeline", "method": "GET"}
            of_door = {"header_file": folder / "jwt", "body_file": folder / "body"}
            for name, start, listener, status, request in (
                ("door, an exchange", door, "door", 201, {**of_door, "path": PATH}),
                ("door, a refusal", door, "door", 404, {**of_door, "path": "/elsewhere"}),
                (f"gate, {TOKENS} tokens", gate, "gate", 201,
                 {**asked, "tokens": folder / "tokens"}),
                ("gate, a refusal", gate, "gate", 403, {**asked, "tokens": folder / "others"}),
            ):  # fmt: skip
                _compare(name, start, listener, status, request, program, rounds)


def _compare(
    name: str, start: Callable[[bool], Any], listener: str, status: int, request: dict[str, Any],
    program: Path, rounds: int,
) -> None:  # fmt: skip
    costs: dict[bool, list[float]] = {True: [], False: []}
    scrapes: list[float] = []
    sides: dict[bool, Side] = {}

    def comparison() -> Comparison:
        return Comparison(
            name=f"{name}: with statistics | without", unit="µs", ours=tuple(costs[True]),
            theirs=tuple(costs[False]), bar="<= 1.05", certain=True,
        )  # fmt: skip

    with ExitStack() as stack:
        for index in range(rounds * LONGEST):
            if index >= rounds and comparison().is_narrow:
                break
            if index % ROUNDS_A_START == 0:
                stack.close()
                for counts in sides or (True, False):
                    envoy = stack.enter_context(start(counts))
                    target = Target(
                        port=envoy.port(listener), name=EKF,
                        authority_file=envoy.folder / "authority.crt", **request,
                    )  # fmt: skip
                    sides[counts] = Side(envoy=envoy, target=target, status=status)
                    sides[counts].cost(program)  # each token is verified once, then remembered
            for counts in (True, False) if index % 2 else (False, True):
                costs[counts].append(sides[counts].cost(program))
            scrapes.append(_scrape_milliseconds(sides[True].envoy))
    comparison().report()
    figure(f"{name}: a scrape", f"{sorted(scrapes)[len(scrapes) // 2]:.1f} ms of CPU time")


def _scrape_milliseconds(envoy: Envoy) -> float:
    before = cpu_seconds(envoy.pid)
    scrape(f"127.0.0.1:{envoy.port('metrics')}")
    return (cpu_seconds(envoy.pid) - before) * 1e3


def _place(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


@contextmanager
def _door(place: Path, port: int, authority_pem: str, *, counts: bool) -> Iterator[Envoy]:
    """A door without rate limits."""
    authority = Authority()
    (place / "authority.crt").write_text(authority.pem)
    settings: DoorSettings = replace(
        door_settings(place, authority, upstream_at(place, port, authority_pem, SERVER)),
        metrics=ANYWHERE if counts else None,
    )
    files = envoy_files(settings, str(place), admin_socket=ADMIN_SOCKET)
    if not counts:
        _without_series(files)
    with running_envoy(place, files) as envoy:
        yield envoy


def _counting(files: dict[str, Any]) -> None:
    """Serve the statistics, of a gate whose door does not."""
    bootstrap = files["envoy.json"]
    bootstrap["stats_config"] = stats_config()
    bootstrap["static_resources"]["clusters"].append(admin_cluster(ADMIN_SOCKET))
    bootstrap["static_resources"]["listeners"].append(metrics_listener(ANYWHERE))


def _without_series(value: Any) -> None:
    """Take out what counts by policies."""
    if isinstance(value, dict):
        for key in _COUNTING:
            value.pop(key, None)
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            _without_series(each)
