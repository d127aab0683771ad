"""From the bytes of a file to text: UTF-8, nothing invisible, no tab, not too long."""

import re
from typing import NoReturn

from daypass.spec.problems import Problems

LIMIT_BYTES = 256 * 1024
"""A config of a hundred domains is about 20 KiB."""

_REFUSED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": ("the file begins with a byte order mark", "save it as UTF-8 without one"),
    b"\xff\xfe": ("the file is UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("the file is UTF-16", "save it as UTF-8"),
}


def decoded(content: bytes, problems: Problems) -> str:
    """The text of a file, its lines ended by newlines. Raises ConfigError, naming the place.

    Only what YAML and every editor count as one line ends a line, so that positions are right:
    `\\r\\n` is read as a newline, other line ends (a lone `\\r`, U+0085, U+2028) are refused, and
    so are characters that turn the direction of text (CVE-2021-42574).
    """
    if len(content) > LIMIT_BYTES:
        problems.stop(
            (0, 0),
            f"larger than {LIMIT_BYTES // 1024} KiB, which no config is",
            "is this the right file?",
        )
    for mark, (message, hint) in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            problems.stop((1, 1), message, hint)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        problems.stop(
            _mark(before), f"the byte 0x{content[error.start]:02x} is not UTF-8", "save it as UTF-8"
        )
    text = text.replace("\r\n", "\n")
    if match := _REFUSED.search(text):
        _refuse(text[: match.start()], match.group(), problems)
    return text


def _refuse(before: str, character: str, problems: Problems) -> NoReturn:
    if character == "\t":
        problems.stop(_mark(before), "a tab", "write spaces: YAML is indented with them")
    if character == "\r":
        problems.stop(_mark(before), "a carriage return alone", "end lines with a newline")
    problems.stop(
        _mark(before), f"the character U+{ord(character):04X} does not print", "remove it"
    )


def _mark(before: str) -> tuple[int, int]:
    """Line and column of what follows some text, from 1."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
