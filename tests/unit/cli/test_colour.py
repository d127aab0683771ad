"""When commands print in colours: NO_COLOR, CLICOLOR_FORCE, terminals and pipes."""

from __future__ import annotations

import io

import pytest

from daypass import cli
from daypass.cli.console import is_coloured, paint_lines, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "at_a_terminal", "in_a_pipe"),
    [
        ({}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False, False),
    ],
)
def test_the_variables_take_precedence_over_the_stream(
    env: dict[str, str], at_a_terminal: bool, in_a_pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert is_coloured(Terminal()) is at_a_terminal
    assert is_coloured(io.StringIO()) is in_a_pipe


def test_errors_and_warnings_have_a_coloured_start_and_no_other_control_character(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert cli.main(["token", "--audience", "\x1b[2J"]) == 2
    start, _, rest = capsys.readouterr().err.partition("\x1b[0m")
    assert start == "\x1b[31mdaypass:"
    assert "\x1b" not in rest
    warn("careful", "so")
    assert capsys.readouterr().err == "\x1b[33mdaypass: warning:\x1b[0m careful\n  so\n"


def test_diffs_and_findings_are_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert paint_lines("-old\n same\n") == "\x1b[31m-old\x1b[0m\n same\n"
