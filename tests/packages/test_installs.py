"""The wheel, installed as users install programs, on every Python of this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.bootstrap import ROOT, ensure_uv
from tools.pythons import MINORS, found

from agent.running import Door
from daypass._core import VERSION
from daypass._core.jwt import decode_unverified

PYTHONS = {f"3.{minor}": python for minor in MINORS if (python := found(minor))}
TOO_OLD = {f"3.{minor}": python for minor in range(7, 11) if (python := found(minor))}
UV_CACHE = subprocess.run(
    [str(ensure_uv()), "cache", "dir"], capture_output=True, text=True, check=True
).stdout.strip()


class Machine:
    """An empty home folder, and an environment that has nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home
        # Only what was downloaded is shared with other users of this machine.
        self.environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "UV_CACHE_DIR": UV_CACHE}
        self.environment |= {name: os.environ[name] for name in NETWORK if name in os.environ}

    def run(self, *words: str | Path, **variables: str) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment | variables, cwd=self.home, capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def daypass(self, *words: str, **variables: str) -> str:
        return self.run(self.home / ".local" / "bin" / "daypass", *words, **variables)


NETWORK = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as running:
        yield running


def gets_a_token(machine: Machine, door: Door) -> bool:
    credentials = str(door.credentials(machine.home))
    token = machine.daypass("token", DAYPASS_CREDENTIALS=credentials).strip()
    return bool(decode_unverified(token)[1]["jti"] == str(door.granted))


@pytest.mark.parametrize("python", PYTHONS.values(), ids=PYTHONS)
def test_uv_tool_installs_a_working_client(
    machine: Machine, wheel: Path, python: Path, door: Door
) -> None:
    machine.run(ensure_uv(), "tool", "install", "--python", python, wheel)
    assert machine.daypass("version") == f"daypass {VERSION}\n"
    assert gets_a_token(machine, door)


@pytest.mark.parametrize("python", PYTHONS.values(), ids=PYTHONS)
def test_the_demo_runs_from_an_installed_wheel(machine: Machine, wheel: Path, python: Path) -> None:
    machine.run(ensure_uv(), "tool", "install", "--python", python, f"{wheel}[local]")
    assert "10" in machine.daypass("demo", ONCE="1")


@pytest.mark.parametrize("version", TOO_OLD)
def test_a_python_that_is_too_old_is_named(version: str) -> None:
    done = subprocess.run(
        [TOO_OLD[version], "-B", "-m", "daypass", "token"],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, f"Python {version}" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr
