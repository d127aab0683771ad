"""Mistakes in options and arguments: the message names the mistake, the hint what to type."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
from tools.reference.commands import command_parsers

from daypass.cli import COMMANDS, main
from support.hints import mistake_in
from support.messages import check

SHOW_HELP = "daypass {} --help"
LINES = {
    "token --audence x": ("'--audence'", "`--audience`"),
    "token --no-cache=yes": ("--no-cache", SHOW_HELP.format("token")),
    "token --audience": ("--audience needs a value", SHOW_HELP.format("token")),
    "token --output jsn": ("'jsn' is not one of text, json, yaml, header", "`-o json`"),
    "token extra": ("'extra'", SHOW_HELP.format("token")),
    "token '\x1b[2J'": (r"'\x1b[2J'", SHOW_HELP.format("token")),
    "identity create": ("NAME", SHOW_HELP.format("identity create")),
    "identity authorize bot --in a --role view --cluster-role x": (
        "--cluster-role cannot be combined with --role",
        SHOW_HELP.format("identity authorize"),
    ),
}
"""Command lines, and what the fact and the hint name."""


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(("line", "named"), LINES.items(), ids=LINES)
def test_a_mistake_is_named_with_what_to_type_instead(
    line: str, named: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    fact, hint = err.splitlines()
    assert named[0] in fact
    assert named[1] in hint
    check(err, reason="usage")


def examples() -> list[str]:
    """The daypass commands in the examples of all help texts."""
    found = []
    for path in [(), *command_parsers()]:
        home = ".".join([COMMANDS[path[0]], *path[1:]]) if path else "daypass.cli.parser"
        epilog = getattr(importlib.import_module(home), "EPILOG", "")
        text = re.sub(r"\s*\\\n\s*", " ", epilog)
        for line in re.findall(r"^  (?:.*\| )?(daypass .*)", text, re.M):
            found.append(re.split(r" {2,}| [|>] ?", line)[0])
    return found


@pytest.mark.parametrize("line", examples())
def test_every_example_in_a_help_text_parses(line: str) -> None:
    assert mistake_in("daypass", shlex.split(line)[1:]) == ""
