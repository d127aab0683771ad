"""Common to all commands: help, exit codes, and how errors are printed."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import daypass
from daypass import cli
from daypass._core.errors import DaypassError, UsageError
from daypass.client.config import check_audience
from daypass.client.errors import CredentialsError
from support.messages import check, raises

Fake = Callable[[Callable[[], int]], None]


@pytest.fixture
def fake_command(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Make `daypass fake` do this."""

    def install(what: Callable[[], int]) -> None:
        module: Any = SimpleNamespace(
            SUMMARY="does it", EPILOG="", add_arguments=lambda parser: None, run=lambda _: what()
        )
        monkeypatch.setitem(cli.COMMANDS, "fake", "daypass.cli.fake")
        monkeypatch.setitem(sys.modules, "daypass.cli.fake", module)

    return install


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_lists_every_command(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([argument]) == 0
    out = capsys.readouterr().out
    for name, home in cli.COMMANDS.items():
        summary = importlib.import_module(home).SUMMARY
        assert any(line.split(maxsplit=1) == [name, summary] for line in out.splitlines())


@pytest.mark.parametrize("argument", ["--version", "-V"])
def test_the_version_is_printed(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([argument]) == 0
    assert capsys.readouterr().out == f"daypass {daypass.__version__}\n"


def test_every_command_has_help_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        assert cli.main([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: daypass {name}")
        assert "examples:" in out


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    first, _, help_text = captured.err.partition("\n")
    check(first, reason="usage")
    for name in cli.COMMANDS:
        assert f"  {name} " in help_text


@pytest.mark.parametrize(
    ("word", "named", "hint"),
    [
        ("tokn", "command 'tokn'", "`daypass token`"),
        ("zzz", "command 'zzz'", "`daypass --help`"),
        ("--verbose", "option '--verbose'", "`daypass --help`"),
        ("\x1b[2J", "command '\\x1b[2J'", "`daypass --help`"),
    ],
    ids=["near", "far", "option", "control"],
)
def test_an_unknown_command_is_a_usage_error(
    word: str, named: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word]) == 2
    err = capsys.readouterr().err
    first, second = err.splitlines()
    assert named in first
    assert hint in second
    check(err, reason="usage")


def test_the_command_line_of_the_process_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["daypass", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_commands_return_value_is_the_exit_code(fake_command: Fake, code: int) -> None:
    fake_command(lambda: code)
    assert cli.main(["fake"]) == code


def test_an_unknown_option_is_a_usage_error(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(lambda: 0)
    assert cli.main(["fake", "--nonsense"]) == 2
    assert "usage: daypass fake" in capsys.readouterr().err


def test_an_error_prints_its_fact_and_its_hint_to_stderr(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(DaypassError("it is so", "do this\nand that")))
    assert cli.main(["fake"]) == 1
    assert capsys.readouterr() == ("", "daypass: it is so\n  do this\n  and that\n")
    fake_command(raising(UsageError("no")))
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "daypass: no\n"


def test_a_hint_names_the_option_instead_of_the_library_argument(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    with raises(CredentialsError) as raised:
        check_audience("")
    assert "audience=" in raised.value.hint
    fake_command(raising(raised.value))
    assert cli.main(["fake"]) == 2
    err = capsys.readouterr().err
    assert "--audience AUDIENCE" in err
    check(err, reason="usage")


def test_an_error_prints_no_terminal_control_characters(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(DaypassError("file \x1b[2J\r\n", "chmod \x9b \u202e")))
    cli.main(["fake"])
    assert capsys.readouterr().err == "daypass: file ?[2J?\n  chmod ? ?\n"


def test_an_unexpected_error_shows_neither_its_text_nor_a_traceback(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(ValueError("hush")))
    assert cli.main(["fake"]) == 1
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "DAYPASS_DEBUG=1" in err
    assert "hush" not in err
    assert "Traceback" not in err
    check(err, reason="bug")


def test_daypass_debug_raises_the_error(
    fake_command: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_DEBUG", "1")
    fake_command(raising(ValueError("hush")))
    with pytest.raises(ValueError, match="hush"):
        cli.main(["fake"])


def test_an_interrupt_exits_with_130_and_prints_nothing(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(KeyboardInterrupt()))
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr() == ("", "")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daypass", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_it_runs_as_a_module() -> None:
    done = run("--version", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, f"daypass {daypass.__version__}\n")


def test_a_closed_pipe_exits_with_1_and_prints_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run("--help", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_further_lines_of_a_fact_are_indented(
    fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(DaypassError("one\ndaypass: two", "three")))
    cli.main(["fake"])
    assert capsys.readouterr().err == "daypass: one\n  daypass: two\n  three\n"


@pytest.mark.parametrize("arguments", [["token"], ["nonsense"], ["run"]])
def test_a_full_stderr_changes_no_exit_code(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "daypass", *arguments],
            env={}, stdout=subprocess.PIPE, stderr=full, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(("encoding", "text"), [("ascii", "müller"), ("utf-8", "a \ud800 b")])
def test_text_that_stdout_cannot_encode_is_escaped(
    encoding: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    cli.write(text + "\n")
    assert (
        written.getvalue().decode("ascii")
        == text.encode("ascii", "backslashreplace").decode() + "\n"
    )


def test_a_full_stdout_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = run("--help", stdout=full)
    assert done.returncode == 1
    assert done.stderr.endswith(": No space left on device\n")
    check(done.stderr, reason="failed")


def test_a_closed_stdout_is_an_error() -> None:
    command = f'"{sys.executable}" -m daypass --version >&-'
    done = subprocess.run(  # noqa: S602 - only a shell can close it
        command, shell=True, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    check(done.stderr, reason="failed")


WITHOUT_EXTRAS = """
import sys
for name in ("cryptography", "envoy", "grpc", "httpx2", "pydantic", "yaml"):
    sys.modules[name] = None
from daypass.cli import main
sys.exit(main(sys.argv[1:]))
"""
CLUSTER = ("apply", "diff", "init", "remove", "render", "verify https://a.example.com/kubernetes")
IDENTITY = (
    "authorize bot --in a --role view", "create bot", "delete bot",
    "federate bot --issuer https://i.example.com --subject s --source github -o f --merge f",
    "list", "reap", "revoke bot", "rotate bot", "show bot", "unauthorize bot --in a",
)  # fmt: skip
GATE = (
    "deny --uid u", "explain --host a --token-file t", "serve", "watch", "watch --once",
)  # fmt: skip
POLICY = ("apply", "check --service-account bot", "render")


@pytest.mark.parametrize(
    "line",
    [
        *CLUSTER, "demo", "up",
        *(f"identity {each}" for each in IDENTITY), *(f"gate {each}" for each in GATE),
        *(f"policy {each}" for each in POLICY),
    ],
    ids=lambda line: " ".join(line.split()[:3]),
)  # fmt: skip
def test_a_command_names_the_extra_that_it_needs(line: str, tmp_path: Path) -> None:
    (tmp_path / "daypass.yaml").write_text("version: 1\n")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *line.split()],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "pip install 'daypass[" in done.stderr
    check(done.stderr, reason="missing-extra")


@pytest.mark.parametrize("silence", ["0", "5", "0m"])
def test_too_short_a_close_after_is_a_usage_error(
    silence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tmp_path / "missing.yaml")
    assert cli.main(["up", "--config", config, "--close-after", silence]) == 2
    err = capsys.readouterr().err
    assert "6 s" in err
    assert "missing.yaml" not in err
    check(err, reason="usage")


GROUPS = ("gate", "identity", "policy")


@pytest.mark.parametrize("command", GROUPS)
def test_help_lists_each_subcommand_with_its_summary(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    group = importlib.import_module(f"daypass.cli.{command}")
    assert cli.main([command, "--help"]) == 0
    out = capsys.readouterr().out
    for name in group.COMMANDS:
        summary = importlib.import_module(f"daypass.cli.{command}.{name}").SUMMARY
        assert any(line.split(maxsplit=1) == [name, summary] for line in out.splitlines())


@pytest.mark.parametrize(
    ("line", "named", "hint"),
    [
        ("identity lst", "command 'lst'", "`daypass identity list`"),
        ("policy aply -n x", "command 'aply'", "`daypass policy apply`"),
        ("policy zzz", "command 'zzz'", "render, apply, check"),
        ("identity -n team", "option '-n'", "create, list, show"),
        ("identity", "command", "create, list, show"),
    ],
    ids=["near", "near with options", "far", "option", "none"],
)
def test_an_unknown_subcommand_is_a_usage_error_that_names_the_nearest(
    line: str, named: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err.splitlines()[0]
    assert hint in err.splitlines()[1]
    check(err, reason="usage")
