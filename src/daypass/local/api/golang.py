"""How Go writes a string, and what its JSON parser says of a text that is none.

Kubernetes' messages are made with `%q`, and quote the parser; clients and people match them.
"""

from __future__ import annotations

import json

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a",
            "\b": "\\b", "\f": "\\f", "\v": "\\v"}  # fmt: skip


def quote(text: str) -> str:
    """A string as Go's `%q` writes it. Bytes that were no UTF-8 come as surrogates (PEP 383)."""
    return '"' + "".join(_ESCAPES.get(c) or _printable(c) for c in text) + '"'


def _printable(character: str) -> str:
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if character.isprintable():
        return character
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def quote_list(texts: tuple[str, ...] | list[str]) -> str:
    """A slice of strings as Go's `%q` writes it: elements in brackets, one space between."""
    return "[" + " ".join(map(quote, texts)) + "]"


def syntax_error(error: ValueError) -> str:
    """What encoding/json says where Python's parser raised `error`."""
    if not isinstance(error, json.JSONDecodeError):  # NaN and Infinity, which JSON has not
        return f"invalid character '{str(error)[:1]}' looking for beginning of value"
    if error.pos >= len(error.doc) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    places = {
        "Expecting property name": "looking for beginning of object key string",
        "Illegal trailing comma": "looking for beginning of object key string",
        "Extra data": "after top-level value",
        "Expecting ':'": "after object key",
        "Expecting ','": "after object key:value pair",
        "Invalid control": "in string literal",
        "Invalid \\escape": "in string escape code",
    }
    place = next((go for ours, go in places.items() if error.msg.startswith(ours)), "")
    at = error.pos + 1 if error.msg.startswith("Invalid \\escape") else error.pos
    found = chr(error.doc[at : at + 1].encode()[0]) if at < len(error.doc) else ""
    shown = {"'": "\\'", '"': '"'}.get(found) or quote(found)[1:-1]
    return f"invalid character '{shown}' {place or 'looking for beginning of value'}"


def type_name(value: object) -> str:
    """What encoding/json calls a JSON value that does not fit; its subclasses are of schema."""
    if isinstance(value, str):
        return "string" if type(value) is str else "number"
    if isinstance(value, list):
        return "array" if type(value) is list else "object"
    return "bool" if isinstance(value, bool) else "number"


def summarize(body: bytes, limit: int = 30) -> str:
    """A body for a message (apiserver's `summarizeData`)."""
    if not body:
        return "<empty>"
    cut = " ..." if len(body) > limit else ""
    text = body[:limit]
    return (text.decode("utf-8", "replace") if text[:1] == b"{" else text.hex()) + cut
