"""Command lines that `argparse` reads: commands, groups of them, help, and mistyped names."""

import argparse
import gc
import importlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from daypass._core import hints
from daypass._core.errors import MissingExtraError, UsageError
from daypass._core.hints import command, docs_page
from daypass._core.text import suggest

HELP = ("-h", "--help")
EPILOG = f"""examples:
  daypass demo                            see all of it, without a cluster
  daypass identity create bot             create credentials for a client
  daypass token --credentials bot.json    exchange them for a token
  daypass help identity create            describe a command

Terminals get colours; the variables NO_COLOR and CLICOLOR_FORCE change that.
The documentation is in {docs_page("")}
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are UsageErrors: what is wrong, and what to type instead."""

    color: bool
    """Whether the argparse of Python 3.14 paints help, by a rule of its own."""

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Return the arguments in these words. Raises UsageError; SystemExit after --help."""
        self._refuse_unknown(words)
        words = [self._with_optional_value(word) for word in words]
        found, extra = self.parse_known_args(words)
        if extra:
            fact = f"`{self.prog}` takes no argument {extra[0][:40]!r}"
            raise UsageError(fact, self._help_hint())
        return found

    def _with_optional_value(self, word: str) -> str:
        """Return an option without its optional value with it: it never takes the next word."""
        action = self._option_string_actions.get(word)
        return f"{word}={action.const}" if action and action.nargs == "?" else word

    def format_help(self) -> str:
        """Return the help, with optional values after an equals sign."""
        return re.sub(r"(--[a-z-]+) \[(?=\w)", r"\1[=", super().format_help())

    def error(self, message: str) -> NoReturn:
        """Raise UsageError. Called by argparse."""
        fact = message.removeprefix("argument ")
        fact = fact.replace(": expected one argument", " needs a value")
        fact = fact.replace(": not allowed with argument", " cannot be combined with")
        raise UsageError(fact, self._help_hint())

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        try:
            return super()._get_values(action, arg_strings)
        except UsageError as error:
            (name,) = action.option_strings[-1:] or (action.metavar,)
            raise UsageError(f"{name}: {error.fact}", error.hint) from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        fact = f"{str(value)[:40]!r} is not one of {', '.join(known)}"
        before = "".join(f"{name} " for name in action.option_strings[:1])
        raise UsageError(fact, _did_you_mean(str(value), known, self._help_hint(), before))

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        known = self._option_string_actions
        for word in words:
            if word == "--":
                return
            name, equals, _ = word.partition("=")
            if not word.startswith("-") or word == "-" or " " in word or word[1].isdigit():
                continue  # a value
            if name in known and equals and known[name].nargs == 0:
                raise UsageError(f"{name} takes no value", self._help_hint())
            if name not in known and (word.startswith("--") or word[:2] not in known):
                fact = f"`{self.prog}` has no option {name[:40]!r}"
                raise UsageError(fact, _did_you_mean(name, known, self._help_hint()))

    def _help_hint(self) -> str:
        return f"`{command(*self.prog.split()[1:], '--help')}` describes its arguments"


def parse(name: str, module: Any, arguments: list[str]) -> argparse.Namespace:
    """Return the arguments of a command; `name` is `token` or `gate serve`."""
    args = make_parser(name, module).parse(arguments)
    args.words = name, arguments
    return args


def run_command(name: str, module: Any, args: argparse.Namespace, known: Mapping[str, str]) -> int:
    """Run a command's module. `known`: the modules of all commands, by name.

    Raises MissingExtraError if a library of the module's EXTRA is not installed.
    """
    extra: str | None = getattr(module, "EXTRA", "admin")
    if extra == "admin":  # It ends soon, and makes little garbage while it imports much.
        gc.set_threshold(100_000)
        hints.carry = partial(_carried, args, known)  # the logs of others are read elsewhere
    try:
        code: int = module.run(args)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("daypass"):
            raise
        raise MissingExtraError(f"`daypass {name}`", extra) from error
    finally:
        hints.carry = hints.carry_nothing
    return code


_CLUSTER = {"--context", "--kubeconfig"}


def _carried(
    args: argparse.Namespace, known: Mapping[str, str], program: str, words: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the options of this command that a line in a hint needs, too: those that name another
    cluster, config, folder or state, if the line takes them and names no cluster of its own.
    """
    given, named = ({word.partition("=")[0] for word in each} for each in (args.words[1], words))
    given &= {*_CLUSTER, "--config", "--state", "--directory"} if program == "daypass" else _CLUSTER
    if words[:1] == ("render",):  # with a folder it writes there, and prints nothing
        given -= {"--directory"}
    if not given or not named.isdisjoint({*_CLUSTER, *HELP, "--"}):
        return ()
    if program == "daypass":
        given &= parser_of(words, known)._option_string_actions.keys() - named
    return tuple(word for each in sorted(given) for word in (each, str(getattr(args, each[2:]))))


def find_subcommand(name: str, package: Any, arguments: list[str]) -> tuple[str, Any, list[str]]:
    """Return the command of a group that is named first: name, module and its own arguments.

    Raises UsageError if the group has no such command.
    """
    first = arguments[0]
    if first not in package.COMMANDS:
        raise unknown_command(f"daypass {name}", first, package.COMMANDS)
    module = importlib.import_module(f"{package.__name__}.{first}")
    return f"{name} {first}", module, arguments[1:]


def parser_of(words: Sequence[str], known: Mapping[str, str]) -> Parser:
    """Return the parser of the command that these words begin with. Raises UsageError for another.

    `known`: the modules of all commands, by name.
    """
    name, *rest = words
    if name not in known:
        raise unknown_command("daypass", name, known)
    module = importlib.import_module(known[name])
    if rest and hasattr(module, "COMMANDS"):
        name, module, _ = find_subcommand(name, module, rest)
    return make_parser(name, module)


def make_parser(name: str, module: Any) -> Parser:
    """Return the parser of a command or, for its help, of a group."""
    parser = Parser(
        prog=f"daypass {name}",
        description=module.SUMMARY,
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.color = False
    if hasattr(module, "COMMANDS"):
        below = {
            each: importlib.import_module(f"{module.__name__}.{each}").SUMMARY
            for each in module.COMMANDS
        }
        lines = [f"  {each:<{max(map(len, below))}}  {it}" for each, it in below.items()]
        parser.description = "\n".join([f"{module.SUMMARY}\n", *lines])
        parser.add_argument("command", metavar="COMMAND", help="one of those above")
        parser.epilog = f"{module.EPILOG}\n`{parser.prog} COMMAND --help` describes each of them.\n"
    else:
        module.add_arguments(parser)
    return parser


def unknown_command(program: str, word: str, known: Iterable[str]) -> UsageError:
    """Return the error for a word that is no command of a group, or of daypass (a mapping)."""
    line = f"`{command(*program.split()[1:], '--help')}` describes the commands: {', '.join(known)}"
    # Below a fact, a hint is indented by two.
    line = textwrap.fill(line, 78, break_long_words=False, break_on_hyphens=False)
    if word.startswith("-"):
        fact = f"`{program}` has no option {word[:40]!r}"
        return UsageError(fact, f"options follow the command\n{line}")
    paths = list(known)
    if isinstance(known, Mapping):
        for name, home in known.items():
            below = getattr(importlib.import_module(home), "COMMANDS", ())
            paths += [f"{name} {each}" for each in below]
    fact = f"`{program}` has no command {word[:40]!r}"
    return UsageError(fact, _did_you_mean(word, paths, line, f"{program} "))


def _did_you_mean(word: str, known: Iterable[str], otherwise: str, before: str = "") -> str:
    """Return a hint with the commands or options that were probably meant, or the other hint."""
    last = {each: each.rpartition(" ")[2] for each in known}
    near = [each for each in last if last[each] == word] or [*filter(None, [suggest(word, last)])]
    return f"did you mean {' or '.join(f'`{before}{it}`' for it in near)}?" if near else otherwise
