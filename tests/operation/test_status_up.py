"""`daypass status` of what `daypass up` runs: rates, again and again, and once it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.deadline import eventually
from support.ports import free_ports
from support.raw import exchange, get
from support.up import Up

CONFIG = """\
version: 1
domains: {{here: {{host: localhost, front: envoy}}}}
gate: {{audience: gate.example.com, engine: envoy, hosts: [localhost]}}
local: {{door: "127.0.0.1:0", gate: "127.0.0.1:0", metrics: "127.0.0.1:{port}"}}
"""
DAYPASS = [sys.executable, "-m", "daypass", "status"]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path, CONFIG.format(port=free_ports(1)[0])) as running:
        yield running


def status(up: Up, *words: str, code: int = 0) -> dict[str, Any]:
    state = {**os.environ, "XDG_STATE_HOME": str(up.folder / "state"), "KUBECONFIG": "/nowhere"}
    done = subprocess.run(
        [*DAYPASS, "-o", "json", *words], cwd=up.folder, env=state, capture_output=True, check=False
    )
    assert done.returncode == code, done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ask(up: Up) -> None:
    """A request that the gate refuses."""
    with up.connect("gate") as connection:
        exchange(connection, get(host="localhost"))


def test_what_runs_has_rates_and_identities_and_what_has_ended_is_found(up: Up) -> None:
    first = status(up)
    assert (first["findings"], first["identities"]["total"]) == ([], 0)
    assert [each["name"] for each in first["parts"]] == ["door", "gate default"]
    up.end()
    (finding,) = status(up, code=3)["findings"]
    assert (finding["check"], finding["hint"]) == ("up", "daypass up")


def test_watch_draws_again_until_ctrl_c(up: Up) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(up.folder / "state")}
    with subprocess.Popen(
        [*DAYPASS, "-w", "-o", "json"], cwd=up.folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["findings"] == []
        ask(up)

        def refusals() -> bool:
            assert process.stdout is not None
            parts = json.loads(process.stdout.readline())["parts"]
            return any(each["traffic"]["reasons"].get("no-token", 0) > 0 for each in parts)

        eventually("the refusal is shown", refusals)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""
