"""The process that keeps a command's token file fresh: nothing of it outlives the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.running import CLEAN, Door, line, running_command
from support.deadline import eventually

WITHOUT_A_SECOND_PROCESS = """
import os, sys
from daypass.cli import main
fork, first = os.fork, os.getpid()
def limited():
    if os.getpid() != first:
        raise BlockingIOError("Resource temporarily unavailable")
    return fork()
os.fork = limited
sys.exit(main(["run", *sys.argv[1:]]))
"""
"""`daypass run` where one more process may run, and no second one."""
WAIT = ("sh", "-c", "echo up; read x; echo end")
WITHOUT_PIDFD = """
import os, sys
del os.pidfd_open
from daypass.cli import main
sys.exit(main(["run", *sys.argv[1:]]))
"""
"""`daypass run` where the kernel refuses it."""


@pytest.fixture
def environment(door: Door, tmp_path: Path) -> dict[str, str]:
    return {"DAYPASS_CREDENTIALS": str(door.credentials(tmp_path)), "MARK": str(tmp_path)}


@pytest.fixture
def in_background(environment: dict[str, str]) -> Callable[[], list[int]]:
    """The processes of daypass that this test has started and that still run."""
    mark = f"MARK={environment['MARK']}".encode()

    def find() -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes()
                if b"daypass" in words and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:  # it has ended
                continue
        return found

    return find


def rest(descriptor: int) -> bytes:
    """What can be read from a pipe until the last process that could write has closed it."""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
@pytest.mark.parametrize("script", [None, WITHOUT_PIDFD], ids=["pidfd", "without"])
def test_stderr_ends_with_the_command_and_so_does_the_process(
    environment: dict[str, str], in_background: Callable[[], list[int]],
    number: signal.Signals | None, script: str | None,
) -> None:  # fmt: skip
    """Even if stderr is read to its end before the command is waited for."""
    program = ["-m", "daypass", "run"] if script is None else ["-c", script]
    with subprocess.Popen(
        [sys.executable, *program, "--file", "--", *WAIT],
        env={**CLEAN, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert line(process) == "up"
        assert len(in_background()) == 1
        if number is not None:
            process.send_signal(number)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.close()
        assert process.stderr.read() == ""
    eventually("nothing is left", lambda: in_background() == [])


def test_what_the_command_closes_is_closed(environment: dict[str, str]) -> None:
    """A pipe that a shell or systemd has opened for the command, such as that of its readiness."""
    read, write = os.pipe()
    script = f"exec {write}>&-; echo up; read x"
    with running_command(
        environment, "--file", "--", "bash", "-c", script, stdin=subprocess.PIPE, pass_fds=(write,)
    ) as process:
        os.close(write)
        assert line(process) == "up"
        assert rest(read) == b""
        assert process.poll() is None


def test_a_parent_that_ignores_the_end_of_its_children_is_no_obstacle(
    environment: dict[str, str], in_background: Callable[[], list[int]]
) -> None:
    """The command inherits that, and so does daypass before it."""
    with running_command(
        environment, "--file", "--", *WAIT, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    ) as process:  # fmt: skip
        assert line(process) == "up"
        assert len(in_background()) == 1
        assert process.communicate("\n", timeout=60) == ("end\n", "")
        assert process.returncode == 0
    eventually("nothing is left", lambda: in_background() == [])


def test_a_file_that_no_process_would_keep_fresh_is_an_error(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The token would stay there, too."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_SECOND_PROCESS, "--file", "--", "echo", "ran"],
        env={**CLEAN, **environment, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "Resource temporarily unavailable" in done.stderr
    assert list(tmp_path.glob("daypass-run-*")) == []
