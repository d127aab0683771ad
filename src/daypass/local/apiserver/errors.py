"""Status errors as Kubernetes words them (k8s.io/apimachinery/pkg/api/errors)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from daypass._core.kubernetes.status import failure

CAUSES_LIMIT = 100

Cause: TypeAlias = dict[str, str]
"""A StatusCause: one field's part in an Invalid error."""


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class StatusError(Exception):
    """A v1.Status that reports a failure."""

    def __init__(
        self, code: int, reason: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.status = failure(code, reason, message)
        if details is not None:
            self.status["details"] = details


def invalid_value(field: str, value: object, why: str) -> Cause:
    shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    message = f"Invalid value: {shown}: {why}"
    return {"reason": "FieldValueInvalid", "message": message, "field": field}


def required(field: str) -> Cause:
    return {"reason": "FieldValueRequired", "message": "Required value", "field": field}


def unsupported(field: str, value: str, supported: Iterable[str]) -> Cause:
    """Return the cause for a value outside an enumeration."""
    listed = ", ".join(map(quote, supported))
    message = f"Unsupported value: {quote(value)}: supported values: {listed}"
    return {"reason": "FieldValueNotSupported", "message": message, "field": field}


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """Return the 401, which never says why."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, resource: str, name: str, why: str) -> StatusError:
    """Return a 403; `resource` is empty for a path that is not a resource's."""
    subject = f"{_qualified(resource, group)} {quote(name) if name else ''}".strip()
    message = f"{subject} is forbidden: {why}" if resource else f"forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(name, group, resource))


def not_found(group: str, resource: str, name: str) -> StatusError:
    message = f"{_qualified(resource, group)} {quote(name)} not found"
    return StatusError(404, "NotFound", message, _details(name, group, resource))


def no_such_resource() -> StatusError:
    """Return the 404 for a path that the API server does not have."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def already_exists(group: str, resource: str, name: str) -> StatusError:
    message = f"{_qualified(resource, group)} {quote(name)} already exists"
    return StatusError(409, "AlreadyExists", message, _details(name, group, resource))


def conflict(group: str, resource: str, name: str, why: str) -> StatusError:
    """Return the 409 for an object that is not as the caller expects."""
    message = f"Operation cannot be fulfilled on {_qualified(resource, group)} {quote(name)}: {why}"
    return StatusError(409, "Conflict", message, _details(name, group, resource))


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def too_large(limit_bytes: int) -> StatusError:
    message = f"Request entity too large: limit is {limit_bytes}"
    return StatusError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(message: str) -> StatusError:
    return StatusError(415, "UnsupportedMediaType", message, {})


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> StatusError:
    """Return the 422 with the first causes."""
    causes = causes[:CAUSES_LIMIT]
    parts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    listed = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    message = f"{_qualified(kind, group)} {quote(name)} is invalid: {listed}"
    details = {**_details(name, group, kind), "causes": causes}
    return StatusError(422, "Invalid", message, details)


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    parts = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in parts.items() if value}


def _qualified(kind: str, group: str) -> str:
    return f"{kind}.{group}" if group else kind
