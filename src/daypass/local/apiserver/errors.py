"""How Go writes a string, and what its JSON parser says of a text that is none.

Kubernetes' messages are made with `%q`, and quote the parser; clients and people match them.

Errors as Kubernetes words them (k8s.io/apimachinery/pkg/api/errors).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

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


CAUSES_LIMIT = 100


class StatusError(Exception):
    """A Status that is not a success; `headers` go with it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers

    def status(self) -> dict[str, Any]:
        """The v1.Status."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One field's part in an Invalid (field.Error)."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def document(self) -> dict[str, str]:
        """The StatusCause."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def invalid_value(field: str, shown: str, why: str) -> Cause:
    """A value that is wrong; `shown` is how Go prints it."""
    return Cause(field=field, message=f"Invalid value: {shown}: {why}")


def required(field: str, why: str = "") -> Cause:
    """A value that is not there."""
    message = f"Required value: {why}" if why else "Required value"
    return Cause(field=field, message=message, reason="FieldValueRequired")


def unsupported(field: str, shown: str, values: tuple[str, ...]) -> Cause:
    """A value that is none of those there are."""
    message = f"Unsupported value: {shown}: supported values: {', '.join(map(quote, values))}"
    return Cause(field=field, message=message, reason="FieldValueNotSupported")


def too_long(field: str, limit_bytes: int) -> Cause:
    """A value of too many bytes."""
    message = f"Too long: may not be more than {limit_bytes} bytes"
    return Cause(field=field, message=message, reason="FieldValueTooLong")


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    parts = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in parts.items() if value}


def _qualified(kind: str, group: str) -> str:
    return f"{kind}.{group}" if group else kind


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401, without a word about why."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, resource: str, name: str, why: str) -> StatusError:
    """403 (errors.NewForbidden); `resource` is empty for a path that is no resource."""
    if resource and name:
        message = f"{_qualified(resource, group)} {quote(name)} is forbidden: {why}"
    elif resource:
        message = f"{_qualified(resource, group)} is forbidden: {why}"
    else:
        message = f"forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(name, group, resource))


def not_found(group: str, resource: str, name: str) -> StatusError:
    """404 for an object."""
    message = f"{_qualified(resource, group)} {quote(name)} not found"
    return StatusError(404, "NotFound", message, _details(name, group, resource))


def no_such_resource() -> StatusError:
    """404 for a path below an API group that is served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> StatusError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def already_exists(group: str, resource: str, name: str) -> StatusError:
    """409 at a create."""
    message = f"{_qualified(resource, group)} {quote(name)} already exists"
    return StatusError(409, "AlreadyExists", message, _details(name, group, resource))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(group: str, resource: str, name: str, why: str = MODIFIED) -> StatusError:
    """409 at anything else."""
    message = f"Operation cannot be fulfilled on {_qualified(resource, group)} {quote(name)}: {why}"
    return StatusError(409, "Conflict", message, _details(name, group, resource))


def expired(message: str) -> StatusError:
    """410: what is asked for is no longer remembered."""
    return StatusError(410, "Expired", message)


def too_large(limit_bytes: int) -> StatusError:
    """413."""
    message = f"Request entity too large: limit is {limit_bytes}"
    return StatusError(413, "RequestEntityTooLarge", message)


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> StatusError:
    """422 (errors.NewInvalid); of very many causes the first ones."""
    causes = causes[:CAUSES_LIMIT]
    parts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    details = {**_details(name, group, kind), "causes": [cause.document() for cause in causes]}
    message = f"{_qualified(kind, group)} {quote(name)} is invalid: {listed}"
    return StatusError(422, "Invalid", message, details)
