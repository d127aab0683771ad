"""Completion: `daypass completion` prints a shell's script, which calls `daypass __complete`.

`daypass __complete WORDS...` prints what the last word can become: a line `candidate<TAB>summary`
for each, then `:` and a directive. Candidates and directives are those of cobra, so that kubectl
completes `kubectl daypass` too: its plugins have a program `kubectl_complete-NAME` for that.

Everything is derived from the parsers; no file is read, and no cluster is asked. The metavar of an
argument tells what it holds: FILE, DIR, PATH and (of `trace`) WHAT a file.
"""

import argparse
import io
import re
import sys
from contextlib import redirect_stderr, suppress
from importlib import import_module
from typing import Any

from daypass import cli
from daypass.cli.console import write

EXTRA = None
SUMMARY = "print a script that completes daypass commands in a shell"
EPILOG = """examples:
  daypass completion bash > ~/.local/share/bash-completion/completions/daypass
  daypass completion zsh > ~/.zfunc/_daypass            (with ~/.zfunc in fpath, before compinit)
  daypass completion fish > ~/.config/fish/completions/daypass.fish

It completes commands, options, their values, and files.
"""
FILES, NOTHING_ELSE = 0, 4
"""The shell completes files; nothing but the candidates."""

Offer = tuple[dict[str, str], int]
"""Candidates with their summaries, and a directive."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=tuple(_SCRIPTS), help="the shell")


def run(args: argparse.Namespace) -> int:
    write(_SCRIPTS[args.shell])
    return 0


def main_of_kubectl() -> int:
    """Complete `kubectl daypass`: the program `kubectl_complete-daypass`."""
    return cli.main(["__complete", *sys.argv[1:]])


def fast_path(argv: list[str]) -> int | None:
    """Complete a line for `daypass __complete`; return None for `daypass completion`."""
    return complete(argv[1:] or [""]) if argv[:1] == ["__complete"] else None


def complete(words: list[str]) -> int:
    """Print the candidates for the last word, and never an error. Changes nothing."""
    offered: dict[str, str] = {}
    directive = NOTHING_ELSE
    last = words[-1]
    begun = re.sub("^-[^=]*=", "", last)
    with redirect_stderr(io.StringIO()), suppress(Exception):
        offered, directive = _offer(words[:-1], last)
    lines = [
        f"{word}\t{summary}".rstrip()
        for word, summary in offered.items()
        if word and word.startswith(last if word.startswith("-") else begun)
    ]
    with suppress(Exception):
        write("\n".join([*lines, f":{directive}", ""]))
    return 0


def _offer(typed: list[str], last: str) -> Offer:
    from daypass.cli.parser import make_parser

    wants_help = typed[:1] == ["help"] and not last.startswith("-")
    path: list[str] = []
    module: Any = None
    below = cli.COMMANDS
    for word in typed[wants_help:]:
        if below:
            path.append(word)
            module = import_module(below[word])
            below = {each: f"{module.__name__}.{each}" for each in getattr(module, "COMMANDS", ())}
    if below and not last.startswith("-"):
        return {name: import_module(home).SUMMARY for name, home in below.items()}, NOTHING_ELSE
    if wants_help:
        return {}, NOTHING_ELSE
    if not path:
        also = {name: import_module(cli.COMMANDS[it]).SUMMARY for name, it in cli.ALSO.items()}
        return also, NOTHING_ELSE
    return _offer_argument(make_parser(" ".join(path), module), typed[len(path) :], last)


def _offer_argument(parser: argparse.ArgumentParser, typed: list[str], last: str) -> Offer:
    positional = [action for action in parser._actions if not action.option_strings]
    if runs := any(str(each.metavar).startswith("--") for each in positional):
        positional = []
    given: set[argparse.Action] = set()
    wanting: argparse.Action | None = None
    for word in typed:
        option, value = _option(parser, word)
        if wanting is not None:
            wanting = None
        elif word == "--":
            return {}, FILES if runs else NOTHING_ELSE
        elif option is not None:
            given.add(option)
            wanting = option if value is None and option.nargs is None else None
        elif positional and positional[0].nargs not in ("*", "+"):
            positional.pop(0)
    option, value = _option(parser, last)
    if wanting is not None:
        return _offer_value(wanting)
    if option is not None and value is not None:
        return _offer_value(option)
    if positional and not last.startswith("-"):
        return _offer_value(positional[0])
    options = {
        name: (action.help or "").partition(";")[0].partition(" (")[0]
        for action in parser._actions
        if action not in given or isinstance(action, argparse._AppendAction)
        for name in action.option_strings
    }
    return options, NOTHING_ELSE


def _option(
    parser: argparse.ArgumentParser, word: str
) -> tuple[argparse.Action | None, str | None]:
    """Return the option that a word names, and the value that it contains."""
    known = parser._option_string_actions
    name, equals, value = word.partition("=")
    return known.get(name), value if equals else None


def _offer_value(action: argparse.Action) -> Offer:
    if action.choices is not None:
        return dict.fromkeys(map(str, action.choices), ""), NOTHING_ELSE
    kind = re.split(r"[|[]", str(action.metavar))[0]
    return {}, FILES if kind in ("FILE", "DIR", "PATH", "WHAT") else NOTHING_ELSE


_BASH = r"""# bash completion of daypass
_daypass() {
    local piece=${COMP_WORDS[COMP_CWORD]} rest=${COMP_LINE:0:COMP_POINT}
    local glued word line directive=0 n=-1 words=()
    COMPREPLY=()
    # bash splits words at = and :, and replaces only the last piece.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD + 1}"; do
        if ((n < 0)) || [[ $rest == [[:space:]]* ]]; then words[++n]=$word; else words[n]+=$word; fi
        rest=${rest#*"$word"}
    done
    if [[ -z ${piece//[=:]/} ]]; then piece=""; fi
    glued=${words[n]%"$piece"}
    glued=${glued#-*=}
    while IFS= read -r line; do
        case $line in
            :*) directive=${line#:} ;;
            *) line=${line%%$'\t'*}; COMPREPLY+=("${line#"$glued"}") ;;
        esac
    done < <(command daypass __complete "${words[@]:1}" 2>/dev/null </dev/null)
    if ((directive != 4)); then compopt -o default 2>/dev/null; fi
}
complete -F _daypass daypass
"""
_ZSH = r"""#compdef daypass
# zsh completion of daypass
_daypass() {
    local line directive=0
    local -a lines offered
    lines=("${(@f)$(command daypass __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null </dev/null)}")
    for line in $lines; do
        case $line in
            (:*) directive=${line#:} ;;
            (?*) offered+=("${${line//:/\\:}/$'\t'/:}") ;;
        esac
    done
    if [[ $words[CURRENT] == -*=* ]]; then compset -P "*="; fi
    _describe -t daypass daypass offered || ((directive == 4)) || _files
}
if [[ $funcstack[1] == _daypass ]]; then _daypass "$@"; else compdef _daypass daypass; fi
"""
_FISH = r"""# fish completion of daypass
function __daypass_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (command daypass __complete $typed[2..-1] "$current" 2>/dev/null </dev/null)
    set -l option (string match -r -- '^-[^=]*=' "$current")
    set -l offered $lines[1..-2]
    switch "$lines[-1]"
        case :0
            set offered (__fish_complete_path (string replace -- "$option" '' "$current"))
    end
    for line in $offered
        printf '%s\n' "$option$line"
    end
end
complete -c daypass -f -a '(__daypass_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
