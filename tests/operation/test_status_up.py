"""`daypass status` of what `daypass up` runs: again and again, and once it has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.up import Up

CONFIG = """\
version: 1
domains: {here: {host: localhost, front: envoy}}
gates: {default: {audience: gate.example.com, engine: envoy, hosts: [localhost]}}
local: {door: "127.0.0.1:0", gate: "127.0.0.1:0"}
"""
DAYPASS = [sys.executable, "-m", "daypass", "status"]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path, CONFIG) as running:
        yield running


def status(up: Up, *words: str, code: int = 0) -> dict[str, Any]:
    state = {**os.environ, "XDG_STATE_HOME": str(up.folder / "state"), "KUBECONFIG": "/nowhere"}
    done = subprocess.run(
        [*DAYPASS, "-o", "json", *words], cwd=up.folder, env=state, capture_output=True, check=False
    )
    assert done.returncode == code, done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_runs_has_identities_and_what_has_ended_is_found(up: Up) -> None:
    first = status(up)
    assert (first["findings"], first["identities"]["total"]) == ([], 0)
    up.end()
    (finding,) = status(up, code=3)["findings"]
    assert (finding["check"], finding["hint"]) == ("up", "daypass up")
