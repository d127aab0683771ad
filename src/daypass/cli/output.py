"""What commands print: JSON, Kubernetes objects, tables; and how they ask for confirmation."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import chain, repeat
from shlex import quote
from typing import TYPE_CHECKING, Any, NoReturn

from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import write_private
from daypass._core.findings import Finding, Level
from daypass._core.text import mask_unprintable, printable
from daypass.cli import log, warn, write
from daypass.cli.colour import paint, paint_lines
from daypass.cli.options import again

if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass.cli.output_data import Output
    from daypass.identity.model import Warn

WATCH_SECONDS = 2.0
"""Between two outputs; longer, if one takes long."""
CLEAR = "\x1b[H\x1b[2J"
LONGEST_CELL_CHARACTERS = 4000

MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "-"}


def as_text(data: object, output: str, *, indent: int | None = 2) -> str:
    text = json.dumps(data, indent=indent, default=asdict)
    if output == "json":
        return text + "\n"
    from daypass.render.yaml import document

    return document(json.loads(text), ascii_only=True)  # no tuples or enumerations


def write_result(args: Namespace, data: Output, text: str = "", *, indent: int | None = 2) -> None:
    """Print what a command has found, done or would do: as text, `json` or `yaml`."""
    if args.output == "text":
        write_changes(text)
    else:
        write(as_text(data, args.output, indent=indent))


def columns(rows: Sequence[Mapping[str, str]], styles: Iterable[str] = ()) -> str:
    """Return a table as wide as its contents, without control characters.

    `rows`: cells by their headings. `styles`: of the last cell of each row.
    """
    cells = [[printable(cell, LONGEST_CELL_CHARACTERS) for cell in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(rows[0], *cells, strict=True)]

    def line(words: Sequence[str], style: str = "") -> str:
        *first, last = words
        start = [f"{word:<{width}}  " for word, width in zip(first, widths, strict=False)]
        return "".join([*start, paint(style, last)]).rstrip() + "\n"

    heading = paint("bold", line(list(rows[0])).rstrip("\n")) + "\n"
    return heading + "".join(map(line, cells, chain(styles, repeat(""))))


def watch(
    output: str, clock: Clock, sleep: Callable[[float], None], look: Callable[[Warn], str]
) -> NoReturn:
    """Print what `look` returns until Ctrl-C, after each change. An error that may pass is logged,
    but not the first time.
    """
    from daypass.kube.errors import is_transient

    last, warn_once = None, cache(log)
    while True:
        began = clock.monotonic()
        try:
            text = look(warn_once)
        except DaypassError as error:
            if last is None or not is_transient(error):
                raise
            warn_once(error.fact, error.hint)
        else:
            if text != last:
                begin = "---\n" if output == "yaml" else ""
                write((CLEAR if sys.stdout.isatty() else begin) + text)
            last = text
        sleep(max(WATCH_SECONDS, 5 * (clock.monotonic() - began)))


def did(dry_run: str | None, verb: str, done: str) -> str:
    """Return what was done or, in a dry run, `would` and the verb."""
    return f"would {verb}" if dry_run else done


def write_changes(text: str) -> None:
    """Print diffs, and what happens to each object, in colours."""
    write(paint_lines(mask_unprintable(text, keep="\n\t")))


def finding_lines(
    finding: Finding, width: int, paint: Callable[[str, str], str] = lambda level, mark: mark
) -> str:
    """Return a finding, with its hint below. `width`: of the column with the names of checks.

    `paint` gets the level and the mark, and returns the mark in the level's colour.
    """
    first, *more = mask_unprintable(f"{finding.fact}\n{finding.hint}", keep="\n").split("\n")
    mark = paint(finding.level, MARKS[finding.level])
    lines = [f"  {mark} {finding.check:<{width}}  {first}"]
    lines += [f"{' ' * (width + 6)}{line}" for line in more if line]
    return "".join(f"{line}\n" for line in lines)


def write_objects(documents: Sequence[dict[str, Any]], output: str) -> None:
    """Print objects as `yaml` (documents) or `json` (a List), for `kubectl apply -f -`.

    Fields that the API server sets are left out.
    """
    from daypass._core.objects import without_server_fields

    objects = [without_server_fields(document) for document in documents]
    if output == "json":
        write(as_text({"apiVersion": "v1", "kind": "List", "items": objects}, "json"))
        return
    from daypass.render.yaml import stream

    write(stream(objects))


def write_credentials(path: str, content: bytes) -> None:
    """Write a credentials file with mode 0600, or (-) to stdout. Raises DaypassError."""
    if path == "-":
        write(content.decode())
        return
    try:
        write_private(path, content)
    except OSError as error:
        raise DaypassError(
            f"{path} cannot be written: {error.strerror}",
            "the identity itself is complete: run the same command again",
        ) from None


def warn_of_git(path: str) -> None:
    """Warn if git would add this file of credentials, or this folder of them."""
    from daypass.deploy.git import exclude_file

    if path != "-" and (exclude := exclude_file(path)):
        warn(
            f"{path} holds a token, and git does not ignore it",
            f"exclude it: echo {quote(os.path.basename(path))} >> {quote(exclude)}\n"
            "or write it to a folder outside the work tree: --credentials-out",
        )


def confirm(args: Namespace, question: str, *, ends_access: bool = False) -> None:
    """Return once the user has confirmed what destroys, at a terminal or with --yes.

    Without a terminal, it needs --yes: raises UsageError with the command to type. With
    `ends_access`, the command does nothing but end access, and never waits: it goes ahead. A dry
    run needs no confirmation. Raises DaypassError if the answer is not yes.
    """
    if args.yes or args.dry_run:
        return
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        if ends_access:
            return
        raise UsageError(
            "nothing was done: there is no terminal to ask for confirmation",
            f"to confirm it: {again(args, '--yes')}",
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DaypassError("nothing was done")
