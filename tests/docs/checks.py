"""What documentation says of daypass, checked by daypass itself, without running it."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterable, Iterator
from functools import cache
from textwrap import dedent

import pytest
from tools.docs.pages import ROOT, Block, Page
from tools.reference.commands import command_parsers

from daypass._core.errors import MissingExtraError
from docs.data import DATA, data_mistakes, kinds_in
from docs.shell import SHELL, ShellError, commands_in, lines_of, synopsis_words
from support.hints import mistake_in

RUN = (*SHELL, "python")
LANGUAGES = (*RUN, *DATA, "text", "go", "js", "java")
NOT_RUN = "not run, for a reason that the page gives; options and names of daypass are checked"
IN_A_FILE = "compared with a file that other tests run"
RUN_ELSEWHERE = {
    "python": ("examples/*.py", "tests/contract/*.py", "tests/clients/*/*.py"),
    "go": ("examples/with_go/*.go",),
    "js": ("examples/*.mjs",),
    "java": ("examples/*.java",),
}
"""A block that is a part of such a file is not run: tests run the whole file."""
_PLACEHOLDER = re.compile(r"<[\w -]+>|[A-Z][A-Z0-9_]*|.*\.\.\.")
_TARGETS = frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
_PARSERS = cache(command_parsers)


def report(mistakes: Iterable[str]) -> None:
    """Fail with one line for each mistake, if there is one."""
    if lines := list(mistakes):
        pytest.fail("\n".join(lines), pytrace=False)


@cache
def treatment(block: Block) -> str:
    """Return how a block is checked; empty if it is not."""
    if block.language in DATA and (kinds := kinds_in(block)):
        return f"read as {', '.join(kinds)}"
    if block.language == "text" and block.code.startswith("daypass "):
        return "compared with the options of the command"
    if _is_part_of_a_file(block):
        return IN_A_FILE
    if block.not_run:
        return NOT_RUN
    return "run" if block.language in RUN else ""


def _is_part_of_a_file(block: Block) -> bool:
    """Whether these lines stand together in a file that tests run, at any indentation."""
    lines = block.code.strip("\n").splitlines()
    patterns = RUN_ELSEWHERE.get(block.language, ())
    files = [file for pattern in patterns for file in ROOT.glob(pattern)]
    return any(
        dedent("\n".join(whole[start : start + len(lines)])).splitlines() == lines
        for whole in (file.read_text().splitlines() for file in files)
        for start, line in enumerate(whole)
        if line.strip() == lines[0].strip()
    )


def block_mistakes(block: Block) -> Iterator[str]:
    """Yield what is wrong with a block, by its language."""
    if block.language in SHELL:
        yield from _command_mistakes(block)
    elif block.language == "python" and treatment(block) != IN_A_FILE:
        yield from _python_mistakes(block)
    elif block.language in DATA:
        yield from data_mistakes(block)
    elif block.language == "text":
        yield from _text_mistakes(block)
    if block.language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        yield f"{block.place}: {block.language!r} is not checked: write one of {known}"
    elif not treatment(block):
        yield f"{block.place}: this {block.language} is not checked: no reader of it is known"


def _command_mistakes(block: Block) -> Iterator[str]:
    """Yield one line for each command of a shell block that its program would refuse."""
    try:
        for command in commands_in(block):
            for words in lines_of("daypass", command.code, command.place):
                has_placeholder = any(_PLACEHOLDER.fullmatch(word) for word in words)
                if mistake := mistake_in("daypass", words, loosely=has_placeholder):
                    yield f"{command.place}: daypass {' '.join(words)}: {mistake}"
            for words in lines_of("make", command.code, command.place):
                for word in words:
                    if word not in _TARGETS and "=" not in word and not word.startswith("-"):
                        yield f"{command.place}: make has no target {word!r}"
    except ShellError as error:
        yield str(error)


def _python_mistakes(block: Block) -> Iterator[str]:
    """Yield why Python would not parse a block, and each name of daypass that does not exist."""
    try:
        tree = compile(
            block.code, block.place, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
    except SyntaxError as error:
        yield f"{block.place}: {error}"
        return
    for node in ast.walk(tree):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        names = [it.name for it in node.names] if isinstance(node, ast.Import) else [name]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{it.name}" for it in node.names]
        for each in names:
            if re.fullmatch(r"daypass(\.\w+)+", each) and not _exists(each):
                yield f"{block.place}: there is no {each}"


def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except MissingExtraError:  # kfp has an environment of its own
        return True
    except (ImportError, AttributeError):
        return False
    return True


def _text_mistakes(block: Block) -> Iterator[str]:
    """Yield one line for each command in a `text` block, and each unknown option of a synopsis."""
    for line in block.code.splitlines():
        if line.startswith("$ "):
            yield f"{block.place}: commands after `$ ` belong into a `console` block: {line!r}"
        elif line.startswith("daypass "):
            yield from _option_mistakes(line, block.place)


def span_mistakes(page: Page) -> Iterator[str]:
    """Yield one line for each unknown command or option in the code inside of sentences."""
    for place, span in page.spans:
        if span.startswith("daypass "):
            yield from _option_mistakes(span, place)


def _option_mistakes(line: str, place: str) -> Iterator[str]:
    """Yield what a synopsis names and daypass does not have; values are not looked at."""
    words = tuple(word.rstrip(",") for word in synopsis_words(line)[1:])
    if not words or words[0].startswith(("-", "_")) or _PLACEHOLDER.fullmatch(words[0]):
        return
    known = [path for path in ((), *_PARSERS()) if words[: len(path)] == path]
    path = max(known, key=len)
    rest = words[len(path) :]
    is_group = any(len(each) > len(path) and each[: len(path)] == path for each in _PARSERS())
    if is_group and rest and not rest[0].startswith("-"):
        yield f"{place}: `{line}`: {' '.join(('daypass', *path))} has no command {rest[0]!r}"
        return
    options = _PARSERS()[path]._option_string_actions
    for word in rest[: rest.index("--") if "--" in rest else None]:
        if word.startswith("-") and word != "-" and word.split("=")[0] not in options:
            yield f"{place}: `{line}`: daypass {' '.join(path)} has no option {word!r}"
