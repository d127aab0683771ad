"""A checkout against another one, in turns: commands, the library, the gate and the authorizer.

    python -m bench.checkouts OTHER [--single-gate] [--instructions] [--rounds N]

OTHER is a checkout with its `.venv`. Both run by their command lines alone, so that versions with
other names inside can be compared. `--single-gate`: OTHER is from before `gates`: its config has
the section `gate`, with `remember` in place of `cacheTtl`. Each line has the medians of both, and
the median ratio with the interval that holds it in 19 of 20 runs.

`--instructions` only counts those of Envoy for a request, with valgrind's callgrind: nearly the
same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from bench.loads import Target, cpu_seconds, fire  # noqa: E402
from bench.review import Bench, Side, gate_side, our_authorizer, protected_service  # noqa: E402
from bench.rounds import compare  # noqa: E402
from daypass._core.files import write_private  # noqa: E402
from daypass.local.envoy import find_envoy  # noqa: E402
from daypass.render.envoy.settings import Protected  # noqa: E402
from support.children import children_of  # noqa: E402
from support.controlplane import ControlPlane  # noqa: E402
from support.deadline import eventually  # noqa: E402
from support.doors import EKF  # noqa: E402
from support.tokens import AUDIENCE  # noqa: E402
from support.up import HOST, Up, up_config  # noqa: E402

AT_MOST, AT_LEAST = (f"{limit}, or the interval holds 1" for limit in ("<= 1.03", ">= 0.97"))
CHECKS = ("jwt", "review")
TOKENS, UNSEEN, COUNTED = 2_000, 1_000, 100
COUNTER = "callgrind"
PATIENT = (
    "-c",
    "from daypass.local.envoy import Envoy\n"
    "Envoy.wait_ready.__defaults__ = (600.0,)\n"
    "from daypass.cli import main\n"
    "raise SystemExit(main())",
)
"""Arguments of Python for a `daypass` whose Envoy may start slowly."""
WARM = """
import timeit, daypass
credentials = daypass.Credentials.load()
credentials.token()
print(min(timeit.repeat(credentials.token, number=100_000, repeat=3)) * 10)
"""
"""Prints the microseconds of a call that has a fresh token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """One of the two. `single_gate`: its config has the section `gate`."""

    name: str
    python: str
    single_gate: bool = False

    def gate(self, host: str, check: str) -> dict[str, str]:
        """The section of its config with a gate for this host, by its key."""
        keys = f"audience: {AUDIENCE}, engine: envoy, hosts: [{host}], check: {check}"
        if self.single_gate:
            return {"gate": f"{{{keys}, remember: 1h}}"}
        return {"gates": f"{{default: {{{keys}, cacheTtl: 1h}}}}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The gate of a running `daypass up`; `envoy` is the process that serves it."""

    up: Up
    envoy: int
    load: Path

    def fire(self, tokens: Path, *, connections: int = 8, seconds: float = 0) -> dict[str, Any]:
        """What the generator gets through in so many seconds; 0: with each token once."""
        header = tokens.parent / "bearer"
        header.write_text("Authorization: Bearer {token}\n")
        target = Target(
            port=int(self.up.ready["listen"]["gate"].rpartition(":")[2]), name=HOST, path="/x",
            authority_file=self.up.authority_file, header_file=header, tokens=tokens, method="GET",
        )  # fmt: skip
        return fire(
            self.load, target, connections=connections, seconds=seconds, once=not seconds,
            tolerated=0 if seconds else 0.05,
        )  # fmt: skip

    def cost(self, tokens: Path) -> float:
        """CPU time of Envoy and of `daypass up`, the authorizer, for a request, in µs."""
        pids = (self.envoy, self.up.process.pid)
        before = sum(map(cpu_seconds, pids))
        figures = self.fire(tokens, seconds=1.0)
        return (sum(map(cpu_seconds, pids)) - before) / float(figures["requests"]) * 1e6

    def counted(self, tokens: Path) -> float:
        """Instructions of Envoy for a request, in thousands."""
        known = set(self.up.folder.glob(f"{COUNTER}.*"))

        def control(*arguments: str) -> None:
            # It finds the process by files in there.
            environment = {**os.environ, "TMPDIR": str(self.up.runtime)}
            command = [f"{COUNTER}_control", *arguments, str(self.envoy)]
            subprocess.run(command, env=environment, capture_output=True, check=True)

        control("-i", "on")
        figures = self.fire(tokens, connections=1)
        control("-i", "off")
        control("-d")

        def total() -> int | None:
            for file in set(self.up.folder.glob(f"{COUNTER}.*")) - known:
                for line in file.read_text().splitlines():
                    if line.startswith("totals: "):  # the last line
                        return int(line.split()[1])
            return None

        return eventually("the instructions are written", total) / int(figures["requests"]) / 1000


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--single-gate", action="store_true", help="it is from before `gates`")
    parser.add_argument("--instructions", action="store_true", help="count those of Envoy alone")
    parser.add_argument("--rounds", type=int, default=25, help="of each figure (25)")
    args = parser.parse_args()
    python = str(args.other.resolve() / ".venv/bin/python")
    sides = [
        Checkout(name="this", python=sys.executable),
        Checkout(name="other", python=python, single_gate=args.single_gate),
    ]
    rounds = args.rounds
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "cp") as plane:
            bench = Bench(folder, plane)
            with protected_service(bench) as protected:
                if args.instructions:
                    _instructions(bench, protected, sides, rounds)
                    return
                _start_up(bench, sides, rounds)
                _administration(bench, sides, rounds)
                _gates(bench, protected, sides, rounds)
                _authorizer(bench, protected, sides, rounds)


def _compare(
    name: str, rounds: int, measure: Callable[[str], float], unit: str = "µs", bar: str = AT_MOST
) -> None:
    compare(
        name, lambda: measure("this"), lambda: measure("other"),
        rounds=rounds, unit=unit, bar=bar, certain=True,
    )  # fmt: skip


@contextmanager
def _running(
    bench: Bench, protected: Protected, side: Checkout, check: str, *, is_counted: bool = False
) -> Iterator[Gate]:
    """The gate of this checkout with this check, which knows the credential of `bench.identity`."""
    folder = bench.folder / f"{side.name}-{check}"
    folder.mkdir()
    environment = {"SSL_CERT_FILE": protected.authority_file}
    if is_counted:
        counted = folder / "envoy"
        command = (
            f"valgrind --tool={COUNTER} --instr-atstart=no --callgrind-out-file="
            f"{folder}/{COUNTER}.%p {find_envoy()}"
        )
        write_private(str(counted), f'#!/bin/sh\nexec nice {command} "$@"\n'.encode())
        counted.chmod(0o700)
        environment["DAYPASS_ENVOY"] = str(counted)
    config = up_config(
        bench.plane,
        local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external, "
        f"upstream: 'https://{protected.address}'}}",
        watch="{closeAfter: 24h}",
        policy=f"{{audiences: [{AUDIENCE}], longestLifetime: 2h}}",
        **side.gate(HOST, check),
    )
    arguments = ("--kubeconfig", str(bench.plane.kubeconfig))
    with Up(folder, config, environment, arguments, python=side.python, program=PATIENT) as up:
        children = children_of(up.process.pid).items()
        envoy, *_ = (pid for pid, name in children if name.startswith(("envoy", COUNTER)))
        gate = Gate(up=up, envoy=envoy, load=bench.load)

        def serves() -> bool:
            try:
                return bool(gate.fire(bench.tokens(1)))
            except RuntimeError:
                return False

        eventually("the gate knows the credential", serves)
        yield gate


def _gates(bench: Bench, protected: Protected, sides: Sequence[Checkout], rounds: int) -> None:
    for check in CHECKS:
        with ExitStack() as stack:
            gates = {
                side.name: stack.enter_context(_running(bench, protected, side, check))
                for side in sides
            }
            tokens = bench.tokens(TOKENS)
            for gate in gates.values():
                gate.fire(tokens)
            _compare(
                f"gate ({check}), cached tokens, CPU of Envoy and `daypass up` a request", rounds,
                lambda name, of=gates, tokens=tokens: of[name].cost(tokens),  # type: ignore[misc]
            )  # fmt: skip
            _compare(
                f"gate ({check}), unseen tokens", rounds,
                lambda name, of=gates: of[name].fire(bench.tokens(UNSEEN))["per_second"],  # type: ignore[misc]
                unit="/s", bar=AT_LEAST,
            )  # fmt: skip


def _instructions(
    bench: Bench, protected: Protected, sides: Sequence[Checkout], rounds: int
) -> None:
    cached = bench.tokens(COUNTED)
    for check in CHECKS:
        with ExitStack() as stack:
            gates = {
                side.name: stack.enter_context(
                    _running(bench, protected, side, check, is_counted=True)
                )
                for side in sides
            }
            for gate in gates.values():
                for _ in range(6):  # until each worker of Envoy has cached them
                    gate.fire(cached, connections=1)
            for kind, tokens in (("cached", lambda: cached), ("unseen", partial(bench.tokens, 50))):
                _compare(
                    f"gate ({check}), {kind} tokens, instructions of Envoy a request", rounds,
                    lambda name, of=gates, tokens=tokens: of[name].counted(tokens()),  # type: ignore[misc]
                    unit="thousand",
                )  # fmt: skip


def _start_up(bench: Bench, sides: Sequence[Checkout], rounds: int) -> None:
    plane, folder = bench.plane, bench.folder
    pythons = {side.name: side.python for side in sides}
    config = up_config(plane)
    door_folder, reader = folder / "door", folder / "reader.json"
    door_folder.mkdir()
    arguments = ("--kubeconfig", str(plane.kubeconfig))
    with Up(door_folder, config, {}, arguments, python=pythons["this"]) as door:
        reader.touch(0o600)
        reader.write_text(json.dumps({
            "type": "daypass", "version": 1, "door": door.door, "audience": AUDIENCE,
            "certificateAuthority": door.authority_file.read_text(),
            "token": bench.identity.token.reveal(),
        }))  # fmt: skip

        def command(*arguments: str) -> Callable[[str], float]:
            def measure(name: str) -> float:
                environment = {"DAYPASS_CREDENTIALS": str(reader), "KUBECONFIG": "/nowhere",
                               "XDG_CACHE_HOME": str(folder / f"{name}-cache")}  # fmt: skip
                return _cpu_milliseconds([pythons[name], *arguments], environment)

            return measure

        def warm(name: str) -> float:
            environment = {**_base(), "DAYPASS_CREDENTIALS": str(reader), "KUBECONFIG": "/nowhere"}
            found = subprocess.run(
                [pythons[name], "-c", WARM], env=environment, capture_output=True, check=True
            )
            return float(found.stdout)

        _compare("token() in a program, warm", rounds, warm)
        _compare("import daypass, CPU", rounds, command("-c", "import daypass"), "ms")
        for title, line in (
            ("token, cached", "token"),
            ("exec-credential, cached", "exec-credential"),
            ("token, cold", "token --no-cache"),
        ):
            _compare(f"{title}, CPU", rounds, command("-m", "daypass", *line.split()), "ms")


def _administration(bench: Bench, sides: Sequence[Checkout], rounds: int) -> None:
    """What renders a config, and applies one and then another."""
    pythons = {side.name: side.python for side in sides}
    environment = {"KUBECONFIG": str(bench.plane.kubeconfig), "HOME": str(bench.folder)}
    configs = [bench.folder / f"{replicas}.yaml" for replicas in (2, 3)]
    for file, replicas in zip(configs, (2, 3), strict=True):
        domains = "".join(
            f"  d{i}: {{host: d{i}.example.com, front: {front}, tls: {{secret: x}}}}\n"
            for i, front in enumerate(("ingress-nginx", "ingress") * 10)
        )
        file.write_text(f"version: 1\ndomains:\n{domains}door: {{replicas: {replicas}}}\n")

    def daypass(name: str, command: str, *arguments: str) -> float:
        line = [pythons[name], "-m", "daypass", command, *arguments]
        return _cpu_milliseconds(line, environment)

    def render(name: str) -> float:
        return daypass(name, "render", "--config", str(configs[0]))

    def apply(name: str) -> float:
        options = ("--no-commit", "--yes", "--no-wait", "--force-conflicts")
        return sum(daypass(name, "apply", *options, "--config", str(file)) for file in configs)

    _compare("render, 20 domains, CPU", rounds, render, "ms")
    _compare("apply of two configs in turns, CPU", rounds, apply, "ms")


def _authorizer(bench: Bench, protected: Protected, sides: Sequence[Checkout], rounds: int) -> None:
    with ExitStack() as stack:
        started: dict[str, Side] = {}
        for side in sides:
            ((key, gate),) = side.gate(EKF, "review").items()
            authorizer = our_authorizer(
                bench, f"{side.name}-authorizer", python=side.python, section=f"{key}: {gate}"
            )
            started[side.name] = stack.enter_context(
                gate_side(bench, f"{side.name}-side", protected, authorizer)
            )
        tokens = bench.tokens(TOKENS)
        for each in started.values():
            each.fire(bench.load, tokens, seconds=0, once=True)

        def cost(name: str, tokens: Path, *, seconds: float, once: bool) -> float:
            pid = started[name].authorizer
            assert pid is not None
            before = cpu_seconds(pid)
            figures = started[name].fire(bench.load, tokens, seconds=seconds, once=once)
            return (cpu_seconds(pid) - before) / float(figures["requests"]) * 1e6

        _compare(
            "authorizer, cached tokens, CPU a request", rounds,
            lambda name: cost(name, tokens, seconds=1.0, once=False),
        )  # fmt: skip
        _compare(
            "authorizer, unseen tokens, CPU a request", rounds,
            lambda name: cost(name, bench.tokens(UNSEEN), seconds=0, once=True),
        )  # fmt: skip


def _base() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _cpu_milliseconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env={**_base(), **environment}, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


if __name__ == "__main__":
    main()
