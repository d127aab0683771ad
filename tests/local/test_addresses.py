"""Door, gate and what it guards on IPv6 alone, and servers whose name has several addresses.

`localhost` is also ::1 on machines with IPv6, and one of both answers.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daypass._core.secret import Secret
from daypass.local.echo import Echo
from daypass.local.stack import AUDIENCE, stack_config
from local.up_embedded import admin_of, at_the_gate, credentials_of, passed_by_the_gate
from support import http_services
from support.deadline import eventually
from support.fake_reviews import fake_reviews
from support.identities import make_identity
from support.raw import Answer, bearer, connect, exchange, get
from support.serving import serving
from support.up import Up

TIMES = 12


LOOPBACK6 = "::1"


class WhoCalls(http_services.Handler):
    def do_GET(self) -> None:
        self.answer(200, self.headers.get("kubeflow-userid", ""))


@contextmanager
def who_calls() -> Iterator[str]:
    """A service on ::1 that answers with who calls; its URL."""
    with http_services.serving(WhoCalls, host=LOOPBACK6) as port:
        yield f"http://[{LOOPBACK6}]:{port}"


def config(upstream: str) -> str:
    return f"""\
version: 1
domains: {{here: {{host: '{LOOPBACK6}', front: envoy}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 24h}}
gates: {{default: {{audience: {AUDIENCE}, engine: envoy, hosts: ['{LOOPBACK6}']}}}}
local:
  {{door: '[{LOOPBACK6}]:0', gate: '[{LOOPBACK6}]:0', apiServer: embedded, upstream: '{upstream}'}}
"""


def at_the_gate6(up: Up, token: Secret) -> Answer:
    where = up.ready["listen"]["gate"]
    port = int(where.removeprefix(f"[{LOOPBACK6}]:"))
    pem = up.authority_file.read_text()
    with connect(port, authority_pem=pem, name=LOOPBACK6, host=LOOPBACK6) as connection:
        return exchange(connection, get(bearer(token), host=where))


def test_a_token_is_exchanged_at_the_door_and_passes_the_gate(tmp_path: Path) -> None:
    with who_calls() as upstream, Up(tmp_path, config(upstream)) as up:
        assert up.door == f"https://{up.ready['listen']['door']}/kubernetes"
        assert up.ready["gates"] == [f"https://{up.ready['listen']['gate']}"]
        identity = make_identity(admin_of(up), "team")
        token = credentials_of(up, identity).token()
        eventually("it is known", lambda: at_the_gate6(up, token.value).code == 200)
        assert at_the_gate6(up, token.value).body.decode() == identity.user
        assert at_the_gate6(up, identity.token).code == 401


def test_every_listener_of_an_authorizer_accepts_ipv6(tmp_path: Path) -> None:
    where = f"[{LOOPBACK6}]:0"
    listen = ("--listen", where, "--status", where)
    with fake_reviews(lambda token: True) as reviews, serving(tmp_path, reviews, *listen) as served:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{served.listens}/gate/default//", timeout=20)
        refused.value.close()
        assert refused.value.code == 404, "this host is not guarded"
        assert served.metric("daypass_gate_cache_entries") == 0


def test_the_gate_reaches_its_upstream_each_time(tmp_path: Path) -> None:
    with Echo() as echo:
        upstream = f"http://localhost:{echo.address.port}"
        with Up(tmp_path, stack_config(upstream=upstream)) as up:
            token = credentials_of(up, make_identity(admin_of(up), "team")).token().value
            passed_by_the_gate(up, token)
            assert {at_the_gate(up, token).code for _ in range(TIMES)} == {200}
