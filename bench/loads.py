"""The load generator of `bench/load`, built once, and what it measures."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "load"


def build() -> Path:
    """The load generator, and what it measures against, built where other caches are."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = base / "daypass" / "bench" / "load"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-trimpath", "-o", str(program), "."], cwd=FOLDER, check=True)
    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A TLS server and the request that it gets, again and again.

    `tokens`: a file with a token a line, for {token} in the header or the body, in turn. `numbers`:
    how many numbers stand for {number} in the path, in the same turn.
    """

    port: int
    authority_file: Path
    name: str
    path: str
    header_file: Path
    body_file: Path | None = None
    tokens: Path | None = None
    method: str = "POST"
    numbers: int = 1


def fire(
    program: Path,
    target: Target,
    *,
    connections: int,
    seconds: float,
    once: bool = False,
    tolerated: float = 0.0,
    status: int = 201,
) -> dict[str, Any]:
    """Keep connections busy for some seconds; raises RuntimeError where an answer is no `status`.

    `once`: until each token was sent, however long that takes. `tolerated`: that share of answers
    may be others.
    """
    command = [
        str(program), "fire", "-url", f"https://127.0.0.1:{target.port}{target.path}",
        "-ca", str(target.authority_file), "-name", target.name,
        "-header-file", str(target.header_file), "-method", target.method,
        "-connections", str(connections), "-seconds", str(seconds), "-status", str(status),
        "-numbers", str(target.numbers),
    ]  # fmt: skip
    if target.body_file is not None:
        command += ["-body-file", str(target.body_file)]
    if target.tokens is not None:
        command += ["-tokens", str(target.tokens)]
    if once:
        command.append("-once")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["errors"] > tolerated * figures["requests"]:
        raise RuntimeError(f"{figures['errors']} answers were {figures['error_status']}")
    return figures


@contextmanager
def stub(program: Path, certificate: Path, key: Path, body_file: Path) -> Iterator[int]:
    """A server that answers everything at once; its port."""
    command = [
        str(program), "stub", "-certificate", str(certificate), "-key", str(key),
        "-body-file", str(body_file),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.kill()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of all its threads, to the nanosecond: /proc/PID/stat counts in
    hundredths of a second.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
