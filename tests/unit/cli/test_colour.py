"""When commands print in colours: --color, NO_COLOR, CLICOLOR_FORCE, terminals and pipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import daypass
from daypass import cli
from daypass.cli import colour
from daypass.cli.colour import paint_lines
from support.messages import check
from support.terminal import Terminal

VERIFY = ("verify", "https://127.0.0.1:9/kubernetes")
MARK = "\x1b[31m✗\x1b[0m certificate"
ALWAYS, NEVER, AUTO = (("--color", each) for each in ("always", "never", "auto"))


@pytest.mark.parametrize(
    ("env", "before", "after", "is_coloured"),
    [
        ({}, (), (), (True, False)),
        ({"TERM": "dumb"}, (), (), (False, False)),
        ({"NO_COLOR": "1"}, (), (), (False, False)),
        ({"NO_COLOR": ""}, (), (), (True, False)),
        ({"CLICOLOR_FORCE": "1"}, (), (), (True, True)),
        ({"CLICOLOR_FORCE": "0"}, (), (), (True, False)),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, (), (), (False, False)),
        ({"NO_COLOR": "1"}, ALWAYS, (), (True, True)),
        ({"CLICOLOR_FORCE": "1"}, (), NEVER, (False, False)),
        ({}, ALWAYS, NEVER, (False, False)),
        ({}, (), AUTO, (True, False)),
    ],
    ids=lambda value: (
        " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None
    ),
)
@pytest.mark.parametrize("pipe", [False, True], ids=["terminal", "pipe"])
def test_the_option_counts_before_the_variables_and_these_before_the_stream(
    env: dict[str, str], before: tuple[str, ...], after: tuple[str, ...],
    is_coloured: tuple[bool, bool], pipe: bool,
) -> None:  # fmt: skip
    with Terminal(*before, *VERIFY, *after, pipe=pipe, env=env) as shown:
        assert shown.wait() == 3
    results = shown.out if pipe else shown.written
    assert "certificate" in results
    assert (MARK in results) is is_coloured[pipe]
    assert ("\x1b[3" in results) is is_coloured[pipe]


@pytest.mark.parametrize("output", ["json", "junit"])
def test_formats_for_programs_have_no_colours(output: str) -> None:
    with Terminal(*VERIFY, "--output", output, "--color", "always", pipe=True) as shown:
        assert shown.wait() == 3
    assert shown.out[0] in "{<"
    assert "\x1b" not in shown.out


def test_errors_and_warnings_have_a_coloured_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["token", "--color=always", "--audience", "\x1b[2J"]) == 2
    start, _, rest = capsys.readouterr().err.partition("\x1b[0m")
    assert start == "\x1b[31mdaypass:"
    assert "\x1b" not in rest
    monkeypatch.setattr(colour, "choice", "always")
    cli.warn("careful", "so")
    assert capsys.readouterr().err == "\x1b[33mdaypass: warning:\x1b[0m careful\n  so\n"


def test_diffs_and_findings_are_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "choice", "always")
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n same\n-old\n+new\n"
    diff += "create    Service a/b\n  note x: y\n  nothing\n"
    codes = ("1", "1", "36", "", "31", "32", "32", "33", "")
    painted = [
        f"\x1b[{c}m{line}\x1b[0m" if c else line
        for c, line in zip(codes, diff.splitlines(), strict=True)
    ]
    assert paint_lines(diff).splitlines() == painted


@pytest.mark.parametrize("command", ["token", "exec-credential", "run", "verify", "identity list"])
@pytest.mark.parametrize("option", ["--color=alwys", "--color alwys", "--color"])
def test_another_value_is_a_usage_error_before_or_after_the_command(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (f"{option} {command}", f"{command} {option} -- true"):
        if option == "--color" and line.startswith(option):
            continue  # then the command is its value
        assert cli.main(line.split()) == 2
        err = capsys.readouterr().err
        assert "--color" in err
        assert "always" in err
        check(err, reason="usage")


def test_words_of_another_program_are_left_alone(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["run", "ls", "--color=always"]) == 2
    assert "daypass run -- ls --color=always" in capfd.readouterr().err


def test_only_one_module_writes_colours() -> None:
    """Then a pipe gets none from any command; another one clears the screen of --watch."""
    root = Path(daypass.__file__).parent
    found = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if re.search(r"\\x1b|\\033|\\u001b|\\e\[", file.read_text())
    }
    assert found == {"cli/colour.py", "cli/output.py"}
