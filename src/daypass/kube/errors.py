"""Errors of requests to an API server, each with what to do about it."""

from __future__ import annotations

import re

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import kubectl
from daypass._core.kubernetes.status import Status, excerpt
from daypass._core.secret import Secret, redact_response

_CANNOT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+)'
    r' (?:path "(?P<path>[^"]+)"|resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)")'
    r'(?: in the namespace "(?P<namespace>[^"]+)"| at the cluster scope)?'
)  # k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go, forbiddenMessage
_NO_NAMESPACE = re.compile(r'namespaces "([^"]+)" not found')


class KubeconfigError(UsageError):
    """A kubeconfig that cannot be used; no request was sent."""


class ClusterUnreachableError(DaypassError):
    """The API server did not answer: network, proxy, TLS, or a broken connection."""

    heals_by_itself = True


class BrokenResponseError(ClusterUnreachableError):
    """An answer that broke off, is too large, or does not come from an API server."""


class TooLargeError(BrokenResponseError):
    """An answer that is too large, or takes too long."""

    reason = BrokenResponseError.reason


class NoHttp2Error(Exception):
    """The API server, or what is in front of it, speaks only HTTP/1.1."""


class ApiError(DaypassError):
    """The API server answered with an error. `status`: its whole Status."""

    def __init__(self, status: Status, fact: str, hint: str = "") -> None:
        super().__init__(fact, hint)
        self.args = (status, fact, hint)
        self.status = status


class NotFoundError(ApiError):
    """The object, namespace or kind does not exist."""


class AlreadyExistsError(ApiError):
    """An object of that name exists already."""


class ConflictError(ApiError):
    """The object has changed in the meantime, or another manager owns the field."""


class ForbiddenError(ApiError):
    """The user lacks a permission; the hint has the RBAC rule to add."""


class UnauthorizedError(ApiError):
    """The API server does not accept the credentials."""


def explain(code: int, body: bytes, what: str, *secrets: Secret) -> ApiError:
    """Return the error for an answer; `what` was tried, such as `create secrets/x in team`.

    `secrets` were sent: the answer may quote them, the error must not.
    """
    body = redact_response(body, *secrets)
    status = Status.parse(body)
    if status is None:
        text = excerpt(body)
        if code == 404:  # `404 page not found`: nothing is served there at all
            text = "the cluster does not serve this kind of object"
        status = Status({"kind": "Status", "code": code, "message": text})
    message = status.message or f"HTTP {code}"
    fact = f"cannot {what}: {message}"
    if code == 401:
        return UnauthorizedError(
            status, fact, "log in again: the credentials of this kubeconfig may have expired"
        )
    if code == 403:
        return ForbiddenError(status, fact, _missing_right(message))
    if code == 404:
        return NotFoundError(status, fact, _absent(message))
    if code == 409:
        if status.reason == "AlreadyExists":
            return AlreadyExistsError(status, fact)
        hint = "it has changed since it was read: check it, and try again"
        if message.startswith("Apply failed"):  # of a server-side apply: trying again is no use
            hint = "another field manager owns these fields: change them there, or remove them here"
        return ConflictError(status, fact, hint)
    return ApiError(status, fact)


def _missing_right(message: str) -> str:
    found = _CANNOT.search(message)
    if found is None:
        if "not currently held" in message:
            return (
                "no user can grant permissions that they do not hold: ask an administrator who does"
            )
        return ""
    kind = "Role" if found["namespace"] else "ClusterRole"
    where = f" in namespace {found['namespace']}" if found["namespace"] else ""
    to_what = f'- apiGroups: ["{found["group"]}"]\n  resources: ["{found["resource"]}"]'
    if found["path"]:
        to_what = f'- nonResourceURLs: ["{found["path"]}"]'
    needs = f"{found['user']} needs this rule in a {kind}{where}:"
    return f'{needs}\n{to_what}\n  verbs: ["{found["verb"]}"]'


def missing_namespace(error: ApiError) -> str | None:
    """Return the namespace whose absence is the error, or None."""
    found = _NO_NAMESPACE.search(error.status.message)
    return found[1] if found and isinstance(error, NotFoundError) else None


def is_transient(error: Exception) -> bool:
    """Return whether a request that failed with this error may succeed later."""
    if isinstance(error, ApiError):
        code = error.status.code
        return code >= 500 or code in (410, 429)  # Gone, Too Many Requests
    return isinstance(error, ClusterUnreachableError)


def _absent(message: str) -> str:
    found = _NO_NAMESPACE.search(message)
    if found:
        return "create it first: " + kubectl("create", "namespace", found[1])
    if "does not serve this kind" in message:
        return "check that its CustomResourceDefinition is installed"
    return ""
