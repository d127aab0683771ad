"""What commands print: JSON, Kubernetes objects, tables; and how they ask for confirmation."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from itertools import chain, repeat
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

from daypass._core.clock import rfc3339
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import write_private
from daypass._core.findings import Finding, Level
from daypass._core.text import mask_unprintable, printable
from daypass.cli.console import paint, paint_lines, warn, write
from daypass.cli.options import again

if TYPE_CHECKING:
    pass

LONGEST_CELL_CHARACTERS = 4000

MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesList:
    """Objects for `kubectl apply -f -`. With `-o yaml` each is a document of its own instead."""

    api_version: Annotated[Literal["v1"], "the version of the list"] = "v1"
    kind: Annotated[Literal["List"], "the kind of the list"] = "List"
    items: Annotated[Sequence[dict[str, Any]], "the objects, in the format of Kubernetes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutput:
    """What `daypass token` prints, without this class: it starts faster."""

    token: Annotated[str, "the token. It is secret"]
    expires_at: Annotated[str, "when it expires (RFC 3339, UTC)"]
    audiences: Annotated[Sequence[str], "its audiences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFields:
    """What went wrong."""

    reason: Annotated[str, "the stable code of the error, such as `usage`"]
    message: Annotated[str, "what happened"]
    hint: Annotated[str, "what to do next; may be empty, and may have several lines"]
    exit_code: Annotated[int, "the exit code: 1 failed, 2 usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorOutput:
    """The error of any command, on stderr, after which stdout may be empty."""

    error: Annotated[ErrorFields, "the error"]


def camel_case(name: str) -> str:
    """Return the name that a field has in data."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def as_data(value: object) -> Any:
    """Return a result as JSON has it: fields in camelCase, times in RFC 3339.

    Raises TypeError for what is no data, such as a Secret.
    """
    if isinstance(value, str):
        return str(value)  # of an enumeration, too
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {str(name): as_data(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        found = ((each.name, getattr(value, each.name)) for each in fields(value))
        return {camel_case(name): as_data(each) for name, each in found}
    raise TypeError(f"{type(value).__name__} is no data")


def as_text(result: object, output: str, *, indent: int | None = 2) -> str:
    """Return a result as `json` or `yaml`."""
    data = as_data(result)
    if output == "json":
        return json.dumps(data, indent=indent) + "\n"
    try:
        from daypass.render.objects import document
    except ModuleNotFoundError:  # the base package has no PyYAML: YAML with JSON values
        return "".join(f"{name}: {json.dumps(value)}\n" for name, value in data.items())
    return document(data, ascii_only=True)


def write_result(
    args: Namespace, result: object, text: str = "", *, indent: int | None = 2
) -> None:
    """Print what a command has found, done or would do: as text, `json` or `yaml`."""
    if args.output == "text":
        write_changes(text)
    else:
        write(as_text(result, args.output, indent=indent))


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
    from daypass._core.kubernetes.objects import without_server_fields

    objects = [without_server_fields(document) for document in documents]
    if output == "json":
        write(as_text(KubernetesList(items=objects), "json"))
        return
    from daypass.render.objects import stream

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
    from daypass.deploy.repository import would_add

    if path != "-" and would_add(path):
        folder, name = os.path.split(path)
        warn(
            f"{path} holds a token, and git does not ignore it",
            f"exclude it: echo {quote(name)} >> {quote(os.path.join(folder, '.gitignore'))}\n"
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


def write_error(error: DaypassError, hint: str, output: str) -> None:
    """Write an error to stderr as `json` or `yaml`. Errors of stderr itself are ignored."""
    described = ErrorFields(
        reason=error.reason, message=error.fact, hint=hint, exit_code=error.exit_code
    )
    text = as_text(ErrorOutput(error=described), output, indent=None)
    with suppress(AttributeError, OSError, ValueError):  # it is None if it was closed at the start
        sys.stderr.write(text)
