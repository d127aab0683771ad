"""Kubernetes' protobuf, in which client-go sends built-in kinds, read as JSON has it.

A field's number is its place in the shape of its message; "" is a number without a field. Fields
whose shape is ANY are skipped: for these kinds, the API server does not use them. (The numbers are
in `generated.proto` of k8s.io/api and k8s.io/apimachinery.)

A message is no deeper than its shape, and each byte is read once at each depth.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.local.apiserver.kinds import ANY, BYTES, MapOf, Shape

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_PREFIX = b"k8s\0"
_TYPE_META: dict[str, Shape] = {"apiVersion": str, "kind": str}
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""The sizes of values that no field has."""


class ProtobufError(Exception):
    """A body that is not the protobuf of its kind."""


def parse(body: bytes, shape: dict[str, Shape]) -> Object:
    """Return the object in a body, which has this shape. Raises ProtobufError."""
    if not body.startswith(_PREFIX):
        raise ProtobufError("it does not begin with k8s")
    envelope = dict(_fields(body[len(_PREFIX) :]))
    type_meta, raw = envelope.get(1, b""), envelope.get(2, b"")
    fields = {name: field for name, field in shape.items() if name not in _TYPE_META}
    return _message(type_meta, _TYPE_META) | _message(raw, fields)


def _message(data: bytes | int, shape: dict[str, Shape]) -> Object:
    names, found = ["", *shape], Object()
    for number, value in _fields(data):
        name = names[number] if number < len(names) else ""
        field = shape.get(name)
        if field is None or field is ANY:
            continue
        if isinstance(field, list):
            found.setdefault(name, []).append(_value(value, field[0]))
        elif isinstance(field, MapOf):
            entry = _message(value, {"key": str, "value": field.item})
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        elif (read := _value(value, field)) != "":  # which JSON leaves out
            found[name] = read
    return found


def _value(value: bytes | int, shape: Shape) -> Any:
    if isinstance(shape, dict):
        return _message(value, shape)
    if isinstance(value, int) and shape is bool:
        return bool(value)
    if isinstance(value, int) and shape is int:
        return value - 2**64 if value >= 2**63 else value
    if isinstance(value, bytes) and shape is str:
        return value.decode("utf-8", "replace")
    if isinstance(value, bytes) and shape is BYTES:
        return base64.b64encode(value).decode()
    raise ProtobufError("a field is of another type")


def _fields(data: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """Yield the number and the value of each field of a message."""
    if isinstance(data, int):
        raise ProtobufError("a message is a number")
    at, value = 0, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        size, at = _varint(data, at) if wire == _BYTES else (_FIXED.get(wire, len(data)), at)
        end = at + size
        if end > len(data):
            raise ProtobufError("a field is cut off, or of an unknown type")
        if wire == _BYTES:
            yield number, data[at:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    number = 0
    for i, byte in enumerate(data[at : at + 10]):
        number |= (byte & 127) << 7 * i
        if byte < 128:
            return number & (2**64 - 1), at + i + 1
    raise ProtobufError("a number is cut off, or too long")
