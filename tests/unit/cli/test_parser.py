"""The examples of all help texts are command lines that parse."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
from tools.reference.commands import command_parsers

from daypass.cli import COMMANDS
from support.hints import mistake_in


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
