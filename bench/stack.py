"""The stack on one machine: how fast it comes and goes, what it takes, how many tokens it makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.loads import Target, build, fire
from bench.report import figure, spread
from daypass.local.api_backend import SERVER_NAME
from daypass.local.stack import LocalStack

CODE = """
import time; started = time.perf_counter()
import daypass.testing
with daypass.testing.stack() as stack:
    up = time.perf_counter() - started
    stack.make_identity().credentials().token()
    token = time.perf_counter() - started
    ending = time.perf_counter()
print(up, token, time.perf_counter() - ending)
"""
IDLE_SECONDS = 10.0


def run(*, quick: bool) -> None:
    """Start-up in fresh processes, then rate, memory and idle CPU of one stack."""
    rounds = 3 if quick else 11
    times = [_once() for _ in range(rounds)]
    for name, values, bar in zip(
        ("stack up, imports included", "first token", "stack down"),
        zip(*times, strict=True),
        ("<= 1.5 s", "", "<= 0.5 s"),
        strict=True,
    ):
        figure(name, spread(values, 2, "s"), bar=bar)
    with tempfile.TemporaryDirectory(prefix="daypass-") as folder:
        _steady(Path(folder), quick=quick)


def _once() -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    )  # fmt: skip
    up, token, down = map(float, done.stdout.split())
    return up, token, down


def _steady(folder: Path, *, quick: bool) -> None:
    stack_folder = folder / "stack"
    stack_folder.mkdir(mode=0o700)
    with LocalStack(stack_folder) as stack:
        identity = stack.make_identity()
        identity.credentials().token()
        pids = (os.getpid(), stack.supervisor.envoy.process.pid)
        before = sum(map(_cpu_seconds, pids))
        time.sleep(2.0 if quick else IDLE_SECONDS)
        idle = sum(map(_cpu_seconds, pids)) - before
        headers, body = folder / "headers", folder / "body"
        headers.touch(0o600)
        headers.write_text(
            f"Authorization: Bearer {identity.token.reveal()}\nContent-Type: application/json\n"
        )
        body.write_text(json.dumps({"spec": {"audiences": ["gate"]}}))
        target = Target(
            port=stack.server.port, authority_file=stack.authority_file, name=SERVER_NAME,
            path=f"/api/v1/namespaces/{identity.namespace}/serviceaccounts/{identity.name}/token",
            header_file=headers, body_file=body,
        )  # fmt: skip
        figures = fire(build(), target, connections=4, seconds=1.0 if quick else 5.0)
        memory = sum(map(_resident_mib, pids))
    rate = figures["per_second"]
    figure("embedded TokenRequests, 4 connections", f"{rate:,.0f} /s", bar=">= 300 /s")
    figure("memory, Python and Envoy, after that", f"{memory:.0f} MiB", bar="<= 250 MiB")
    figure(f"CPU time in {IDLE_SECONDS:g} s without requests", f"{idle:.2f} s", bar="about 0")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024
