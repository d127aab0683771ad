"""The API server of the contract tests, and requests to it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.gate.signing_keys import is_signed
from support.admin import Admin, Answer
from support.identities import Identity

JSON = "application/json"
GATE = "gate.example.com"
"""An audience that is not the API server's own."""
JWKS = "/openid/v1/jwks"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """An API server under test.

    `ca_pem`: the authority of its certificate. `admin`: a JSON client that may do everything.
    `sign`: a JWT of any claims, signed by the key that tokens are signed by.
    """

    url: str
    ca_pem: str
    admin: Admin
    sign: Callable[[Mapping[str, Any]], Secret]


def only_kubernetes(why: str) -> pytest.MarkDecorator:
    """Mark a test of what the embedded API server need not do, as its package lists."""
    return pytest.mark.only_kubernetes(why)


def send(
    server: ApiServer,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
) -> Answer:
    """One request as it stands: nothing is added but Host and what says how long the body is.

    `target` goes into the request line as it is, headers in their order and as often as they come.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {server.url.removeprefix('https://')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    with connected(server) as connection:
        connection.sendall(head + (body or b""))
        with http.client.HTTPResponse(connection, method=method) as response:
            response.begin()
            names = tuple((name.lower(), value) for name, value in response.getheaders())
            return Answer(code=response.status, headers=names, body=response.read())


@contextmanager
def connected(server: ApiServer) -> Iterator[ssl.SSLSocket]:
    """A connection to an API server, verified, with no client certificate."""
    host, port = server.url.removeprefix("https://").rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        client_context(server.ca_pem).wrap_socket(plain, server_hostname=host) as connection,
    ):
        yield connection


def bearer(token: Secret) -> tuple[str, str]:
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
    kind = () if content_type is None else (("Content-Type", content_type),)
    credentials = () if token is None else (bearer(token),)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = (*credentials, *kind, *headers)
    return send(server, "POST", target, headers=sent, body=content)


def request_token(server: ApiServer, identity: Identity, **spec: Any) -> Answer:
    return post(server, identity.token_path, token_request(**spec), token=identity.token)


def issued_token(answer: Answer) -> Secret:
    assert answer.code == 201, answer.body.decode()
    return Secret(answer.json["status"]["token"])


def claims(token: Secret | Answer) -> dict[str, Any]:
    token = issued_token(token) if isinstance(token, Answer) else token
    return decode_unverified(token.reveal())[1]


def review(
    server: ApiServer, token: Secret | str, *, audiences: Sequence[str] | None = None
) -> dict[str, Any]:
    spec: dict[str, Any] = {"token": token.reveal() if isinstance(token, Secret) else token}
    if audiences is not None:
        spec["audiences"] = list(audiences)
    status = server.admin.create(TOKEN_REVIEWS, {"spec": spec})["status"]
    assert isinstance(status, dict)
    return status


def is_authenticated(server: ApiServer, token: Secret, *, audiences: Sequence[str] = ()) -> bool:
    return review(server, token, audiences=audiences).get("authenticated") is True


def signature_is_good(server: ApiServer, token: Secret) -> bool:
    """Whether a published key has signed a token: no end, no audience, no deletion is seen."""
    return is_signed(token.reveal(), server.admin.request("GET", JWKS).body.decode())
