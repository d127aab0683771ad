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
    """The load generator, built where Go keeps what it builds."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = base / "daypass" / "bench" / "load"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-trimpath", "-o", str(program), "."], cwd=FOLDER, check=True)
    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A TLS server and the one request that it gets, again and again."""

    port: int
    authority_file: Path
    name: str
    path: str
    header_file: Path
    body_file: Path


def fire(program: Path, target: Target, *, connections: int, seconds: float) -> dict[str, Any]:
    """Keep connections busy for some seconds; raises RuntimeError where an answer is not 201."""
    command = [
        str(program), "fire", "-url", f"https://127.0.0.1:{target.port}{target.path}",
        "-ca", str(target.authority_file), "-name", target.name,
        "-header-file", str(target.header_file), "-body-file", str(target.body_file),
        "-connections", str(connections), "-seconds", str(seconds),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["errors"]:
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
