"""JSON in lines of logs, whatever else is in them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from daypass.trace.events import LONGEST_LINE_BYTES, Skipped, objects_in, read_objects

A, B = {"jti": "a"}, {"jti": "b"}
LINE = json.dumps(A)


def found_in(text: str, skipped: Skipped | None = None) -> list[dict[str, object]]:
    return list(objects_in(text, Skipped() if skipped is None else skipped))


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[pod/daypass-door-7f/door] ",
        "2026-11-24T17:42:34.435Z stdout F ",
        "\x1b[32m",
    ],
)
def test_an_object_is_found_behind_what_is_written_before_lines(prefix: str) -> None:
    assert found_in(prefix + LINE) == [A]


@pytest.mark.parametrize("field", ["log", "message", "@message", "MESSAGE"])
def test_a_line_in_a_field_of_another_object_is_found(field: str) -> None:
    assert A in found_in(json.dumps({field: LINE + "\n", "stream": "stdout"}))


@pytest.mark.parametrize("line", [f'1.2.3.4 - "GET /" 200 "{LINE}"', f'{{}} "GET /" "{LINE}"'])
def test_what_a_client_calls_itself_is_no_line(line: str) -> None:
    assert A not in found_in(line)


@pytest.mark.parametrize(
    "line",
    [
        "{" * 100_000,
        '{"a":' * 100_000,
        '{"a":' + "9" * 10_000 + "}",
        '{"a":NaN',
    ],
)
def test_what_is_no_json_is_skipped(line: str) -> None:
    assert found_in(line) == []


def read(file: Path | str, skipped: Skipped | None = None) -> list[dict[str, object]]:
    return list(read_objects(str(file), [b"jti"], Skipped() if skipped is None else skipped))


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(gzip.compress(f"{LINE}\n".encode()) + gzip.compress(json.dumps(B).encode()))
    assert read(file) == [A, B]


def test_gzip_that_ends_early_is_read_up_to_there(tmp_path: Path) -> None:
    file, skipped = tmp_path / "audit.log.gz", Skipped()
    lines = "".join(f"{json.dumps({'jti': str(n)})}\n" for n in range(20_000))
    whole = gzip.compress(lines.encode())
    file.write_bytes(whole[: len(whole) // 2])
    assert len(read(file, skipped)) > 100
    assert list(skipped) == [f"file ends in the middle of its gzip data: {file}"]
    file.write_bytes(whole[:1000] + b"\0" * 1000)
    read(file, skipped)


def test_a_line_that_is_too_long_is_skipped_and_takes_no_memory(tmp_path: Path) -> None:
    file, skipped = tmp_path / "audit.log", Skipped()
    with file.open("w") as written:
        written.write(json.dumps({"jti": "x" * 1_000_000}) + "\n")
        for _ in range(10):
            written.write(json.dumps({"jti": "x" * LONGEST_LINE_BYTES}) + "\n")
        written.write(LINE + "\n" + '{"jti": "' + "x" * 30_000_000)
    tracemalloc.start()
    try:
        found = read(file, skipped)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [len(str(each["jti"])) for each in found] == [1_000_000, 1]
    assert skipped.total() == 11
    assert most < 8 * LONGEST_LINE_BYTES
