"""Mistakes in options and arguments: the message names the mistake, the hint what to type."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
from tools.reference.commands import command_parsers

from daypass.cli import COMMANDS, main
from daypass.cli.help import help_text
from support.hints import mistake_in
from support.messages import check

SHOW_HELP = "daypass {} --help"
LINES = {
    "token --audence x": ("'--audence'", "`--audience`"),
    "token --audence=x --zzz": ("'--audence'", "`--audience`"),
    "token -audience x": ("'-audience'", "`--audience`"),
    "token --zzz": ("'--zzz'", SHOW_HELP.format("token")),
    "token -x": ("'-x'", SHOW_HELP.format("token")),
    "token --aud x": ("'--aud'", "`--audience`"),
    "token --no-cache=yes": ("--no-cache", SHOW_HELP.format("token")),
    "token --audience": ("--audience needs a value", SHOW_HELP.format("token")),
    "token --output jsn": ("'jsn' is not one of text, json, yaml, header", "`-o json`"),
    "token --output zzz": (
        "'zzz' is not one of text, json, yaml, header",
        SHOW_HELP.format("token"),
    ),
    "token inspect": ("'inspect'", SHOW_HELP.format("token")),
    "token extra": ("'extra'", SHOW_HELP.format("token")),
    "token '\x1b[2J'": (r"'\x1b[2J'", SHOW_HELP.format("token")),
    "completion bsh": ("'bsh' is not one of bash, zsh, fish", "`bash`"),
    "completion bash zsh": ("'zsh'", SHOW_HELP.format("completion")),
    "agent": ("--config", "daypass agent --config"),
    "kubeconfig": ("--server URL", "daypass kubeconfig --server"),
    "identity create": ("NAME", "daypass identity create bot"),
    "identity creat bot": ("'creat'", "`daypass identity create`"),
    "identity authorize": (
        "NAME and --in NS[,NS] or --model NS/MODEL",
        "daypass identity authorize bot -n team --in alice,bob --role view",
    ),
    "identity federate bot": (
        "--issuer URL, --subject S, --source SOURCE and --credentials-out FILE",
        "daypass identity federate ci -n team",
    ),
    "identity authorize bot --in a --role view --cluster-role x": (
        "--cluster-role cannot be combined with --role",
        SHOW_HELP.format("identity authorize"),
    ),
    "gate explain": ("--token-file", "daypass gate explain --token-file"),
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


@pytest.mark.parametrize("width", [50, 80, 120])
@pytest.mark.parametrize("path", [(), *command_parsers()])
def test_help_fits_the_terminal_and_leaves_examples_whole(
    path: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        usage, _, rest = help_text(path).partition("\n\n")
        assert max(map(len, usage.splitlines())) <= columns
        return rest

    wide, folded = shown(1000), shown(width)
    assert "".join(folded.split()) == "".join(wide.split())
    commands = [
        line for line in wide.splitlines() if re.match(r"  +(.*\| )?(daypass|kubectl)", line)
    ]
    for line in commands:
        assert re.split(r"(?<=\S)  +", line)[0] in folded
    for line in folded.splitlines():
        is_term = re.match(r"  \S+$|  .*(daypass|kubectl|\$schema|--\w)", line)
        assert len(line) <= width or (is_term and width < 80), line
