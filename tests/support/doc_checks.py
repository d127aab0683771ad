"""What documentation says of daypass, checked by daypass itself."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence

import pytest
from tools.docs.pages import ROOT, Block, Page

from daypass import cli
from daypass.cli.parser import make_parser
from support.doc_data import DATA, data_mistakes
from support.doc_shell import SHELL, ShellError, commands_in, lines_of, synopsis_words
from support.examples import is_part_of
from support.hints import mistake_in

_PLACEHOLDER = re.compile(r"<[\w -]+>|[A-Z][A-Z0-9_]*|.*\.\.\.")
_TARGETS = frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def report(mistakes: Iterable[str]) -> None:
    """Fail with one line for each mistake, if there is one."""
    if lines := list(mistakes):
        pytest.fail("\n".join(lines), pytrace=False)


def command_mistakes(block: Block) -> Iterator[str]:
    """Yield one line for each command of a shell block that its program would refuse."""
    try:
        for command in commands_in(block):
            for words in lines_of("daypass", command.code, command.place):
                has_placeholder = any(_PLACEHOLDER.fullmatch(word) for word in words)
                if mistake := mistake_in("daypass", words, loosely=has_placeholder):
                    yield f"{command.place}: daypass {' '.join(words)}: {mistake}"
            for words in lines_of("make", command.code, command.place):
                targets = [word for word in words if "=" not in word and not word.startswith("-")]
                for word in targets:
                    if word not in _TARGETS:
                        yield f"{command.place}: make has no target {word!r}"
    except ShellError as error:
        yield str(error)


def text_mistakes(block: Block) -> Iterator[str]:
    """Yield one line for each command in a `text` block, and each unknown option of a synopsis."""
    for line in block.code.splitlines():
        if line.startswith("$ "):
            yield f"{block.place}: commands after `$ ` belong into a `console` block: {line!r}"
        elif line.startswith("daypass "):
            yield from option_mistakes(line, block.place)


def span_mistakes(page: Page) -> Iterator[str]:
    """Yield one line for each unknown command or option in the code inside of sentences."""
    for place, span in page.spans:
        if span.startswith("daypass "):
            yield from option_mistakes(span, place)


def option_mistakes(line: str, place: str) -> Iterator[str]:
    """Yield what a synopsis names and daypass does not have; values are not looked at."""
    words = synopsis_words(line)[1:]
    if not words or words[0].startswith(("-", "_")) or _PLACEHOLDER.fullmatch(words[0]):
        return
    name, *rest = words
    if name not in cli.COMMANDS:
        yield f"{place}: `{line}`: daypass has no command {name!r}"
        return
    module = importlib.import_module(cli.COMMANDS[name])
    below: Sequence[str] = getattr(module, "COMMANDS", ())
    if below and rest and not rest[0].startswith("-"):
        if (sub := rest[0].rstrip(",")) not in below:
            yield f"{place}: `{line}`: daypass {name} has no command {sub!r}"
            return
        name, module = f"{name} {sub}", importlib.import_module(f"{module.__name__}.{sub}")
    if "--" in rest:
        rest = rest[: rest.index("--")]
    known = make_parser(name, module)._option_string_actions
    for word in rest:
        if word.startswith("-") and word != "-" and word.split("=")[0] not in known:
            yield f"{place}: `{line}`: daypass {name} has no option {word!r}"


def block_mistakes(block: Block) -> Iterator[str]:
    """Yield what is wrong with a block, by its language."""
    if block.part_of and not is_part_of(block.code, ROOT / block.part_of):
        yield f"{block.place}: these lines are not in {block.part_of}"
    if block.language in SHELL:
        yield from command_mistakes(block)
    elif block.language == "text":
        yield from text_mistakes(block)
    elif block.language in DATA:
        yield from data_mistakes(block)
    elif block.language != "python" and not block.not_run:
        known = ", ".join((*SHELL, *DATA, "python", "text"))
        yield f"{block.place}: a block of {block.language!r} is not checked: write one of {known}"
