"""Doors behind a proxy. `unit/core/test_proxy.py` tests which hosts are."""

from __future__ import annotations

import base64

import pytest

from daypass._core.errors import UsageError
from daypass.client.errors import DoorNotTrustedError, DoorUnreachableError, NotADoorError
from daypass.client.transport import Proxy
from support.authority import Authority
from support.fake_door import (
    FakeDoor,
    FakeProxy,
    say_nothing,
    short_lived_token,
    token_answer,
)
from support.messages import raises
from support.timing import FakeTiming
from unit.client.conftest import Ask, CredentialsFor

HOST = "ekf.example.com"
URL = f"https://{HOST}/kubernetes"


def test_a_door_is_reached_through_a_tunnel_and_verified_by_its_own_name(
    authority: Authority, credentials_for: CredentialsFor, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        FakeDoor(token_answer(), context=authority.context(HOST)) as door,
        FakeProxy(door.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        assert ask(credentials_for(URL)).value.reveal() == short_lived_token()

    head = proxy.requests[0].decode().split("\r\n")
    assert head[0] == f"CONNECT {HOST}:443 HTTP/1.1"
    assert f"Host: {HOST}:443" in head
    login = base64.b64encode(b"me:p@ss").decode()
    assert f"Proxy-Authorization: Basic {login}" in head
    assert not any(line.startswith("Authorization") for line in head)
    assert b"Proxy-Authorization" not in door.requests[0]
    assert f"Host: {HOST}\r\n".encode() in door.requests[0]


def test_a_proxy_cannot_present_its_own_certificate(
    credentials_for: CredentialsFor, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        FakeDoor(token_answer(), context=Authority().context(HOST)) as door,
        FakeProxy(door.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with pytest.raises(DoorNotTrustedError):
            ask(credentials_for(URL))
    assert door.requests == []


@pytest.mark.parametrize(("code", "heals"), [(407, False), (503, True)])
def test_a_proxy_that_refuses_the_tunnel_is_named(
    credentials_for: CredentialsFor,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    heals: bool,
) -> None:
    reply = f"HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n".encode()
    with FakeProxy(1, reply) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}/")
        with raises(DoorUnreachableError, match=f"{HOST}:443.*{code}") as raised:
            ask(credentials_for(URL))
    assert "NO_PROXY" in raised.value.hint
    assert raised.value.heals_by_itself is heals


def test_a_proxy_that_sends_extra_data_or_no_http_is_refused(
    credentials_for: CredentialsFor, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reply in (b"HTTP/1.1 201 Tunnel\r\n\r\nhello", b"SOCKS\r\n\r\n"):
        with FakeProxy(1, reply) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            with raises(NotADoorError, match=f"proxy 127.0.0.1:{proxy.port}"):
                ask(credentials_for(URL))


def test_a_silent_proxy_times_out_at_the_deadline(
    credentials_for: CredentialsFor, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeDoor(say_nothing, context=None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with raises(DoorUnreachableError, match=f"proxy 127.0.0.1:{proxy.port}"):
            ask(credentials_for(URL, time=FakeTiming(exchange_seconds=0.2)))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("socks5://me:secret@proxy:1080", "http proxy"),
        ("http://me:secret@", "http proxy"),
        ("http://me:secret@pro xy:1", "http proxy"),
    ],
)
def test_an_unusable_proxy_is_reported_without_its_password(url: str, expected: str) -> None:
    with raises(UsageError, match=expected) as raised:
        Proxy.parse(url)
    assert "secret" not in str(raised.value)


def test_a_proxys_password_is_not_in_its_repr() -> None:
    assert "c2VjcmV0" not in repr(Proxy.parse("http://me:secret@proxy:3128"))
    assert "me" not in repr(Proxy.parse("http://me:secret@proxy:3128"))
