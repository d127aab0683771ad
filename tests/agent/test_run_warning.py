"""The token in a command's environment expires: one warning, and nothing outlives the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.running import CLEAN, Door, line, running_command
from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from daypass.cli import run as run_cli
from daypass.client.token import CachedToken
from daypass.integrations import run_with_token
from daypass.testing import MovableClock
from support.deadline import eventually
from support.fake_door import short_lived_token
from support.messages import check

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


def test_the_user_is_warned_once_on_stderr_before_the_token_expires(
    door: Door, environment: dict[str, str], in_background: Callable[[], list[int]]
) -> None:
    door.granted_seconds = 2
    with running_command(
        environment, "--env", "SERVICE_TOKEN", "--", *WAIT,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert line(process) == "up"
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        assert said.startswith("daypass: warning: the token in SERVICE_TOKEN expires in 1m (20")
        assert "--lifetime" in said
        assert "--file" in said
        assert short_lived_token(1) not in said
        check(said, reason="warning", hide=r"\(20\S+Z\)")
        eventually("its work is done", lambda: in_background() == [])
        out, more = process.communicate("\n", timeout=60)
    assert (process.returncode, out, more) == (0, "end\n", "")
    assert door.granted == 1


def test_after_the_warning_the_commands_stderr_is_its_own(
    door: Door, environment: dict[str, str]
) -> None:
    door.granted_seconds = 1
    script = "exec 2>&-; echo up; read x; echo end"
    with running_command(
        environment, "--", "sh", "-c", script, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert line(process) == "up"
        assert process.stderr is not None
        assert process.stderr.read().count("warning") == 1
        assert process.poll() is None


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("mode", [(), ("--file",)], ids=["variable", "file"])
def test_stderr_ends_with_the_command_and_nothing_is_said_after_it(
    environment: dict[str, str], in_background: Callable[[], list[int]], mode: tuple[str, ...],
    number: signal.Signals | None,
) -> None:  # fmt: skip
    """The token lives for an hour: a process that held stderr would hold it for that long."""
    with running_command(
        environment, *mode, "--", *WAIT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert line(process) == "up"
        assert len(in_background()) == 1
        if number is None:
            _, err = process.communicate("\n", timeout=60)
        else:
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (-number if number else 0, "")
        eventually("nothing is left", lambda: in_background() == [])


def test_stderr_ends_with_each_of_many_commands_that_end_at_once(
    environment: dict[str, str], in_background: Callable[[], list[int]]
) -> None:
    """Some end before the background process has begun to watch them."""
    read, write = os.pipe()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "daypass", "run", "--", *command],
            env={**CLEAN, **environment}, stdout=subprocess.DEVNULL, stderr=write,
        )
        for command in (("true",), ("false",), ("sh", "-c", "kill -9 $$"), ("/no/such/file",)) * 3
    ]  # fmt: skip
    os.close(write)
    said = rest(read).decode().splitlines()
    assert [process.wait(60) for process in started] == [0, 1, -9, 127] * 3
    assert {text.strip() for text in said} == {
        "daypass: there is no command '/no/such/file'", "is it installed, and on PATH?"
    }  # fmt: skip
    eventually("nothing is left", lambda: in_background() == [])


@pytest.mark.parametrize("mode", [(), ("--file",)], ids=["variable", "file"])
def test_what_the_command_closes_is_closed(
    environment: dict[str, str], mode: tuple[str, ...]
) -> None:
    """A pipe that a shell or systemd has opened for the command, such as that of its readiness."""
    read, write = os.pipe()
    script = f"exec {write}>&-; echo up; read x"
    with running_command(
        environment, *mode, "--", "bash", "-c", script, stdin=subprocess.PIPE, pass_fds=(write,)
    ) as process:
        os.close(write)
        assert line(process) == "up"
        assert rest(read) == b""
        assert process.poll() is None


@pytest.mark.parametrize("mode", ["", "--file"])
def test_so_is_what_is_above_a_limit_that_was_lowered(
    environment: dict[str, str], mode: str
) -> None:
    read, write = os.pipe()
    command = 'bash -c "exec 200>&-; echo up; read x"'
    script = (
        f"exec 200>&{write} {write}>&-; ulimit -S -n 64;"
        f"exec {sys.executable} -m daypass run {mode} -- {command}"
    )
    with subprocess.Popen(
        ["bash", "-c", script], env={**CLEAN, **environment}, pass_fds=(write,),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(write)
        assert line(process) == "up"
        assert rest(read) == b""
        assert process.poll() is None
        process.communicate("\n", timeout=60)


@pytest.mark.parametrize("mode", [(), ("--file",)], ids=["variable", "file"])
def test_a_parent_that_ignores_the_end_of_its_children_is_no_obstacle(
    environment: dict[str, str], in_background: Callable[[], list[int]], mode: tuple[str, ...]
) -> None:
    """The command inherits that, and so does daypass before it."""
    with running_command(
        environment, *mode, "--", *WAIT, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    ) as process:  # fmt: skip
        assert line(process) == "up"
        assert len(in_background()) == 1
        assert process.communicate("\n", timeout=60) == ("end\n", "")
        assert process.returncode == 0
    eventually("nothing is left", lambda: in_background() == [])


def test_a_command_with_a_closed_stderr_gets_no_warning_and_no_other_process(
    environment: dict[str, str], in_background: Callable[[], list[int]]
) -> None:
    with running_command(
        environment, "--", *WAIT, stdin=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
    ) as process:  # fmt: skip
        assert line(process) == "up"
        assert in_background() == []
        assert not Path(f"/proc/{process.pid}/fd/2").exists()


def test_a_reader_of_stderr_that_is_gone_does_not_disturb_the_command(
    door: Door, environment: dict[str, str], in_background: Callable[[], list[int]]
) -> None:
    door.granted_seconds = 1
    read, write = os.pipe()
    with running_command(environment, "--", *WAIT, stdin=subprocess.PIPE, stderr=write) as process:
        os.close(write)
        assert line(process) == "up"
        os.close(read)
        eventually("the warning is lost", lambda: in_background() == [])
        out, _ = process.communicate("\n", timeout=60)
    assert (process.returncode, out) == (0, "end\n")


def test_a_warning_that_nobody_reads_in_time_is_not_written_after_the_end(
    door: Door, environment: dict[str, str], in_background: Callable[[], list[int]]
) -> None:
    door.granted_seconds = 1
    read, write = os.pipe()
    os.set_blocking(write, False)
    filled = 0
    while True:
        try:
            filled += os.write(write, b"." * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    script = f"echo up; while [ $(date +%s) -le {int(SYSTEM_CLOCK.unix()) + 3} ]; do :; done"
    with running_command(environment, "--", "sh", "-c", script, stderr=write) as process:
        os.close(write)
        assert line(process) == "up"
        assert len(in_background()) == 1
        assert process.wait(60) == 0
        eventually("nothing is left", lambda: in_background() == [])
        assert rest(read) == b"." * filled


@pytest.mark.parametrize(("granted_seconds", "warnings"), [(1, 1), (3600, 0)])
def test_without_a_pidfd_the_user_is_warned_and_stderr_ends_with_the_command(
    door: Door, environment: dict[str, str], in_background: Callable[[], list[int]],
    granted_seconds: int, warnings: int,
) -> None:  # fmt: skip
    """Even if stderr is read to its end before the command is waited for."""
    door.granted_seconds = granted_seconds
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_PIDFD, "--", *WAIT],
        env={**CLEAN, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert line(process) == "up"
        assert process.stdin is not None
        assert process.stderr is not None
        said = process.stderr.readline() if warnings else ""
        process.stdin.close()
        assert (said + process.stderr.read()).count("warning") == warnings
    eventually("nothing is left", lambda: in_background() == [])


class Command:
    """A command that runs until `ends_at` of a clock that waiting moves."""

    def __init__(self, clock: MovableClock, ends_after: float) -> None:
        self._clock = clock
        self._ends_at = clock.unix() + ends_after
        self.longest = 0.0

    def ends_within(self, seconds: float) -> bool:
        self.longest = max(self.longest, seconds)
        self._clock.move(min(seconds, max(0.0, self._ends_at - self._clock.unix())))
        return self._clock.unix() >= self._ends_at


def token(clock: MovableClock, lives_seconds: float) -> CachedToken:
    return CachedToken(
        value="x", expires_at=rfc3339(utc(clock.unix() + lives_seconds)), audiences="[]",
        received_unix=clock.unix(), received_monotonic=clock.monotonic(),
        usable_seconds=lives_seconds - 10, fresh_seconds=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lives", "ends_after", "at"),
    [(600, 7200, 531), (3600, 7200, 3231), (86400, 10**6, 77751), (3600, 3200, None)],
)
def test_the_warning_comes_when_a_tenth_of_the_tokens_life_is_left(
    monkeypatch: pytest.MonkeyPatch, lives: int, ends_after: int, at: int | None
) -> None:
    clock = MovableClock()
    command, began, warned = Command(clock, ends_after), clock.unix(), list[int]()
    monkeypatch.setattr(run_with_token, "_in_background", lambda work: work(command))
    run_with_token.warn_before_expiry(
        token(clock, lives), lambda: warned.append(round(clock.unix() - began)), clock
    )
    assert warned == ([] if at is None else [at])
    assert command.longest <= 30  # a machine that was asleep is noticed


def test_process_1_of_a_container_gets_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that waits for all its children would wait for this one."""
    clock, started = MovableClock(), list[object]()
    monkeypatch.setattr(run_with_token, "_in_background", started.append)
    run_with_token.warn_before_expiry(token(clock, 600), lambda: None, clock)
    assert len(started) == 1
    monkeypatch.setattr(os, "getpid", lambda: 1)
    run_with_token.warn_before_expiry(token(clock, 600), lambda: None, clock)
    assert len(started) == 1


def test_a_command_runs_even_if_no_other_process_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    clock = MovableClock()
    run_with_token.warn_before_expiry(token(clock, 600), lambda: None, clock)


@pytest.mark.parametrize(("mode", "code"), [((), 0), (("--file",), 1)], ids=["variable", "file"])
def test_a_file_that_no_process_would_keep_fresh_is_an_error(
    environment: dict[str, str], mode: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    """The token would stay there, too. A variable's token is what the command needs."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_SECOND_PROCESS, *mode, "--", "echo", "ran"],
        env={**CLEAN, **environment, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "" if code else "ran\n")
    assert ("Resource temporarily unavailable" in done.stderr) is bool(code)
    assert list(tmp_path.glob("daypass-run-*")) == []


@pytest.mark.parametrize(("passed", "said"), [(3231, "expires in 6m"), (3700, "has expired")])
def test_the_warning_says_how_much_time_is_left(
    capsys: pytest.CaptureFixture[str], passed: int, said: str
) -> None:
    clock = MovableClock()
    clock.move(-passed)
    run_cli.warn_of_expiry(token(clock, 3600), "SERVICE_TOKEN")
    warning = capsys.readouterr().err
    assert said in warning
    check(warning, reason="warning", hide=r"\(20\S+Z\)")
