"""`daypass completion`: what a shell completes, made from the commands' own parsers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from daypass.integrations.completion.words import Words

SHELLS = ("bash", "zsh", "fish")
SUMMARY = "a script with which a shell completes daypass' commands and options"
EPILOG = """examples:
  daypass completion bash > ~/.local/share/bash-completion/completions/daypass
  daypass completion zsh > ~/.zfunc/_daypass            (with ~/.zfunc in fpath, before compinit)
  daypass completion fish > ~/.config/fish/completions/daypass.fish
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("shell", choices=SHELLS, help="which one it is for")


def run(args: Namespace) -> int:
    """Print the script."""
    from daypass.cli import write
    from daypass.integrations.completion import shells

    write(getattr(shells, args.shell)(all_words()))
    return 0


def all_words() -> Words:
    """Every command with its options, and the commands below it."""
    from daypass.cli import COMMANDS
    from daypass.integrations.completion.words import Option, Words

    flags = tuple(
        Option(names=names, summary=summary, takes="", choices=())
        for names, summary in ((("-h", "--help"), "what there is"), (("-V", "--version"), "which"))
    )
    commands = {name: _words(name, home) for name, home in COMMANDS.items()}
    return Words(summary="", options=flags, commands=commands)


def _words(name: str, home: str) -> Words:
    from dataclasses import replace

    from daypass.cli import make_parser
    from daypass.integrations.completion.words import words_of

    module: Any = __import__(home, fromlist=["SUMMARY"])
    below = {
        sub: _words(f"{name} {sub}", f"{home}.{sub}") for sub in getattr(module, "COMMANDS", ())
    }
    return replace(words_of(make_parser(name, module), module.SUMMARY), commands=below)
