"""The embedded API server under contract."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.local.apiserver import ApiServer
from support.admin import Admin
from support.authority import Authority


class EmbeddedApiServer:
    """`daypass.local.apiserver.ApiServer`, as the suite needs it."""

    longest_lifetime_seconds = 86400

    def __init__(self, server: ApiServer, ca_pem: str) -> None:
        self._server = server
        self.url = server.url
        self.issuer = server.issuer
        self.ca_pem = ca_pem
        self._context: ssl.SSLContext = client_context(ca_pem)

    @property
    def admin(self) -> Admin:
        """A client in group system:masters."""
        token = self._server.admin_token.reveal()
        headers = {"Authorization": f"Bearer {token}"}
        return Admin(url=self.url, context=self._context, headers=headers)

    def sign(self, claims: Mapping[str, Any]) -> Secret:
        """A JWT of any claims, signed by the key that tokens are signed by."""
        return self._server.unsafe_sign(dict(claims))


@pytest.fixture(scope="session")
def embedded_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    """The embedded one, on a free port, with a certificate made on the spot."""
    folder: Path = tmp_path_factory.mktemp("embedded")
    authority = Authority()
    pair = authority.server("kubernetes.default.svc", "localhost", "127.0.0.1")
    (folder / "server.crt").write_text(pair.certificate_pem)
    (folder / "server.key").write_text(pair.key_pem)
    with ApiServer.start(
        certificate_file=folder / "server.crt",
        key_file=folder / "server.key",
        certificate_authority=authority.pem,
        clock=SYSTEM_CLOCK,
        max_expiration_seconds=EmbeddedApiServer.longest_lifetime_seconds,
    ) as server:
        yield EmbeddedApiServer(server, authority.pem)
