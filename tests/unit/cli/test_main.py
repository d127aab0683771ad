"""Common to all commands: help, exit codes, and how errors are printed."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tools.reference.commands import command_parsers

import daypass
from daypass import cli
from daypass._core.errors import DaypassError, UsageError
from daypass.cli.console import write
from daypass.cli.options import add_output
from daypass.client.door import check_audience
from daypass.client.errors import CredentialsError
from support.messages import check, raises

Capture = pytest.CaptureFixture[str]
Fake = Callable[..., None]


@pytest.fixture
def fake_command(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Make `daypass fake` return this exit code, or raise this error."""

    def install(result: int | BaseException, add_arguments: Any = lambda parser: None) -> None:
        def run(args: object) -> int:
            if isinstance(result, BaseException):
                raise result
            return result

        module: Any = SimpleNamespace(
            SUMMARY="does it", EPILOG="", add_arguments=add_arguments, run=run
        )
        monkeypatch.setitem(cli.COMMANDS, "fake", "daypass.cli.fake")
        monkeypatch.setitem(sys.modules, "daypass.cli.fake", module)

    return install


@pytest.mark.parametrize("group", ["", "gate", "identity"])
def test_help_lists_every_command_with_its_summary(group: str, capsys: Capture) -> None:
    assert cli.main(group.split()) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "examples:" in out
    commands = cli.COMMANDS
    if group:
        names = importlib.import_module(f"daypass.cli.{group}").COMMANDS
        commands = {name: f"daypass.cli.{group}.{name}" for name in names}
    for name, home in commands.items():
        summary = importlib.import_module(home).SUMMARY
        assert [line.split(maxsplit=1) for line in out.splitlines()].count([name, summary]) == 1


def test_every_command_has_help_with_examples(capsys: Capture) -> None:
    for path in command_parsers():
        assert cli.main([*path, "--help"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: daypass {' '.join(path)}")
        assert f"  daypass {' '.join(path)}" in out.partition("examples:")[2]
        assert cli.main(["help", *path]) == 0
        assert capsys.readouterr().out == out


@pytest.mark.parametrize("argument", ["--version", "-V", "version"])
def test_the_version_is_printed_and_the_arguments_of_the_process_are_the_default(
    argument: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "argv", ["daypass", argument])
    assert cli.main([argument]) == cli.main() == 0
    assert capsys.readouterr().out == f"daypass {daypass.__version__}\n" * 2


@pytest.mark.parametrize(
    ("result", "code", "err"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (3, 3, ""),
        (KeyboardInterrupt(), 130, ""),
        (
            DaypassError("it is so", "do this\nand that"),
            1,
            "daypass: it is so\n  do this\n  and that\n",
        ),
        (UsageError("no"), 2, "daypass: no\n"),
        (
            DaypassError("file \x1b[2J\r\n", "chmod \x9b \u202e"),
            1,
            "daypass: file ?[2J?\n  chmod ? ?\n",
        ),
    ],
    ids=["done", "failed", "findings", "interrupt", "error", "usage", "control"],
)
def test_the_result_of_a_command_gives_exit_code_and_message(
    fake_command: Fake, capsys: Capture, result: int | BaseException, code: int, err: str
) -> None:
    fake_command(result)
    assert cli.main(["fake"]) == code
    assert capsys.readouterr() == ("", err)


def test_a_hint_names_the_option_instead_of_the_library_argument(
    fake_command: Fake, capsys: Capture
) -> None:
    with raises(CredentialsError) as raised:
        check_audience("")
    assert "audience=" in raised.value.hint
    fake_command(raised.value)
    assert cli.main(["fake"]) == 2
    err = capsys.readouterr().err
    assert "--audience AUDIENCE" in err
    check(err, reason="usage")


def test_an_unexpected_error_shows_its_text_only_with_daypass_debug(
    fake_command: Fake, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    fake_command(ValueError("hush"))
    assert cli.main(["fake"]) == 1
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "DAYPASS_DEBUG=1" in err
    assert "hush" not in err
    assert "Traceback" not in err
    check(err, reason="bug")
    monkeypatch.setenv("DAYPASS_DEBUG", "1")
    with pytest.raises(ValueError, match="hush"):
        cli.main(["fake"])


@pytest.mark.parametrize("line", ["-o json", "-o text -o json", "-o yaml"])
@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (DaypassError("it is\nso", "do \x1b[2J this", reason="why"), "why", 1),
        (check_audience, "no-audience", 2),
        (ValueError("hush"), "bug", 1),
    ],
    ids=["failed", "library", "bug"],
)
def test_with_json_or_yaml_an_error_is_data(
    fake_command: Fake, capsys: Capture, line: str, error: Any, reason: str, code: int
) -> None:
    if error is check_audience:
        with pytest.raises(CredentialsError) as raised:
            check_audience("")
        error = raised.value
    fake_command(error, add_output)
    assert cli.main(["fake", *line.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 or "yaml" in line
    assert "\x1b" not in err
    (found,) = yaml.safe_load(err).values()  # reads JSON too
    assert list(found) == ["reason", "message", "hint", "exitCode"]
    assert (found["reason"], found["exitCode"]) == (reason, code)
    if reason == "bug":
        assert "hush" not in err
    else:
        assert found["message"] == error.fact
        assert found["hint"] == error.hint.replace("audience=AUDIENCE", "--audience AUDIENCE")


@pytest.mark.parametrize(("encoding", "text"), [("ascii", "müller"), ("utf-8", "a \ud800 b")])
def test_text_that_stdout_cannot_encode_is_escaped(
    encoding: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    write(text + "\n")
    escaped = text.encode("ascii", "backslashreplace").decode()
    assert written.getvalue().decode("ascii") == f"{escaped}\n"
