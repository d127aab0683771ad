"""Servers whose name has several addresses, one of which answers: `localhost` is also ::1 on
machines with IPv6.
"""

from __future__ import annotations

from pathlib import Path

from daypass._core.clock import SYSTEM_CLOCK
from daypass.kube.certificates import Authority
from daypass.local.api_backend import SERVER_NAME, EmbeddedApiServer
from daypass.local.echo import Echo
from daypass.local.stack import stack_config
from support.doors import post
from support.identities import make_identity
from support.up import HOST, running_up
from support.up_embedded import admin_of, at_the_gate, credentials_of

TIMES = 12
CHECK = post(
    "/kubernetes/api/v1/namespaces/default/serviceaccounts/default/token",
    host=HOST, method="GET", headers=(), body=b"",
)  # fmt: skip


def test_the_door_reaches_the_api_server_each_time(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path, "tests", SYSTEM_CLOCK)
    server = EmbeddedApiServer(authority, tmp_path, SYSTEM_CLOCK)
    try:
        (tmp_path / "ca.crt").write_text(authority.pem)
        url = server.server.url.replace("127.0.0.1", "localhost")
        cluster = f"server: {url}, serverName: {SERVER_NAME}, certificateAuthority: ca.crt"
        config = stack_config(cluster=f"cluster: {{{cluster}}}\n").partition("gate:")
        rest = config[2].partition("\n")[2]
        with running_up(tmp_path, config[0] + rest) as up:
            assert {up.send(CHECK).code for _ in range(TIMES)} == {403}
    finally:
        server.stop()


def test_the_gate_reaches_its_upstream_each_time(tmp_path: Path) -> None:
    with Echo() as echo:
        upstream = f"http://localhost:{echo.address.port}"
        with running_up(tmp_path, stack_config(upstream=upstream)) as up:
            token = credentials_of(up, make_identity(admin_of(up), "team")).token().value
            assert {at_the_gate(up, token).code for _ in range(TIMES)} == {200}
