"""The JSON objects in lines of logs, which may be gzipped, cut off, interleaved, or of any length.

A line may begin as `kubectl logs --prefix`, containerd or journald have it, or be in a field of an
object, as log shippers have it. What else is on a line is never read: text may quote a client.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from typing import Any

from daypass._core.errors import DaypassError

LONGEST_LINE_BYTES = 8 * 1024 * 1024
"""Longer lines are skipped. Events without bodies are smaller: of a request, they have up to 1 MiB,
of which each byte may be escaped in six."""
_STARTS = 8
"""How many objects are tried to find on a line that is broken."""
_WRAPPERS = ("log", "message", "@message", "MESSAGE")
"""Fields in which Docker, fluent-bit, vector, CloudWatch and journald have a line."""
_GZIP = b"\x1f\x8b"
_decode = json.JSONDecoder().raw_decode
_BROKEN = "lines were skipped, in part or whole: they are no whole JSON"
_TOO_LONG = f"lines were skipped: they have over {LONGEST_LINE_BYTES} bytes"

Skipped = Counter[str]
"""How many lines were skipped, by why."""


def read_objects(file: str, words: Sequence[bytes], skipped: Skipped) -> Iterator[dict[str, Any]]:
    """Yield the objects on all lines with one of these words. `-` is stdin. Raises DaypassError."""
    name = "stdin" if file == "-" else file
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as raw:
            is_gzip = raw.peek(2)[:2] == _GZIP
            for line in _lines(gzip.GzipFile(fileobj=raw) if is_gzip else raw, skipped):
                if any(map(line.__contains__, words)):
                    yield from objects_in(line.decode("utf-8", "replace"), skipped)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        skipped[f"file ends in the middle of its gzip data: {name}"] += 1
    except OSError as error:
        raise DaypassError(f"{name} cannot be read: {error.strerror}", "name log files") from None


def _lines(stream: BufferedIOBase, skipped: Skipped) -> Iterator[bytes]:
    is_rest = False
    while line := stream.readline(LONGEST_LINE_BYTES):
        is_whole = line.endswith(b"\n") or len(line) < LONGEST_LINE_BYTES
        if is_whole and not is_rest:
            yield line
        elif not is_rest:
            skipped[_TOO_LONG] += 1
        is_rest = not is_whole


def objects_in(
    text: str, skipped: Skipped, *, is_wrapped: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the objects on a line, up to text with a quotation mark, which may quote a client.

    A broken object is followed by that of another writer, or by a rest: in a string of its own, a
    quotation mark would be escaped.
    """
    end, failed = 0, 0
    at = text.find("{")
    while at >= 0 and failed < _STARTS:
        if '"' in text[end:at] and not failed:
            break
        try:
            found, end = _decode(text, at)
        except (ValueError, RecursionError):
            failed += 1
            at = text.find('{"', at + 1)
            continue
        yield found
        if not is_wrapped:
            for inner in filter(None, map(found.get, _WRAPPERS)):
                if isinstance(inner, str):
                    yield from objects_in(inner, skipped, is_wrapped=True)
        at = text.find("{", end)
    skipped.update([_BROKEN] * (failed > 0))
