"""`daypass completion`: scripts for bash, zsh and fish, generated from the commands' parsers.

The scripts are self-contained: completing a word starts no Python. Each one finds the command that
the line has reached (`at`: its words, joined by spaces). Then it offers the values of an option, or
the command's subcommands, arguments and options, or else files. After `--` comes another command.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from daypass import cli

if TYPE_CHECKING:
    from collections.abc import Callable

SUMMARY = "a script with which a shell completes daypass commands and options"
EPILOG = """examples:
  daypass completion bash > ~/.local/share/bash-completion/completions/daypass
  daypass completion zsh > ~/.zfunc/_daypass            (with ~/.zfunc in fpath, before compinit)
  daypass completion fish > ~/.config/fish/completions/daypass.fish
"""
SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "DIR", "PATH")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    scripts: dict[str, Callable[[CommandWords], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
    cli.write(scripts[args.shell](all_words()))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionWords:
    """An option: its names, and what it takes: nothing (`""`), a `file`, or a `word`."""

    names: tuple[str, ...]
    summary: str
    takes: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWords:
    """A command: its options, its subcommands, and the words that its arguments can be."""

    summary: str
    options: tuple[OptionWords, ...] = ()
    choices: tuple[str, ...] = ()
    commands: dict[str, CommandWords] = field(default_factory=dict)

    def walk(self, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], CommandWords]]:
        """Return this command and all below it, each with the words that lead to it."""
        below = [found for name, it in self.commands.items() for found in it.walk((*path, name))]
        return [(path, self), *below]


def all_words() -> CommandWords:
    """Return every command with its options and subcommands."""
    flags = tuple(
        OptionWords(names=names, summary=summary, takes="", choices=())
        for names, summary in ((("-h", "--help"), "show help"), (("-V", "--version"), "which"))
    )
    commands = {name: _module_words(name, home) for name, home in cli.COMMANDS.items()}
    return CommandWords(summary="", options=flags, commands=commands)


def _module_words(name: str, home: str) -> CommandWords:
    from daypass.cli.parser import make_parser

    module: Any = __import__(home, fromlist=["SUMMARY"])
    below = {
        sub: _module_words(f"{name} {sub}", f"{home}.{sub}")
        for sub in getattr(module, "COMMANDS", ())
    }
    return replace(_parser_words(make_parser(name, module), module.SUMMARY), commands=below)


def _parser_words(parser: argparse.ArgumentParser, summary: str) -> CommandWords:
    options: list[OptionWords] = []
    choices: tuple[str, ...] = ()
    for action in parser._actions:  # argparse has no public list of them
        found = tuple(str(choice) for choice in action.choices or ())
        if not action.option_strings:
            choices += found
            continue
        takes = "" if action.nargs == 0 else "word"
        if takes and (action.metavar in _FILES or getattr(action.type, "__name__", "") == "Path"):
            takes = "file"
        options.append(
            OptionWords(
                names=tuple(action.option_strings),
                summary=(action.help or "").partition(";")[0].partition(" (")[0],
                takes=takes,
                choices=found,
            )
        )
    return CommandWords(summary=summary, options=tuple(options), choices=choices)


_BASH = """\
# bash completion of daypass; made by `daypass completion bash`
_daypass() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at="" word words=""
    local i
    COMPREPLY=()
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ $word == "--" ]]; then
            if ((i == COMP_CWORD - 1)); then COMPREPLY=($(compgen -c -- "$cur")); fi
            return
        fi
        case "$at $word" in
            {commands}) at="${{at:+$at }}$word" ;;
        esac
    done
    case "$at $prev" in
{values}
    esac
    case "$at" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _daypass daypass
"""

_ZSH = """\
#compdef daypass
# zsh completion of daypass; made by `daypass completion zsh`
_daypass() {{
    local cur=$words[CURRENT] prev=$words[CURRENT-1] at="" word
    local -a offered
    integer i
    for ((i = 2; i < CURRENT; i++)); do
        word=$words[i]
        if [[ $word == "--" ]]; then
            shift $i words; ((CURRENT -= i)); _normal; return
        fi
        case "$at $word" in
            ({commands}) at="${{at:+$at }}$word" ;;
        esac
    done
    if [[ $cur == --*=* ]]; then prev=${{cur%%=*}}; compset -P "*="; fi
    case "$at $prev" in
{values}
    esac
    case "$at" in
{words}
    esac
    _describe -t words word offered || _files
}}
if [[ $funcstack[1] == _daypass ]]; then _daypass "$@"; else compdef _daypass daypass; fi
"""

_FISH = """\
# fish completion of daypass; made by `daypass completion fish`
function __daypass_at
    set -l at
    for word in (commandline -opc)[2..-1]
        contains -- $word -- --; and return 1
        contains -- "$at $word" {commands}; and set at (string trim -- "$at $word")
    end
    test "$at" = "$argv"
end
complete -c daypass -f
{lines}
"""


def bash(top: CommandWords) -> str:
    """Return the script for bash."""
    values, words = [], []
    for path, it in top.walk():
        at = " ".join(path)
        for option in it.options:
            if option.takes:
                names = "|".join(f'"{at} {name}"' for name in option.names)
                offer = f'words="{" ".join(option.choices)}"' if option.choices else "return"
                reply = '; COMPREPLY=($(compgen -W "$words" -- "$cur")); return'
                values.append(f"        {names}) {offer}{reply if option.choices else ''} ;;")
        words.append(f'        "{at}") words="{" ".join(_offered(it))}" ;;')
    return _BASH.format(commands=_commands(top), values="\n".join(values), words="\n".join(words))


def zsh(top: CommandWords) -> str:
    """Return the script for zsh."""
    values, words = [], []
    for path, it in top.walk():
        at = " ".join(path)
        for option in it.options:
            if option.takes:
                names = "|".join(f'"{at} {name}"' for name in option.names)
                offer = f"compadd -- {' '.join(option.choices)}" if option.choices else "_files"
                values.append(f"        ({names}) {offer}; return ;;")
        offered = [_pair(name, summary) for name, summary in _offered(it).items()]
        words.append(f'        ("{at}") offered=({" ".join(offered)}) ;;')
    return _ZSH.format(commands=_commands(top), values="\n".join(values), words="\n".join(words))


def fish(top: CommandWords) -> str:
    """Return the script for fish."""
    lines = []
    for path, it in top.walk():
        begin = f"complete -c daypass -n '__daypass_at {' '.join(path)}'"
        for name, below in it.commands.items():
            lines.append(f"{begin} -a {name} -d {_quoted(below.summary)}")
        if it.choices and not it.commands:
            lines.append(f"{begin} -a {_quoted(' '.join(it.choices))}")
        for option in it.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            takes = {"": "", "file": " -r -F", "word": " -x"}[option.takes]
            if option.choices:
                takes = f" -x -a {_quoted(' '.join(option.choices))}"
            lines.append(f"{begin} {names}{takes} -d {_quoted(option.summary)}")
    commands = " ".join(f"'{entry}'" for entry in _entries(top))
    return _FISH.format(commands=commands, lines="\n".join(lines))


def _entries(top: CommandWords) -> list[str]:
    """Return for each command the words before it (`at`), a space, and its name."""
    return [f"{' '.join(path[:-1])} {path[-1]}" for path, _ in top.walk() if path]


def _commands(top: CommandWords) -> str:
    return "|".join(f'"{entry}"' for entry in _entries(top))


def _offered(words: CommandWords) -> dict[str, str]:
    commands = {name: below.summary for name, below in words.commands.items()}
    arguments = {} if commands else dict.fromkeys(words.choices, "")
    options = {name: option.summary for option in words.options for name in option.names}
    return {**commands, **arguments, **options}


def _pair(name: str, summary: str) -> str:
    return _quoted(f"{name}:{summary}" if summary else name)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
