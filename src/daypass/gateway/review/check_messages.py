"""envoy.service.auth.v3 in bytes: what is read of a CheckRequest, and a CheckResponse.

By hand, since the messages that Envoy's API generates are a thousand, and of these a dozen fields
are of interest. Source: envoy/service/auth/v3/external_auth.proto, attribute_context.proto. Pure;
whatever does not add up is a MalformedMessageError, and a message that stands where it can stand
once only may not come twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass.gateway.review.answers import Answer

LIMIT_BYTES = 256 * 1024
LIMIT_FIELDS = 4096
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OVERWRITE = 2
_GRPC_CODES = {200: 0, 401: 16, 403: 7, 404: 5, 503: 14}
_EXTERNAL_ADDRESS = b"x-envoy-external-address"


class MalformedMessageError(DaypassError):
    """Bytes that are no CheckRequest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a CheckRequest asks about."""

    host: bytes
    authorizations: tuple[bytes, ...]
    source: str


def read_check(content: bytes) -> Question:
    """The question in a CheckRequest. Raises MalformedMessageError."""
    if len(content) > LIMIT_BYTES:
        raise MalformedMessageError("it is too large")
    attributes = _only(content, 1)  # CheckRequest.attributes
    http = _only(_only(attributes, 4), 2)  # AttributeContext.request, Request.http
    hosts: list[bytes] = []
    authorizations: list[bytes] = []
    source = b""
    for number, value in _fields(http):
        if number == 3:  # headers, a map
            name, text = _pair(value)
            if name == b"authorization":
                authorizations.append(text)
            elif name == _EXTERNAL_ADDRESS:
                source = text
        elif number == 5:
            hosts.append(value)
    if len(hosts) != 1:
        raise MalformedMessageError("it names no host, or several")
    return Question(
        host=hosts[0], authorizations=tuple(authorizations), source=source.decode("latin-1")
    )


def response(answer: Answer) -> bytes:
    """The CheckResponse of an answer."""
    status = _message(1, _number(1, _GRPC_CODES.get(answer.code, 7)))
    headers = b"".join(_message(2, _header(*header)) for header in answer.headers)
    if answer.is_allowed:
        removed = b"".join(_message(5, name.encode()) for name in answer.removed)
        return status + _message(3, headers + removed)
    code = _message(1, _number(1, answer.code))
    return status + _message(2, code + headers + _message(3, answer.body.encode()))


def _header(name: str, value: str) -> bytes:
    header = _message(1, name.encode()) + _message(2, value.encode())
    return _message(1, header) + _number(3, _OVERWRITE)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _only(content: bytes, number: int) -> bytes:
    found = [value for each, value in _fields(content) if each == number]
    if len(found) != 1:
        raise MalformedMessageError("a part is missing, or is there twice")
    return found[0]


def _pair(entry: bytes) -> tuple[bytes, bytes]:
    found: dict[int, bytes] = {}
    for number, value in _fields(entry):
        if number in found:
            raise MalformedMessageError("a header has two names or two values")
        found[number] = value
    return found.get(1, b"").lower(), found.get(2, b"")


def _fields(content: bytes) -> Iterable[tuple[int, bytes]]:
    """Numbers and contents of the fields that have a length; others are skipped."""
    return list(_walk(content))


def _walk(content: bytes) -> Iterator[tuple[int, bytes]]:
    at, count = 0, 0
    while at < len(content):
        count += 1
        if count > LIMIT_FIELDS:
            raise MalformedMessageError("it has too many fields")
        tag, at = _read_varint(content, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise MalformedMessageError("a field has no number")
        if kind == _BYTES:
            length, at = _read_varint(content, at)
            if length > len(content) - at:
                raise MalformedMessageError("a field is longer than what it is in")
            yield number, content[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _read_varint(content, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
            if at > len(content):
                raise MalformedMessageError("a field is longer than what it is in")
        else:
            raise MalformedMessageError("a field is of no kind that is in use")


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise MalformedMessageError("a number has no end")
