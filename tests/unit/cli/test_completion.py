"""`daypass completion`: bash runs its script; the other scripts contain the same words."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daypass import cli
from daypass.cli.completion import SHELLS, all_words

ASK = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_daypass
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    from daypass.cli.completion import bash

    file = tmp_path_factory.mktemp("completion") / "daypass.bash"
    file.write_text(bash(all_words()))
    return file


def complete(script: Path, *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", str(script), "daypass", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_every_command_is_completed(script: Path) -> None:
    offered = complete(script, "")
    assert set(cli.COMMANDS) <= set(offered)
    assert complete(script, "tok") == ["token"]
    assert complete(script, "--ver") == ["--version"]


def test_every_option_of_every_command_is_completed(script: Path) -> None:
    for path, words in all_words().walk():
        offered = set(complete(script, *path, "-"))
        assert {name for option in words.options for name in option.names} <= offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["token", "--output", ""], ["text", "json", "header"]),
        (["token", "--output", "j"], ["json"]),
        (["token", "--output", "=", "he"], ["header"]),  # as bash splits --output=he
        (["token", "--output", "="], ["text", "json", "header"]),
        (["token", "--audience", ""], []),
        (["token", "--credentials", ""], []),  # bash goes on with files
        (["token", "--no-cache", "--aud"], ["--audience"]),
        (["completion", "z"], ["zsh"]),
        (["agent", "--log", "t"], ["text"]),
        (["nonsense", "tok"], ["token"]),
        (["run", "--", "--f"], []),
        (["run", "--", "bash", "--f"], []),
    ],
)
def test_completions_depend_on_the_words_before(
    script: Path, words: list[str], offered: list[str]
) -> None:
    assert complete(script, *words) == offered


def test_commands_are_completed_after_two_dashes(script: Path) -> None:
    assert "bash" in complete(script, "run", "--file", "--", "bas")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_contains_every_command_and_option(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for path, words in all_words().walk():
        assert not path or path[-1] in script
        for option in words.options:
            for name in option.names:
                assert name.lstrip("-") in script


def test_bash_accepts_its_script(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=60)
