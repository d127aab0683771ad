"""The modules that `daypass token` imports, which determine its start-up time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from support.fake_door import short_lived_token

SCRIPT = """
import sys
before = set(sys.modules)
from daypass.cli import main
code = main({arguments!r})
sys.stderr.write(" ".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""
OURS = {
    "daypass",
    "daypass._core",
    "daypass._core.clock",
    "daypass._core.errors",
    "daypass._core.files",
    "daypass.cli",
    "daypass.cli.fast_path",
    "daypass.cli.token",
    "daypass.client",
    "daypass.client.config",
    "daypass.client.errors",
    "daypass.client.shared_cache",
    "daypass.client.token",
}
PYTHONS = {"__future__", "_blake2", "errno"}


def run(*arguments: str) -> tuple[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=["token", *arguments])],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("output", ["text", "json", "header"])
def test_a_cached_token_imports_only_these_modules(
    open_door: Callable[..., Any], output: str
) -> None:
    door, _ = open_door()
    run("--output", output)
    printed, loaded = run("--output", output)
    assert short_lived_token() in printed
    assert loaded == OURS | PYTHONS
    assert len(door.requests) == 1


def test_a_new_token_imports_no_argparse_http_client_or_asyncio(
    open_door: Callable[..., Any],
) -> None:
    open_door()
    _, loaded = run("--lifetime", "1h", "--audience", "gate.example.com")
    unwanted = {"argparse", "asyncio", "dataclasses", "email", "encodings.idna", "hashlib"}
    unwanted |= {"http", "http.client", "logging", "random", "tempfile", "typing", "urllib"}
    assert "ssl" in loaded
    assert not loaded & unwanted
