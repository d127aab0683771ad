"""`daypass __complete`: what it offers. What shells do with it is in tests/packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from tools.reference.commands import command_parsers

from daypass import cli
from daypass.cli.completion import FILES, NOTHING_ELSE

Offered = Callable[..., dict[str, str]]


@pytest.fixture
def offered(capsys: pytest.CaptureFixture[str]) -> Offered:
    """Complete the last word; the candidates and their summaries, if the directive is this one."""

    def complete(*words: str, directive: int = NOTHING_ELSE) -> dict[str, str]:
        assert cli.main(["__complete", *words]) == 0
        out, err = capsys.readouterr()
        *lines, last = out.splitlines()
        assert (err, last) == ("", f":{directive}")
        return {name: summary for name, _, summary in (line.partition("\t") for line in lines)}

    return complete


def test_every_command_is_offered_with_its_summary(offered: Offered) -> None:
    parsers = command_parsers()
    for path in [(), *parsers]:
        below = {each[-1]: it for each, it in parsers.items() if each[:-1] == path}
        if below:
            found = offered(*path, "")
            assert set(found) == set(below)
            assert all(str(below[name].description).startswith(found[name]) for name in found)
            assert all(found.values())
            assert offered("help", *path, "") == found


def test_every_option_of_every_command_is_offered(offered: Offered) -> None:
    for path, parser in command_parsers().items():
        found = offered(*path, "-")
        known = parser._option_string_actions
        assert set(found) == set(known)
        assert all((known[name].help or "").startswith(found[name]) for name in found)
        assert found["--help"]


@pytest.mark.parametrize(
    ("line", "directive", "candidates"),
    [
        ("tok", NOTHING_ELSE, "token"),
        ("--v", NOTHING_ELSE, "--version"),
        ("help tok", NOTHING_ELSE, "token"),
        ("completion z", NOTHING_ELSE, "zsh"),
        ("token --output ", NOTHING_ELSE, "text json yaml header"),
        ("token --output=he", NOTHING_ELSE, "header"),
        ("token --audience ", NOTHING_ELSE, ""),
        ("token --credentials ", FILES, ""),
        ("token --credentials=", FILES, ""),
        ("trace team/bot ", FILES, ""),
        ("token --no-cache --aud", NOTHING_ELSE, "--audience"),
        ("token --audience x --aud", NOTHING_ELSE, ""),
        ("identity authorize bot --in x --in", NOTHING_ELSE, "--in --inference-only"),
        ("identity delete --dry-run=s", NOTHING_ELSE, "server"),
        ("run --fi", NOTHING_ELSE, "--file"),
        ("run -- ", FILES, ""),
        ("token -- ", NOTHING_ELSE, ""),
        ("", NOTHING_ELSE, " ".join(cli.COMMANDS)),
    ],
)
def test_what_is_offered_depends_on_the_words_before(
    offered: Offered, line: str, directive: int, candidates: str
) -> None:
    assert list(offered(*line.split(" "), directive=directive)) == candidates.split()


def test_it_is_fast_without_slow_imports() -> None:
    script = """
import sys
from daypass.cli import main
main(["__complete", "identity", "create", "--do"])
print(sys.modules.keys() & {"httpx2", "pydantic", "yaml", "cryptography"}, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == "set()\n"
    assert "--door" in done.stdout
