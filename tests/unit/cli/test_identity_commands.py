"""`daypass identity`: invalid arguments are refused before any request is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main
from support.messages import check

CONFIG = """
version: 1
domains: {x: {host: localhost, front: envoy}}
policy: {audiences: [gate]}
"""


VERBS = ("create", "rotate", "revoke", "delete", "show")
USAGE_ERRORS = {
    "create bot --domain nope": "'nope'",
    "create bot -o yaml": "-o ./yaml",
    "create bot -o x.json --output yaml": "--output",
    "create bot --expires 0": "0",
    "create bot --expires soon": "'soon'",
    "create bot --certificate-authority none": "none",
    "create bot --config none.yaml": "none.yaml",
    "create Bot": "'Bot'",
    "rotate": "--all",
    "rotate --all": "--output-dir",
    "rotate bot --older-than 1d": "--older-than",
    "rotate bot -o - --output json": "stdout",
    "reap -n x -A": "-n and -A",
    "reap --render -A": "--image",
    "reap --render --image x": "-A",
    "rotate bot --overlap 9999999999d": "9999999999d",
    "rotate bot -o json": "-o ./json",
    "list -n ../kube-system": "'../kube-system'",
    "reap -n Ü": "'Ü'",
}
"""Arguments, and what the message names of them or asks for."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, in which the command runs."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "daypass.yaml").write_text(CONFIG)
    monkeypatch.chdir(here)
    return here


def usage_error(arguments: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints that ends with 2, and writes no file."""
    assert main(["identity", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [file.name for file in here.iterdir()] == ["daypass.yaml"]
    check(captured.err, reason="usage")
    return captured.err


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(("arguments", "named"), USAGE_ERRORS.items(), ids=USAGE_ERRORS)
def test_invalid_arguments_are_a_usage_error(
    arguments: str, named: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in usage_error(arguments.split(), here, capsys)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("length", "named"), [(225, "225"), (254, "224")], ids=["225", "254"])
def test_a_name_too_long_for_secret_names_is_a_usage_error(
    length: int, named: str, verb: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in usage_error([verb, "b" * length], here, capsys)


@pytest.mark.parametrize(
    "command",
    ["create", "rotate", "revoke", "reap", "delete"],
)
def test_every_subcommand_has_help_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identity", command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: daypass identity {command}")
    assert f"  daypass identity {command}" in out.partition("examples:")[2]
