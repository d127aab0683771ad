"""Errors as Kubernetes words them (k8s.io/apimachinery/pkg/api/errors)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daypass.local.api.golang import quote

CAUSES_LIMIT = 100


class ApiError(Exception):
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


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401, without a word about why."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    """403 (errors.NewForbidden); `resource` is empty for a path that is no resource."""
    if resource and name:
        message = f"{_qualified(resource, group)} {quote(name)} is forbidden: {why}"
    elif resource:
        message = f"{_qualified(resource, group)} is forbidden: {why}"
    else:
        message = f"forbidden: {why}"
    return ApiError(403, "Forbidden", message, _details(name, group, resource))


def not_found(group: str, resource: str, name: str) -> ApiError:
    """404 for an object."""
    message = f"{_qualified(resource, group)} {quote(name)} not found"
    return ApiError(404, "NotFound", message, _details(name, group, resource))


def no_such_resource() -> ApiError:
    """404 for a path below an API group that is served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(group: str, resource: str, name: str) -> ApiError:
    """409 at a create."""
    message = f"{_qualified(resource, group)} {quote(name)} already exists"
    return ApiError(409, "AlreadyExists", message, _details(name, group, resource))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(group: str, resource: str, name: str, why: str = MODIFIED) -> ApiError:
    """409 at anything else."""
    message = f"Operation cannot be fulfilled on {_qualified(resource, group)} {quote(name)}: {why}"
    return ApiError(409, "Conflict", message, _details(name, group, resource))


def expired(message: str) -> ApiError:
    """410: what is asked for is no longer remembered."""
    return ApiError(410, "Expired", message)


def too_large(limit_bytes: int) -> ApiError:
    """413."""
    message = f"Request entity too large: limit is {limit_bytes}"
    return ApiError(413, "RequestEntityTooLarge", message)


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> ApiError:
    """422 (errors.NewInvalid); of very many causes the first ones."""
    causes = causes[:CAUSES_LIMIT]
    parts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    details = {**_details(name, group, kind), "causes": [cause.document() for cause in causes]}
    message = f"{_qualified(kind, group)} {quote(name)} is invalid: {listed}"
    return ApiError(422, "Invalid", message, details)
