"""A program that `make test` may not start is found, also where a grandchild starts it.

Not among the tests of `make test`: Linux lets one process watch the programs of another, once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tools import programs

from support.programs import run

ENV = str(Path(shutil.which("env") or "").resolve())
BY_DESCRIPTOR = f'import os; os.execve(os.open("{ENV}", 0), ["x"], {{}})'


@pytest.fixture(autouse=True)
def env_is_unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "BARE", programs.BARE - {"env"})


@pytest.mark.parametrize(
    "line",
    [
        "env >/dev/null; exit 7",
        f"{ENV} >/dev/null; exit 7",
        "sh -c 'sh -c \"env >/dev/null; true\"; true'; exit 7",
        "setsid env >/dev/null; exit 7",
        "./script >/dev/null; exit 7",
        f"'{sys.executable}' -c 'import os; os.posix_spawn(\"{ENV}\", [\"x\"], {{}})'; exit 7",
        f"'{sys.executable}' -c '{BY_DESCRIPTOR}'; exit 7",
    ],
    ids=["name", "path", "grandchild", "session", "interpreter", "spawn", "descriptor"],
)
def test_a_program_that_is_not_listed_is_found(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script").write_text(f"#!{ENV} sh\ntrue\n")
    (tmp_path / "script").chmod(0o755)
    code, found = programs.watch(["sh", "-c", line])
    assert (code, list(found)) == (7, [ENV])


def test_listed_programs_pass_and_what_is_not_there_is_no_program() -> None:
    line = "no-such-program; /no/such/program; /; /etc/passwd; git ls-files >/dev/null; exit 3"
    assert programs.watch(["sh", "-c", line]) == (3, {})


def test_a_signal_ends_the_command_too() -> None:
    line = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    command = [sys.executable, "-m", "tools.programs", "sh", "-c", line]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=programs.ROOT) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == b"ready\n"
        watching.terminate()
        assert watching.wait(60) == 9


def test_many_processes_at_once_are_all_answered() -> None:
    line = "i=0; while [ $i -lt 200 ]; do /bin/sh -c : & i=$((i+1)); done; wait"
    assert programs.watch(["sh", "-c", line]) == (0, {})


def test_a_machine_that_cannot_tell_fails_in_ci_alone() -> None:
    """Inside of another watch there is none."""
    inner = [sys.executable, "-m", "tools.programs", "sh", "-c", "exit 5"]
    for ci, expected in (("true", 1), ("", 5)):
        outer = (sys.executable, "-m", "tools.programs", *inner)
        done = run(*outer, environment={"CI": ci}, folder=programs.ROOT)
        assert done.returncode == expected
        assert "not checked: seccomp: Device or resource busy" in done.stderr
