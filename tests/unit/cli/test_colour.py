"""When commands print in colours: NO_COLOR, CLICOLOR_FORCE, terminals and pipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import daypass
from daypass import cli
from daypass.cli.colour import paint_lines
from daypass.cli.console import warn
from support.terminal import Terminal

VERIFY = ("verify", "https://127.0.0.1:9/kubernetes")
MARK = "\x1b[31m✗\x1b[0m certificate"


@pytest.mark.parametrize(
    ("env", "is_coloured"),
    [
        ({}, (True, False)),
        ({"TERM": "dumb"}, (False, False)),
        ({"NO_COLOR": "1"}, (False, False)),
        ({"CLICOLOR_FORCE": "1"}, (True, True)),
        ({"CLICOLOR_FORCE": "0"}, (True, False)),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, (False, False)),
    ],
    ids=lambda value: (
        " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None
    ),
)
@pytest.mark.parametrize("pipe", [False, True], ids=["terminal", "pipe"])
def test_the_variables_count_before_the_stream(
    env: dict[str, str], is_coloured: tuple[bool, bool], pipe: bool
) -> None:
    with Terminal(*VERIFY, pipe=pipe, env=env) as shown:
        assert shown.wait() == 3
    results = shown.out if pipe else shown.written
    assert "certificate" in results
    assert (MARK in results) is is_coloured[pipe]
    assert ("\x1b[3" in results) is is_coloured[pipe]


def test_formats_for_programs_have_no_colours() -> None:
    with Terminal(*VERIFY, "--output", "json", env={"CLICOLOR_FORCE": "1"}, pipe=True) as shown:
        assert shown.wait() == 3
    assert shown.out[0] == "{"
    assert "\x1b" not in shown.out


def test_errors_and_warnings_have_a_coloured_start(
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
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n same\n-old\n+new\n"
    diff += "create    Service a/b\n  note x: y\n  nothing\n"
    codes = ("1", "1", "36", "", "31", "32", "32", "33", "")
    painted = [
        f"\x1b[{c}m{line}\x1b[0m" if c else line
        for c, line in zip(codes, diff.splitlines(), strict=True)
    ]
    assert paint_lines(diff).splitlines() == painted


def test_only_one_module_writes_colours() -> None:
    """Then a pipe gets none from any command; another one clears the screen of --watch."""
    root = Path(daypass.__file__).parent
    found = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if re.search(r"\\x1b|\\033|\\u001b|\\e\[", file.read_text())
    }
    assert found == {"cli/colour.py", "cli/output.py"}
