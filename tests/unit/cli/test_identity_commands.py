"""The command lines of `daypass identity`: what makes no sense is told before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main

CONFIG = """
version: 1
domains: {x: {host: localhost, front: envoy}}
policy: {audiences: [gate]}
"""


VERBS = ("create", "rotate", "revoke", "delete", "show")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "bot", "--domain", "nope"], "no domain 'nope'"),
        (["create", "bot", "-o", "yaml"], "-o names the credentials file"),
        (["create", "bot", "-o", "x.json", "--output", "yaml"], "no credentials are made"),
        (["create", "bot", "--expires", "0"], "cannot end after 0"),
        (["create", "bot", "--expires", "soon"], "'soon' is no length of time"),
        (["create", "bot", "--certificate-authority", "none"], "none cannot be read"),
        (["create", "bot", "--config", "none.yaml"], "no such file"),
        (["create", "Bot"], "'Bot' is no name of a ServiceAccount"),
        *(([verb, "b" * 225], "a name of 225 characters is too long") for verb in VERBS),
        *(([verb, "b" * 254], "use up to 224: its Secrets are called NAME-") for verb in VERBS),
        (["rotate"], "no identity is named"),
        (["rotate", "--all"], "--output-dir"),
        (["rotate", "bot", "--older-than", "1d"], "add --all"),
        (["rotate", "bot", "-o", "-", "--output", "json"], "both"),
        (["reap", "-n", "x", "-A"], "both named"),
        (["reap", "--render", "-A"], "no image of daypass is published"),
        (["reap", "--render", "--image", "x"], "no namespace is named"),
        (["rotate", "bot", "--overlap", "9999999999d"], "not to work on for 9999999999d"),
        (["rotate", "bot", "-o", "json"], "-o names the credentials file"),
        (["list", "-n", "../kube-system"], "'../kube-system' is no namespace"),
        (["reap", "-n", "Ü"], "'Ü' is no namespace"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "daypass.yaml").write_text(CONFIG)
    monkeypatch.chdir(here)
    assert main(["identity", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert [file.name for file in here.iterdir()] == ["daypass.yaml"]


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
