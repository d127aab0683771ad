"""Subcommands: a message suggests the nearest name, or lists all of them."""

from __future__ import annotations

import importlib

import pytest

from daypass.cli import main
from support.messages import check

GROUPS = ("gate", "identity", "policy")


@pytest.mark.parametrize("command", GROUPS)
def test_help_lists_each_subcommand_with_its_summary(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    group = importlib.import_module(f"daypass.cli.{command}")
    assert main([command, "--help"]) == 0
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
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err.splitlines()[0]
    assert hint in err.splitlines()[1]
    check(err, reason="usage")
