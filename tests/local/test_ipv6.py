"""Door, gate and what it guards, on IPv6 alone."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from daypass.local.stack import AUDIENCE
from support.fake_reviews import fake_reviews
from support.identities import make_identity
from support.loopback6 import LOOPBACK6, need_loopback6, who_calls
from support.messages import check
from support.raw import Answer, connect, exchange
from support.serving import serving
from support.up import Up, running_up
from support.up_embedded import admin_of, credentials_of

NOWHERE = "2001:db8::1"
"""An address of examples (RFC 3849), which no machine has."""


def config(check: str, *, listen: str = LOOPBACK6, upstream: str = "") -> str:
    more = f", upstream: '{upstream}'" if upstream else ""
    return f"""\
version: 1
domains: {{here: {{host: '{LOOPBACK6}', front: envoy}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 24h}}
gate: {{audience: {AUDIENCE}, engine: envoy, hosts: ['{LOOPBACK6}'], check: {check}}}
local: {{door: '[{listen}]:0', gate: '[{listen}]:0', apiServer: embedded{more}}}
"""


def at_the_gate(up: Up, token: Secret) -> Answer:
    where = up.ready["listen"]["gate"]
    port = int(where.removeprefix(f"[{LOOPBACK6}]:"))
    lines = ["GET / HTTP/1.1", f"Host: {where}", f"Authorization: Bearer {token.reveal()}"]
    pem = up.authority_file.read_text()
    with connect(port, authority_pem=pem, name=LOOPBACK6, host=LOOPBACK6) as connection:
        return exchange(connection, "\r\n".join([*lines, "", ""]).encode())


@pytest.mark.parametrize("check", ["jwt", "review"])
def test_a_token_is_exchanged_at_the_door_and_passes_the_gate(tmp_path: Path, check: str) -> None:
    need_loopback6()
    with who_calls() as upstream, running_up(tmp_path, config(check, upstream=upstream)) as up:
        assert up.door == f"https://{up.ready['listen']['door']}/kubernetes"
        assert up.ready["gates"] == [f"https://{up.ready['listen']['gate']}"]
        identity = make_identity(admin_of(up), "team")
        token = credentials_of(up, identity).token()
        answer = at_the_gate(up, token.value)
        assert (answer.code, answer.body.decode()) == (200, identity.user)
        assert at_the_gate(up, identity.token).code == 401


def test_every_listener_of_an_authorizer_accepts_ipv6(tmp_path: Path) -> None:
    need_loopback6()
    where = f"[{LOOPBACK6}]:0"
    listen = ("--listen", where, "--status", where)
    with fake_reviews(lambda token: True) as reviews, serving(tmp_path, reviews, *listen) as served:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{served.listens}/", timeout=20)
        refused.value.close()
        assert refused.value.code == 404, "this host is not guarded"
        assert served.metric("daypass_gate_closed") == 0


def test_an_address_that_the_machine_does_not_have_is_an_error(tmp_path: Path) -> None:
    with running_up(tmp_path, config("jwt", listen=NOWHERE)) as up:
        assert up.wait() == 1
    assert f"[{NOWHERE}]:0" in up.words
    check(up.words, reason="failed")
    assert "Traceback" not in up.words
