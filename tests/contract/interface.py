"""What the contract suite asks of an API server that it runs on."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from daypass._core.secret import Secret
from daypass._core.tls import client_context
from support.admin import Admin, Answer

CAPABILITIES: Final[Mapping[str, str]] = {
    "admission-policies": "ValidatingAdmissionPolicies are CEL, which only Kubernetes evaluates",
    "extended-tokens": "a token of a year is for pods of old clusters, whose kubelet renews it",
    "impersonation": "the door lets no such header through, and the embedded one refuses it",
    "flow-control": "FlowSchemas and PriorityLevelConfigurations come with a cluster",
    "mutating-policies": "MutatingAdmissionPolicies are CEL, too",
    "pods-and-nodes": "tokens bound to Pods and Nodes belong to kubelets",
    "protobuf": "a body of protobuf needs Kubernetes' own generated types",
}
"""What only a real API server has, and why. A test with `@needs("...")` runs on the real one."""


class ApiServer(Protocol):
    """An API server under test."""

    @property
    def url(self) -> str:
        """Where it listens, `https://127.0.0.1:<port>`."""

    @property
    def ca_pem(self) -> str:
        """The authority of its certificate."""

    @property
    def issuer(self) -> str:
        """`iss` of its short-lived tokens, and its own and only audience."""

    @property
    def longest_lifetime_seconds(self) -> int:
        """What it shortens longer lifetimes to."""

    @property
    def admin(self) -> Admin:
        """A JSON client that may do everything: make namespaces, ServiceAccounts, Secrets, RBAC."""

    def sign(self, claims: Mapping[str, Any]) -> Secret:
        """A JWT of any claims, signed by the key that tokens are signed by."""


def send(
    server: ApiServer,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    chunked: bool = False,
) -> Answer:
    """One request as it stands: nothing is added but Host and what says how long the body is.

    `target` goes into the request line as it is, headers in their order and as often as they come.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {server.url.removeprefix('https://')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None and chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    elif body is not None:
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
        _context(server.ca_pem).wrap_socket(plain, server_hostname=host) as connection,
    ):
        yield connection


_contexts: dict[str, ssl.SSLContext] = {}


def _context(ca_pem: str) -> ssl.SSLContext:
    if ca_pem not in _contexts:
        _contexts[ca_pem] = client_context(ca_pem)
    return _contexts[ca_pem]
