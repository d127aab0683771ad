"""What a scalar of YAML means: the JSON subset of YAML 1.2, and nothing that surprises.

`on`, `yes`, `no`, `off`, `1:30`, `010`, `0x10`, `1_000` and dates are text. YAML 1.1, which PyYAML
itself follows, reads them as booleans, as 90, 8, 16, 1000 and as dates.
"""

import re
from typing import TypeAlias

from daypass.spec.wording import shown

Value: TypeAlias = str | int | float | bool | None

LIMIT_CHARACTERS = 4096
"""Longer than any value that makes sense (a certificate authority is a file's name)."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
}


def resolve(text: str, *, plain: bool) -> Value:
    """The value of a scalar; whatever stands in quotes or in a block is text.

    A number is an int if it has no point, no exponent and fits into 64 bits; other numbers become
    floats, which nothing in a config takes, so that the message can call them numbers.
    """
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) < 400 and _NUMBER.fullmatch(text):
        return float(text)
    return text


def described(value: Value) -> str:
    """What a message calls a value: `the text 'x'`, `the number 5`, `true`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {shown(value)}" if value else "an empty text"
    return f"the number {value}"
