"""Errors of an API server and their hints."""

from __future__ import annotations

import json
import pickle

import pytest

from daypass.kube.errors import (
    AlreadyExistsError,
    ApiError,
    BrokenResponseError,
    ClusterUnreachableError,
    ConflictError,
    ForbiddenError,
    KubeconfigError,
    NotFoundError,
    UnauthorizedError,
    explain,
    is_transient,
)
from support.messages import check


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (401, "Unauthorized", UnauthorizedError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (422, "Invalid", ApiError),
        (500, "InternalError", ApiError),
    ],
)
def test_each_status_has_its_error_class_and_is_kept_complete(
    code: int, reason: str, kind: type[ApiError]
) -> None:
    status = {"kind": "Status", "code": code, "reason": reason, "message": "m", "details": {"a": 1}}
    error = explain(code, json.dumps(status).encode(), "create secrets/x in team")
    assert type(error) is kind
    assert error.status.document == status
    assert "create secrets/x in team: m" in error.fact
    check(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ClusterUnreachableError("x"), True),
        (BrokenResponseError("x"), True),
        (explain(500, b"", "x"), True),
        (explain(410, b"", "x"), True),
        (explain(403, b"", "x"), False),
        (KubeconfigError("x", ""), False),
        (KeyError("x"), False),
    ],
)
def test_an_error_is_transient_if_a_retry_may_succeed(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient
