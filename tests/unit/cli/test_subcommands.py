"""Commands below commands: found by name, or told what there is."""

from __future__ import annotations

import importlib

import pytest

from daypass.cli import main

GROUPS = ("gate", "identity", "policy")


@pytest.mark.parametrize("command", GROUPS)
def test_help_says_what_each_subcommand_does(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    group = importlib.import_module(f"daypass.cli.{command}")
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    for name in group.COMMANDS:
        summary = importlib.import_module(f"daypass.cli.{command}.{name}").SUMMARY
        assert any(line.split(maxsplit=1) == [name, summary] for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "fact", "hint"),
    [
        (
            ["identity", "lst"],
            "`daypass identity` has no command 'lst'",
            "`daypass identity list`?",
        ),
        (["policy", "aply", "-n", "x"], "has no command 'aply'", "`daypass policy apply`?"),
        (["policy", "zzz"], "has no command 'zzz'", "there are: render, apply, check"),
        (["identity", "-n", "team"], "has no option '-n'", "there are: create, list, show"),
        (["identity"], "no command is named", "there are: create, list, show"),
    ],
)
def test_an_unknown_subcommand_is_a_usage_error_that_names_the_nearest(
    arguments: list[str], fact: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert fact in err.splitlines()[0]
    assert hint in err.splitlines()[1]
