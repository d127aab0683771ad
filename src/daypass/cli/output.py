"""What commands print: JSON, Kubernetes objects, tables; and how they ask for confirmation."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any

from daypass._core.errors import DaypassError, UsageError
from daypass._core.text import mask_unprintable, printable
from daypass.cli import warn, write
from daypass.cli.colour import paint, paint_lines
from daypass.cli.options import again

if TYPE_CHECKING:
    from daypass.cli.output_data import Output


_LONGEST_CELL_CHARACTERS = 4000


def write_data(data: object, output: str, *, indent: int | None = 2) -> None:
    write(as_text(data, output, indent=indent))


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
        write_data(data, args.output, indent=indent)


def did(dry_run: str | None, verb: str, done: str) -> str:
    """Return what was done or, in a dry run, `would` and the verb."""
    return f"would {verb}" if dry_run else done


def write_changes(text: str) -> None:
    """Print diffs, and what happens to each object, in colours."""
    write(paint_lines(mask_unprintable(text, keep="\n\t")))


def write_objects(documents: Sequence[dict[str, Any]], output: str) -> None:
    """Print objects as `yaml` (documents) or `json` (a List), for `kubectl apply -f -`.

    Fields that the API server sets are left out.
    """
    from daypass._core.objects import without_server_fields

    objects = [without_server_fields(document) for document in documents]
    if output == "json":
        write_data({"apiVersion": "v1", "kind": "List", "items": objects}, "json")
        return
    from daypass.render.yaml import stream

    write(stream(objects))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()
) -> str:
    """Return a table with columns as wide as their contents, without control characters.

    `styles`: of the last cell of each row.
    """
    cells = [
        headings,
        *([printable(cell, _LONGEST_CELL_CHARACTERS) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines, painted = [], dict(enumerate(styles, start=1))
    for at, (*first, last) in enumerate(cells):
        start = [f"{cell:<{width}}  " for cell, width in zip(first, widths, strict=False)]
        lines.append("".join([*start, paint(painted.get(at, ""), last)]).rstrip())
    return "".join(f"{line}\n" for line in (paint("bold", lines[0]), *lines[1:]))


def write_credentials(path: str, content: bytes) -> None:
    """Write a credentials file, or (-) to stdout. Raises DaypassError."""
    from daypass.identity.credentials_file import write_file

    if path == "-":
        write(content.decode())
    else:
        write_file(path, content)


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
