"""Scripts for bash, zsh and fish.

All three walk the line to the command that it has got to (`at`: its words, joined by spaces), then
offer what an option takes, or else the command's subcommands, arguments and options. Where nothing
is offered, files are. Behind `--` stands another command.
"""

from __future__ import annotations

from daypass.integrations.completion.words import Words

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


def bash(top: Words) -> str:
    """The script for bash."""
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


def zsh(top: Words) -> str:
    """The script for zsh."""
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


def fish(top: Words) -> str:
    """The script for fish."""
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


def _entries(top: Words) -> list[str]:
    """The steps down to a command: where the line is, a space, and the next word."""
    return [f"{' '.join(path[:-1])} {path[-1]}" for path, _ in top.walk() if path]


def _commands(top: Words) -> str:
    return "|".join(f'"{entry}"' for entry in _entries(top))


def _offered(words: Words) -> dict[str, str]:
    commands = {name: below.summary for name, below in words.commands.items()}
    arguments = {} if commands else dict.fromkeys(words.choices, "")
    options = {name: option.summary for option in words.options for name in option.names}
    return {**commands, **arguments, **options}


def _pair(name: str, summary: str) -> str:
    return _quoted(f"{name}:{summary}" if summary else name)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
