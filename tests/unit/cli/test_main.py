"""Common to all commands: help, exit codes, and how errors are printed."""

from __future__ import annotations

import importlib
import io
import json
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
from unit.cli.conftest import Run

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
def test_help_lists_every_command_with_its_summary(group: str, run: Run) -> None:
    out, err = run(group)
    assert err == ""
    assert "examples:" in out
    commands = cli.COMMANDS
    if group:
        names = importlib.import_module(f"daypass.cli.{group}").COMMANDS
        commands = {name: f"daypass.cli.{group}.{name}" for name in names}
    for name, home in commands.items():
        summary = importlib.import_module(home).SUMMARY
        assert [line.split(maxsplit=1) for line in out.splitlines()].count([name, summary]) == 1


def test_every_command_has_help_with_examples(run: Run) -> None:
    for path in map(" ".join, command_parsers()):
        out, _ = run(f"{path} --help")
        assert out.startswith(f"usage: daypass {path}")
        assert f"  daypass {path}" in out.partition("examples:")[2]
        assert run(f"help {path}") == (out, "")


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
    fake_command: Fake, run: Run, result: int | BaseException, code: int, err: str
) -> None:
    fake_command(result)
    assert run("fake", code=code) == ("", err)


def test_a_hint_names_the_option_instead_of_the_library_argument(
    fake_command: Fake, run: Run
) -> None:
    with raises(CredentialsError) as raised:
        check_audience("")
    assert "audience=" in raised.value.hint
    fake_command(raised.value, add_output)
    check(run("fake", code=2)[1], "--audience AUDIENCE", reason="usage")
    found = json.loads(run("fake -o json", code=2)[1])["error"]
    assert found["hint"] == raised.value.hint.replace("audience=AUDIENCE", "--audience AUDIENCE")


def test_an_unexpected_error_shows_its_text_only_with_daypass_debug(
    fake_command: Fake, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    fake_command(ValueError("hush"), add_output)
    err = run("fake", code=1)[1]
    check(err, "ValueError", "DAYPASS_DEBUG=1", reason="bug")
    for printed in (err, run("fake -o json", code=1)[1]):
        assert "hush" not in printed
        assert "Traceback" not in printed
    monkeypatch.setenv("DAYPASS_DEBUG", "1")
    with pytest.raises(ValueError, match="hush"):
        run("fake")


@pytest.mark.parametrize("line", ["-o json", "-o text -o json", "-o yaml"])
def test_with_json_or_yaml_an_error_is_data(fake_command: Fake, run: Run, line: str) -> None:
    fake_command(DaypassError("it is\nso", "do \x1b[2J this", reason="why"), add_output)
    out, err = run(f"fake {line}", code=1)
    assert out == ""
    assert err.count("\n") == 1 or "yaml" in line
    assert "\x1b" not in err
    (found,) = yaml.safe_load(err).values()  # reads JSON too
    assert found == {
        "reason": "why", "message": "it is\nso", "hint": "do \x1b[2J this", "exitCode": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("encoding", "text"), [("ascii", "müller"), ("utf-8", "a \ud800 b")])
def test_text_that_stdout_cannot_encode_is_escaped(
    encoding: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    write(text + "\n")
    escaped = text.encode("ascii", "backslashreplace").decode()
    assert written.getvalue().decode("ascii") == f"{escaped}\n"
