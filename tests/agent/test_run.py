"""`daypass run`: the command gets a short-lived token, and nothing that leads to others."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.running import CLEAN, Door, awaiting, daypass, line, running_command
from support.children import children_of
from support.deadline import eventually
from support.fake_door import SENTINEL, FakeDoor, answer, jwt, long_lived_token, short_lived_token
from support.messages import check
from support.terminal import Terminal


@pytest.fixture(params=[(), ("--file",)], ids=["variable", "file"])
def mode(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options for each way in which the command gets its token."""
    options: tuple[str, ...] = request.param
    return options


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """What XDG_RUNTIME_DIR is."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    return tmp_path / "runtime"


@pytest.fixture
def environment(door: Door, tmp_path: Path, runtime: Path) -> dict[str, str]:
    """Credentials for the door, as a person sets them."""
    return {"DAYPASS_CREDENTIALS": str(door.credentials(tmp_path)), "XDG_RUNTIME_DIR": str(runtime)}


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run `daypass run` with these arguments to its end."""
    return lambda *arguments: daypass("run", *arguments, environment=environment)


def is_gone(folder: Path) -> bool:
    return os.listdir(folder) == []


def test_the_command_finds_a_new_token_in_its_environment(run: Run) -> None:
    for number in (1, 2):
        done = run("--", "printenv", "DAYPASS_ACCESS_TOKEN")
        assert (done.returncode, done.stdout) == (0, short_lived_token(number) + "\n")
        assert done.stderr == ""


def test_the_variable_can_be_named_in_both_modes(run: Run) -> None:
    done = run("--env", "T", "--", "printenv", "T")
    assert done.stdout == short_lived_token(1) + "\n"
    done = run("--env", "T", "--file", "--", "sh", "-c", 'cat "$T"')
    assert done.stdout == short_lived_token(2)


def test_the_token_file_is_private_and_removed_with_the_command(
    environment: dict[str, str], runtime: Path
) -> None:
    with running_command(
        environment, "--file", "--", "sh", "-c", 'echo "$DAYPASS_ACCESS_TOKEN_FILE"; read x',
        stdin=subprocess.PIPE,
    ) as process:  # fmt: skip
        path = Path(line(process))
        assert path.parent.parent == runtime
        assert path.read_text() == short_lived_token(1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        process.communicate("\n", timeout=60)
    eventually("the folder is gone", lambda: is_gone(runtime))


def shell(environment: dict[str, str], script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash; `$RUN` in it is `daypass run`."""
    command = f"{sys.executable} -m daypass run"
    return subprocess.run(
        ["bash", "-c", script], env={**CLEAN, **environment, "RUN": command},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["", "<&- >&- 2>&-"])
def test_the_token_file_is_renewed_while_the_command_runs_even_with_closed_stdin_or_stdout(
    door: Door, environment: dict[str, str], runtime: Path, tmp_path: Path, closed: str
) -> None:
    """Otherwise the pipe that the background process watches would get one of their numbers."""
    door.granted_seconds = 2
    script = f"""
        file=$DAYPASS_ACCESS_TOKEN_FILE
        while grep -q {short_lived_token(1)} "$file"; do sleep 0.05; done
        cat "$file" >{tmp_path}/seen"""
    done = shell(environment, f"exec $RUN --file -- sh -c '{script}' {closed}")
    assert done.returncode == 0
    assert (tmp_path / "seen").read_text() == short_lived_token(2)
    eventually("the folder is gone", lambda: is_gone(runtime))


def test_a_token_file_that_cannot_be_written_is_an_error(environment: dict[str, str]) -> None:
    """Its size is limited to nothing, as that of a full disk is."""
    done = shell(environment, "ulimit -f 0; exec $RUN --file -- echo ran")
    assert (done.returncode, done.stdout) == (1, "")
    assert "File too large" in done.stderr
    assert os.listdir(environment["XDG_RUNTIME_DIR"]) == []
    check(done.stderr, reason="failed")


def test_a_failed_renewal_is_reported_while_the_command_continues(
    door: Door, environment: dict[str, str]
) -> None:
    door.granted_seconds = 2
    with running_command(
        environment, "--file", "--", "sh", "-c", "echo up; read x; echo end",
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert line(process) == "up"
        door.refuse()
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("daypass: warning: ")
        assert "(403)" in said
        check(said, reason="renewal_failed", hide=r"daypass-run-\w+|in \d+ s\b")
        out, _ = process.communicate("\n", timeout=60)
        assert out == "end\n"


def test_the_long_lived_token_is_not_passed_on(
    door: Door, mode: tuple[str, ...], tmp_path: Path
) -> None:
    file = door.credentials(tmp_path, token={"variable": "JOB_TOKEN"})
    environment = {"DAYPASS_CREDENTIALS": str(file), "JOB_TOKEN": long_lived_token()}
    environment["HOME"] = "/somewhere"
    done = daypass("run", *mode, "--", "env", environment=environment)
    assert done.returncode == 0
    assert SENTINEL not in done.stdout
    names = {entry.partition("=")[0] for entry in done.stdout.splitlines()}
    ours = {name for name in names if name.startswith("DAYPASS_")}
    assert ours in ({"DAYPASS_ACCESS_TOKEN"}, {"DAYPASS_ACCESS_TOKEN_FILE"})
    assert "JOB_TOKEN" not in names
    assert "HOME" in names


def test_githubs_request_token_is_not_passed_on(
    door: Door, mode: tuple[str, ...], tmp_path: Path
) -> None:
    given = answer(200, json.dumps({"value": jwt({"sub": "repo:a", "aud": "x"}, "c2ln")}))
    with FakeDoor(given, context=None) as github:
        file = door.credentials(
            tmp_path, token={"github": {"audience": "x"}}, namespace="team", serviceAccount="bot"
        )
        environment = {
            "DAYPASS_CREDENTIALS": str(file),
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{github.port}/idtoken",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": SENTINEL,
        }
        done = daypass("run", *mode, "--", "env", environment=environment)
        assert done.returncode == 0, done.stderr
        assert "ACTIONS_ID_TOKEN_REQUEST" not in done.stdout
        assert SENTINEL not in done.stdout


@pytest.mark.parametrize("name", ["DAYPASS_CREDENTIALS", "JOB_TOKEN"])
def test_a_variable_that_daypass_reads_is_refused_for_the_short_lived_token(
    door: Door, mode: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    file = door.credentials(tmp_path, token={"variable": "JOB_TOKEN"})
    environment = {"DAYPASS_CREDENTIALS": str(file), "JOB_TOKEN": long_lived_token()}
    done = daypass("run", *mode, "--env", name, "--", "echo", "ran", environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    check(done.stderr, reason="usage")


def test_the_exit_code_is_that_of_the_command(run: Run, mode: tuple[str, ...]) -> None:
    done = run(*mode, "--", "sh", "-c", "exit 42")
    assert (done.returncode, done.stderr) == (42, "")


@pytest.mark.parametrize("number", ["TERM", "INT", "PIPE"])
def test_a_signal_reaches_the_command(
    environment: dict[str, str], mode: tuple[str, ...], number: str
) -> None:
    with running_command(environment, *mode, "--", *awaiting(f"SIG{number}")) as process:
        assert line(process) == "up"
        process.send_signal(signal.Signals[f"SIG{number}"])
        assert process.wait(60) == 7
        assert line(process) == "got"


def test_a_command_killed_by_a_signal_ends_daypass_by_the_same_signal(
    environment: dict[str, str], runtime: Path, mode: tuple[str, ...]
) -> None:
    """So a shell shows 128 + n, as for any command."""
    with running_command(environment, *mode, "--", "sh", "-c", "echo up; exec sleep 60") as process:
        assert line(process) == "up"
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    eventually("the folder is gone", lambda: is_gone(runtime))


def test_the_command_gets_the_default_sigpipe(run: Run, mode: tuple[str, ...]) -> None:
    """Python ignores SIGPIPE; the command must not inherit that."""
    done = run(*mode, "--", "bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}")
    assert done.stdout == "y\n141\n"


def test_ctrl_c_reaches_the_command_once_and_nobody_else(
    environment: dict[str, str], runtime: Path, mode: tuple[str, ...]
) -> None:
    script = (
        "import os, signal, sys, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "print('up', os.tcgetpgrp(0) == os.getpid(), flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "print(sys.stdin.readline().strip(), len(seen), flush=True)\n"
    )
    words = ("run", *mode, "--", sys.executable, "-c", script)
    with Terminal(*words, env=environment, cwd=runtime.parent) as terminal:
        terminal.wait_for("up True")
        terminal.type(b"\x03")
        terminal.type(b"typed\n")
        terminal.wait_for("typed 1")
        assert terminal.wait() == 0
    eventually("the folder is gone", lambda: is_gone(runtime))


def test_the_command_has_no_child_that_it_did_not_start(
    environment: dict[str, str], mode: tuple[str, ...]
) -> None:
    with running_command(
        environment, *mode, "--", "sh", "-c", "echo up; read x", stdin=subprocess.PIPE
    ) as process:
        assert line(process) == "up"
        assert children_of(process.pid) == {}


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        ("no-such-command-at-all", 127, ""),
        ("/etc/passwd", 126, "Permission denied"),
    ],
)
def test_a_command_that_cannot_run_exits_as_in_a_shell(
    run: Run, runtime: Path, mode: tuple[str, ...], command: str, code: int, reason: str
) -> None:
    done = run(*mode, "--", command)
    assert (done.returncode, done.stdout) == (code, "")
    assert repr(command) in done.stderr
    assert reason in done.stderr
    check(done.stderr, reason=str(code))
    eventually("nothing is left", lambda: is_gone(runtime))


def test_without_a_token_the_command_is_not_run(
    door: Door, run: Run, runtime: Path, mode: tuple[str, ...]
) -> None:
    door.refuse()
    done = run(*mode, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (1, "")
    assert "(403): because" in done.stderr
    check(done.stderr, reason="failed")
    assert is_gone(runtime)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--", "printf", "%s,", "--", "-x", "--file", "--audience"), "--,-x,--file,--audience,"),
        (("--lifetime=1h", "--audience", "gate.example.com", "--", "printf", "%s", "x"), "x"),
    ],
)
def test_the_arguments_after_two_dashes_are_passed_unchanged(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, words, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ""),
        (("env",), "daypass run -- COMMAND"),
        (("--env", "A=B", "--", "env"), "'A=B'"),
        (("--nonsense", "--", "env"), "--nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_usage_error_runs_nothing(
    door: Door, run: Run, arguments: tuple[str, ...], expected: str
) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert door.requests == []
    check(done.stderr, reason="usage", hide="(?s)usage: .*(?=daypass run: )")
