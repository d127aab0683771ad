"""Requests of the contract tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from contract.interface import CAPABILITIES, ApiServer, send
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support.admin import Answer
from support.identities import Identity

JSON = "application/json"
GATE = "gate.example.com"
"""An audience that is not the API server's own."""


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Mark a test that needs more of an API server than the API: see CAPABILITIES."""
    unknown = set(capabilities) - set(CAPABILITIES)
    assert not unknown, f"no such capability: {unknown}"
    return pytest.mark.needs(*capabilities)


def bearer(token: Secret) -> tuple[str, str]:
    """The header that carries a token."""
    return ("Authorization", f"Bearer {token.reveal()}")


def token_request(**spec: Any) -> dict[str, Any]:
    """A TokenRequest; what is left out of `spec` is left out."""
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def post(
    server: ApiServer,
    target: str,
    body: Any,
    *,
    token: Secret | None,
    content_type: str | None = JSON,
    headers: Sequence[tuple[str, str]] = (),
) -> Answer:
    """POST a document (as JSON) or bytes (as they are)."""
    kind = () if content_type is None else (("Content-Type", content_type),)
    credentials = () if token is None else (bearer(token),)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(server, "POST", target, headers=(*credentials, *kind, *headers), body=content)


def request_token(server: ApiServer, identity: Identity, **spec: Any) -> Answer:
    """A TokenRequest of an identity for itself, by its long-lived token."""
    return post(server, identity.token_path, token_request(**spec), token=identity.token)


def issued_token(answer: Answer) -> Secret:
    """The token in a good answer."""
    assert answer.code == 201, answer.body.decode()
    return Secret(answer.json["status"]["token"])


def claims(token: Secret) -> dict[str, Any]:
    """The claims of a token."""
    return decode_unverified(token.reveal())[1]


def review(
    server: ApiServer, token: Secret | str, *, audiences: Sequence[str] | None = None
) -> dict[str, Any]:
    """The status of a TokenReview, requested by the administrator."""
    spec: dict[str, Any] = {"token": token.reveal() if isinstance(token, Secret) else token}
    if audiences is not None:
        spec["audiences"] = list(audiences)
    document = {"spec": spec}
    answered = server.admin.create("/apis/authentication.k8s.io/v1/tokenreviews", document)
    status = answered["status"]
    assert isinstance(status, dict)
    return status


def is_authenticated(server: ApiServer, token: Secret, *, audiences: Sequence[str] = ()) -> bool:
    """Whether a TokenReview says that a token is good."""
    return review(server, token, audiences=audiences).get("authenticated") is True
