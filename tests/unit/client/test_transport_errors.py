"""Failures between the client and a door, over real sockets, sync and async.

Each case has one error and a next step.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from daypass.client.errors import (
    CredentialsError,
    DoorNotTrustedError,
    DoorUnreachableError,
    NotADoorError,
)
from support.authority import Authority
from support.fake_door import (
    Behaviour,
    cut,
    drip,
    reset,
    say_nothing,
    short_lived_token,
    token_answer,
)
from support.messages import raises
from support.timing import FakeClock, FakeTiming
from unit.client.conftest import Ask, CredentialsFor, Serve

ADDRESS = r"127\.0\.0\.1:\d+"


# -- TLS


def test_a_certificate_of_an_unknown_authority_is_not_trusted(serve: Serve, ask: Ask) -> None:
    door, credentials = serve(token_answer(), tls=Authority().context("127.0.0.1"))
    with raises(DoorNotTrustedError, match=r"127\.0\.0\.1") as raised:
        ask(credentials)
    assert "certificateAuthority" in raised.value.hint
    assert not raised.value.heals_by_itself
    assert door.requests == []


def test_ssl_cert_file_is_used_if_the_credentials_name_no_authority(
    authority: Authority, serve: Serve, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    door, credentials = serve(token_answer(), certificateAuthority=None)
    ask(credentials)
    assert len(door.requests) == 1


def test_an_invalid_authority_is_refused_before_anything_is_sent(
    credentials_for: CredentialsFor, ask: Ask
) -> None:
    with raises(CredentialsError, match="certificate authority") as raised:
        ask(credentials_for("https://127.0.0.1:1/kubernetes", certificateAuthority="hello"))
    assert "certificateAuthority" in raised.value.hint


def test_a_certificate_for_another_name_is_not_trusted(
    authority: Authority, serve: Serve, ask: Ask
) -> None:
    _, credentials = serve(token_answer(), tls=authority.context("ekf.example.com"))
    with raises(DoorNotTrustedError, match=r"127\.0\.0\.1"):
        ask(credentials)


def test_sni_is_sent_and_checked_for_a_host_name(
    authority: Authority, serve: Serve, ask: Ask
) -> None:
    names: list[str | None] = []
    context = authority.context("localhost")
    context.sni_callback = lambda connection, name, context: names.append(name)
    _, credentials = serve(token_answer(), tls=context, url="https://LocalHost:{port}/kubernetes")
    ask(credentials)
    assert names == ["localhost"]


@pytest.mark.parametrize(
    ("begins", "days"), [pytest.param(-30, 20, id="expired"), pytest.param(10, 5, id="early")]
)
def test_an_expired_or_early_certificate_is_reported_with_the_local_time(
    authority: Authority, serve: Serve, ask: Ask, begins: int, days: int
) -> None:
    context = authority.context("127.0.0.1", begins_in_days=begins, days=days)
    _, credentials = serve(token_answer(), tls=context)
    with raises(DoorNotTrustedError, match=r"127\.0\.0\.1") as raised:
        ask(credentials)
    assert "2027-01-15T08:00:00Z" in raised.value.hint


def test_a_port_with_plain_http_fails_in_tls(serve: Serve, ask: Ask) -> None:
    url = "https://127.0.0.1:{port}/kubernetes"
    _, credentials = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n", tls=None, reads=False, url=url)
    with raises(DoorUnreachableError, match="TLS", hide="(?<=fails: ).*(?=\\n)") as raised:
        ask(credentials)
    assert "port" in raised.value.hint


def test_a_failing_tls_handshake_is_not_retried(
    authority: Authority, serve: Serve, ask: Ask, timing: FakeTiming
) -> None:
    context = authority.context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED  # it wants a client's certificate, which no door does
    context.load_verify_locations(cadata=authority.pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, credentials = serve(token_answer(), tls=context)
    with raises(DoorUnreachableError, match="TLS", hide="(?<=fails: ).*") as raised:
        ask(credentials)
    assert not raised.value.heals_by_itself
    assert timing.waits == []


# -- connections


def test_a_refused_connection_is_retried_and_then_reported(
    credentials_for: CredentialsFor, ask: Ask, timing: FakeTiming
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with raises(DoorUnreachableError, match=f"127.0.0.1:{port} "):
        ask(credentials_for(f"https://127.0.0.1:{port}/kubernetes"))
    assert len(timing.waits) == 3


@pytest.mark.parametrize(
    "behaviour",
    [
        reset,
        pytest.param(cut(token_answer()[:-9]), id="cut"),
        pytest.param(b"", id="closed"),
    ],
)
def test_a_truncated_answer_is_retried_and_then_reported(
    serve: Serve, ask: Ask, behaviour: bytes | Behaviour
) -> None:
    door, credentials = serve(behaviour)
    with raises(DoorUnreachableError, match=ADDRESS) as raised:
        ask(credentials)
    assert len(door.requests) == 4
    assert raised.value.heals_by_itself


def test_an_answer_without_a_length_is_used_only_if_its_json_is_complete(
    serve: Serve, ask: Ask
) -> None:
    raw = b"HTTP/1.1 201 Created\r\n\r\n" + token_answer().partition(b"\r\n\r\n")[2]
    _, credentials = serve(cut(raw))
    assert ask(credentials).value.reveal() == short_lived_token()
    _, credentials = serve(cut(raw[:-1]))
    with raises(NotADoorError, match="201"):
        ask(credentials)


def test_the_second_address_is_tried_if_the_first_refuses(
    serve: Serve, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def two(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        found = real("127.0.0.1", port, *args, **kwargs)
        family, kind, protocol, name, _ = found[0]
        return [(family, kind, protocol, name, ("127.0.0.1", 1)), *found]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    _, credentials = serve(token_answer(), tls=None)
    assert ask(credentials).value.reveal() == short_lived_token()


# -- the deadline


def test_a_silent_door_times_out_at_the_deadline(serve: Serve, ask: Ask) -> None:
    door, credentials = serve(say_nothing, tls=None, time=FakeTiming(exchange_seconds=0.5))
    with raises(DoorUnreachableError, match=ADDRESS) as raised:
        ask(credentials)
    assert raised.value.heals_by_itself
    assert len(door.requests) == 1


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n", b"{"),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["interim", "body", "chunks"],
)
def test_a_slow_answer_does_not_outlast_the_deadline(
    serve: Serve, ask: Ask, head: bytes, more: bytes
) -> None:
    # Each look at the clock takes a second here, so that thirty of them are enough.
    _, credentials = serve(drip(head, more), time=FakeTiming(FakeClock(step_seconds=1.0)))
    with raises(DoorUnreachableError, match=ADDRESS):
        ask(credentials)


# -- answers that are none


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 201 Created\r\n\r\n" + b"x" * (1 << 21),
        b"SSH-2.0-OpenSSH_9.7\r\n",
    ],
    ids=["endless body", "ssh"],
)
def test_an_endless_answer_or_another_protocol_is_not_a_door(
    serve: Serve, ask: Ask, timing: FakeTiming, raw: bytes
) -> None:
    _, credentials = serve(cut(raw))
    with raises(NotADoorError, match=ADDRESS):
        ask(credentials)
    assert timing.waits == []
