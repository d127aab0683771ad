"""Any bytes give a Config or a ConfigError, in bounded time."""

import re
import time
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from daypass.config import Config, ConfigError, parse
from daypass.config.errors import LIMIT_SHOWN
from unit.config.texts import DESIGN, MINIMAL

BOUND_SECONDS = 5.0

# fmt: off
tokens = st.sampled_from([
    "version: 1\n", "domains:", "ekf:", "host:", "front: envoy", "tls:", "gate:", "policy:", "{",
    "}", "[", "]", ", ", ": ", "- ", "? ", "\n", "\n  ", "\n    ", "'", '"', "|\n", ">-\n", "#",
    "&a ", "*a ", "!!str ", "!", "%YAML 1.1\n", "---\n", "...\n", "<<: ", "~", "null", "1", "1e9",
    "-", "0x1", "9" * 40, "true", "\t", "\r", "\x00", "\ufeff", "\u2028", "\\u", "é", "\U0001f600",
    "@", "`", "x" * 50,
])
values = st.sampled_from([
    "~", "true", "-1", "0", "9223372036854775808", "1.5", "1e400", "[]", "{}", "[~]", "[[1]]",
    "{a: b}", "{'': ''}", "{secret: ~}", "{files: 1}", "''", "'\\'", '"\\0"', "é", "'%'", "'*'",
    "a b", "x" * 300, "https://", "https://[", "'[::1]:1'", "127.0.0.1:99999", "/", "1h", "8Ki",
    "{~: ~}", "{[]: 1}", "&a x", "*a", "!t x", "|\n  x", "outside", "{'[key]': 1, '<secret>': 2}",
])
# fmt: on


def outcome(content: bytes) -> Config | ConfigError:
    try:
        return parse(content, name="daypass.yaml", folder=Path("/x"))
    except ConfigError as error:
        return error


def check(content: bytes) -> None:
    start = time.thread_time()
    found = outcome(content)
    assert time.thread_time() - start < BOUND_SECONDS
    if not isinstance(found, ConfigError):
        return
    assert 0 < len(found.problems) <= LIMIT_SHOWN
    assert found.omitted >= 0
    for problem in found.problems:
        assert problem.message
        assert str(problem).isprintable()
        assert len(str(problem)) < 500
        if b"not valid" not in content:
            assert "not valid" not in problem.message, (
                "an error of pydantic without a message of our own"
            )
        assert (problem.line > 0) == (problem.column > 0)
        assert problem.line <= content.count(b"\n") + 2
    places = [(problem.line, problem.column) for problem in found.problems]
    assert places == sorted(places)


@given(st.binary(max_size=500))
def test_any_bytes_give_a_config_or_a_config_error(content: bytes) -> None:
    check(content)


@given(st.text(max_size=500))
@example(content="not valid")
def test_any_text_gives_a_config_or_a_config_error(content: str) -> None:
    check(content.encode("utf-8", "surrogatepass"))


@settings(max_examples=300)
@given(st.lists(tokens, max_size=40))
def test_any_yaml_fragments_give_a_config_or_a_config_error(pieces: list[str]) -> None:
    check("".join(pieces).encode())


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_config_gives_a_config_or_a_config_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([DESIGN, MINIMAL]))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    piece = "".join(data.draw(st.lists(tokens, max_size=3)))
    check((text[:start] + piece + text[end:]).encode())


@given(st.data())
def test_a_config_with_shuffled_lines_gives_a_config_or_a_config_error(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(DESIGN.splitlines(keepends=True)), max_size=40))
    check("".join(lines).encode())


@settings(max_examples=500)
@given(st.data())
def test_a_config_with_any_values_gives_a_config_or_a_config_error(data: st.DataObject) -> None:
    lines = DESIGN.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        written = re.split(r"(?<=: )[^,}]+", lines[index])
        place = data.draw(st.integers(0, len(written) - 1))
        parts = [*re.findall(r"(?<=: )[^,}]+", lines[index]), ""]
        parts[min(place, len(parts) - 1)] = data.draw(values)
        lines[index] = "".join(map("".join, zip(written, parts, strict=False)))
    check("\n".join(lines).encode())
