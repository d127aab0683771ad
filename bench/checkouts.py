"""This checkout against another one, in turns: start-up, the gate and the authorizer.

    python -m bench.checkouts PATH [--quick]

`PATH` is a checkout with its `.venv`. Both run by their command lines alone, so that versions with
other names inside can be compared. Each line has the medians of this one and of the other, and the
median ratio with the interval that holds it in 19 of 20 runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from bench.loads import Target, build, cpu_seconds, fire  # noqa: E402
from bench.review import Bench, Side, gate_side, our_authorizer, protected_service  # noqa: E402
from bench.rounds import compare  # noqa: E402
from support.controlplane import ControlPlane  # noqa: E402
from support.tokens import AUDIENCE  # noqa: E402
from support.up import HOST, Up, up_config  # noqa: E402

BAR = "<= 1.03, or the interval holds 1"
TOKENS, UNSEEN = 2_000, 400


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="the other checkout")
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 25")
    args = parser.parse_args()
    pythons = {"this": sys.executable, "other": str(args.path.resolve() / ".venv/bin/python")}
    rounds = 5 if args.quick else 25
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "cp") as plane:
            _start_up_and_gate(folder, plane, pythons, rounds)
            _authorizer(Bench(folder, plane), pythons, rounds)


def _compare(name: str, rounds: int, measure: Callable[[str], float], unit: str = "µs") -> None:
    compare(
        name, lambda: measure("this"), lambda: measure("other"),
        rounds=rounds, unit=unit, bar=BAR, certain=True,
    )  # fmt: skip


def _start_up_and_gate(
    folder: Path, plane: ControlPlane, pythons: Mapping[str, str], rounds: int
) -> None:
    identity = plane.make_identity()
    reader = folder / "reader.json"
    config = up_config(
        plane,
        local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external}",
        gate=f"{{audience: {AUDIENCE}, engine: envoy, hosts: [{HOST}]}}",
    )
    with ExitStack() as stack:
        ups: dict[str, Up] = {}
        for name, python in pythons.items():
            (folder / name).mkdir()
            arguments = ("--kubeconfig", str(plane.kubeconfig))
            ups[name] = stack.enter_context(Up(folder / name, config, {}, arguments, python=python))
        door = ups["this"]
        reader.touch(0o600)
        reader.write_text(json.dumps({
            "type": "daypass", "version": 1, "door": door.door, "audience": AUDIENCE,
            "certificateAuthority": door.authority_file.read_text(),
            "token": identity.token.reveal(),
        }))  # fmt: skip

        def command(*arguments: str) -> Callable[[str], float]:
            def measure(name: str) -> float:
                environment = {"DAYPASS_CREDENTIALS": str(reader), "KUBECONFIG": "/nowhere",
                               "XDG_CACHE_HOME": str(folder / name / "cache")}  # fmt: skip
                return _cpu_milliseconds([pythons[name], *arguments], environment)

            return measure

        _compare("import daypass, CPU", rounds, command("-c", "import daypass"), "ms")
        for title, line in (
            ("token, cached", "token"),
            ("exec-credential, cached", "exec-credential"),
            ("token, cold", "token --no-cache"),
        ):
            _compare(f"{title}, CPU", rounds, command("-m", "daypass", *line.split()), "ms")

        load = build()
        header, tokens = folder / "bearer", folder / "gate-tokens"
        header.write_text("Authorization: Bearer {token}\n")
        tokens.touch(0o600)
        made = [plane.make_token(identity, audiences=[AUDIENCE]).reveal() for _ in range(50)]
        tokens.write_text("\n".join(made))

        def gate(name: str) -> float:
            up = ups[name]
            (envoy,) = up.envoy_pids()
            target = Target(
                port=int(up.ready["listen"]["gate"].rpartition(":")[2]), name=HOST, path="/x",
                authority_file=up.authority_file, header_file=header, tokens=tokens, method="GET",
            )  # fmt: skip
            before = cpu_seconds(envoy)
            figures = fire(load, target, connections=8, seconds=1.0, status=200)
            return (cpu_seconds(envoy) - before) / float(figures["requests"]) * 1e6

        _compare("gate (jwt), CPU of Envoy a request", rounds, gate)


def _authorizer(bench: Bench, pythons: Mapping[str, str], rounds: int) -> None:
    with ExitStack() as stack:
        protected = stack.enter_context(protected_service(bench))
        sides: dict[str, Side] = {}
        for name, python in pythons.items():
            started = our_authorizer(bench, f"{name}-authorizer", python=python)
            sides[name] = stack.enter_context(gate_side(bench, f"{name}-side", protected, started))
        tokens = bench.tokens(TOKENS)
        for each in sides.values():
            each.fire(bench.load, tokens, seconds=0, once=True)

        def cost(name: str, tokens: Path, *, seconds: float, once: bool) -> float:
            pid = sides[name].authorizer
            assert pid is not None
            before = cpu_seconds(pid)
            figures = sides[name].fire(bench.load, tokens, seconds=seconds, once=once)
            return (cpu_seconds(pid) - before) / float(figures["requests"]) * 1e6

        _compare(
            "authorizer, cached tokens, CPU a request", rounds,
            lambda name: cost(name, tokens, seconds=1.0, once=False),
        )  # fmt: skip
        _compare(
            "authorizer, unseen tokens, CPU a request", rounds,
            lambda name: cost(name, bench.tokens(UNSEEN), seconds=0, once=True),
        )  # fmt: skip


def _cpu_milliseconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    base = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, env={**base, **environment}, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


if __name__ == "__main__":
    main()
