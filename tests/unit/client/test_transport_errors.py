"""Failures between the client and a door, over real sockets, sync and async.

Each case has one error and a next step.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from daypass.client.credentials import Credentials
from daypass.client.errors import (
    CredentialsError,
    DoorNotTrustedError,
    DoorUnreachableError,
    NotADoorError,
)
from daypass.client.token import Token
from support.fake_door import (
    FakeDoor,
    Signer,
    cut,
    drip,
    reset,
    say_nothing,
    short_lived_token,
    token_answer,
)
from support.messages import raises
from support.timing import FakeClock, FakeTiming

Ask = Callable[..., Token]
CredentialsFor = Callable[..., Credentials]


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    stranger = Signer()
    with (
        FakeDoor(token_answer(), context=stranger.context("127.0.0.1")) as door,
        raises(DoorNotTrustedError, match=r"127\.0\.0\.1") as raised,
    ):
        ask(credentials_for(door.url))
    assert "certificateAuthority" in raised.value.hint
    assert not raised.value.heals_by_itself
    assert door.requests == []


def test_without_an_authority_the_hint_names_where_to_set_one(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    with (
        FakeDoor(token_answer(), context=signer.context("127.0.0.1")) as door,
        raises(DoorNotTrustedError) as raised,
    ):
        ask(credentials_for(door.url, certificateAuthority=None))
    assert "DAYPASS_CA_FILE" in raised.value.hint
    assert "SSL_CERT_FILE" in raised.value.hint


def test_ssl_cert_file_is_used_if_the_credentials_name_no_authority(
    signer: Signer,
    credentials_for: CredentialsFor,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    (tmp_path / "ca.pem").write_text(signer.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with FakeDoor(token_answer(), context=signer.context("127.0.0.1")) as door:
        ask(credentials_for(door.url, certificateAuthority=None))
    assert len(door.requests) == 1


@pytest.mark.parametrize(
    "text",
    ["", "hello", "-----BEGIN CERTIFICATE-----\nAA\n", "é"],
    ids=["empty", "words", "damaged", "not ASCII"],
)
def test_an_invalid_authority_is_refused_before_anything_is_sent(
    credentials_for: CredentialsFor, ask: Ask, text: str
) -> None:
    with raises(CredentialsError, match="certificate authority"):
        ask(credentials_for("https://127.0.0.1:1/kubernetes", certificateAuthority=text))


def test_a_certificate_for_another_name_is_not_trusted(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    with (
        FakeDoor(token_answer(), context=signer.context("ekf.example.com")) as door,
        raises(DoorNotTrustedError, match=r"127\.0\.0\.1"),
    ):
        ask(credentials_for(door.url))


def test_sni_is_sent_and_checked_for_a_host_name(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    names: list[str | None] = []
    context = signer.context("localhost")
    context.sni_callback = lambda connection, name, context: names.append(name)
    with FakeDoor(token_answer(), context=context) as door:
        ask(credentials_for(f"https://LocalHost:{door.port}/kubernetes"))
    assert names == ["localhost"]


@pytest.mark.parametrize(
    ("begins", "days"), [pytest.param(-30, 20, id="expired"), pytest.param(10, 5, id="early")]
)
def test_an_expired_or_early_certificate_is_reported_with_the_local_time(
    signer: Signer,
    credentials_for: CredentialsFor,
    ask: Ask,
    begins: int,
    days: int,
) -> None:
    context = signer.context("127.0.0.1", begins_in_days=begins, days=days)
    with (
        FakeDoor(token_answer(), context=context) as door,
        raises(DoorNotTrustedError, match=r"127\.0\.0\.1") as raised,
    ):
        ask(credentials_for(door.url))
    assert "2027-01-15T08:00:00Z" in raised.value.hint


def test_a_port_with_plain_http_is_not_a_door(credentials_for: CredentialsFor, ask: Ask) -> None:
    with (
        FakeDoor(b"HTTP/1.1 400 Bad Request\r\n\r\n", context=None, reads=False) as door,
        raises(NotADoorError, match=r"127\.0\.0\.1:\d+"),
    ):
        ask(credentials_for(door.url.replace("http:", "https:")))


def test_a_failing_tls_handshake_is_not_retried(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask, timing: FakeTiming
) -> None:
    context = signer.context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED  # it wants a client's certificate, which no door does
    context.load_verify_locations(cadata=signer.pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        FakeDoor(token_answer(), context=context) as door,
        raises(DoorUnreachableError, match="TLS", hide="(?<=fails: ).*") as raised,
    ):
        ask(credentials_for(door.url))
    assert not raised.value.heals_by_itself
    assert timing.waits == []


def test_an_unknown_host_name_is_not_retried(
    credentials_for: CredentialsFor,
    ask: Ask,
    timing: FakeTiming,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with raises(DoorUnreachableError, match=r"door\.invalid:443"):
        ask(credentials_for("https://door.invalid/kubernetes"))
    assert timing.waits == []


def test_a_refused_connection_is_retried_and_then_reported(
    credentials_for: CredentialsFor, ask: Ask, timing: FakeTiming
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with raises(DoorUnreachableError, match=f"127.0.0.1:{port} "):
        ask(credentials_for(f"https://127.0.0.1:{port}/kubernetes"))
    assert len(timing.waits) == 3


@pytest.mark.parametrize(
    "raw", [b"", token_answer()[:20], token_answer()[:-9]], ids=["nothing", "head", "body"]
)
@pytest.mark.parametrize("end", [cut, lambda data: data], ids=["cut off", "closed"])
def test_a_truncated_answer_is_retried_and_then_reported(
    signer: Signer,
    credentials_for: CredentialsFor,
    ask: Ask,
    timing: FakeTiming,
    end: Callable[[bytes], Any],
    raw: bytes,
) -> None:
    with (
        FakeDoor(end(raw), context=signer.context("127.0.0.1")) as door,
        raises(DoorUnreachableError, match=r"127\.0\.0\.1:\d+") as raised,
    ):
        ask(credentials_for(door.url))
    assert len(door.requests) == 4
    assert raised.value.heals_by_itself


def test_an_answer_without_a_length_is_used_only_if_its_json_is_complete(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    raw = b"HTTP/1.1 201 Created\r\n\r\n" + token_answer().partition(b"\r\n\r\n")[2]
    with FakeDoor(cut(raw), context=signer.context("127.0.0.1")) as door:
        assert ask(credentials_for(door.url)).value.reveal() == short_lived_token()
    with (
        FakeDoor(cut(raw[:-1]), context=signer.context("127.0.0.1")) as door,
        raises(NotADoorError, match="201"),
    ):
        ask(credentials_for(door.url))


def test_a_reset_connection_is_retried_and_then_reported(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    with (
        FakeDoor(reset, context=signer.context("127.0.0.1")) as door,
        raises(DoorUnreachableError, match=r"127\.0\.0\.1:\d+"),
    ):
        ask(credentials_for(door.url))
    assert len(door.requests) == 4


def test_a_silent_door_times_out_at_the_deadline(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask
) -> None:
    timing = FakeTiming(exchange_seconds=0.3)
    with (
        FakeDoor(say_nothing, context=signer.context("127.0.0.1")) as door,
        raises(DoorUnreachableError, match=r"127\.0\.0\.1:\d+") as raised,
    ):
        ask(credentials_for(door.url, time=timing))
    assert raised.value.heals_by_itself
    assert len(door.requests) == 1


def test_a_silent_port_times_out_at_the_deadline(credentials_for: CredentialsFor, ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/kubernetes"
        credentials = credentials_for(url, time=FakeTiming(exchange_seconds=0.3))
        with raises(DoorUnreachableError, match="TLS"):
            ask(credentials)


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 201 Created\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n", b"{"),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["interim", "headers", "body", "chunks"],
)
def test_a_slow_answer_does_not_outlast_the_deadline(
    signer: Signer, credentials_for: CredentialsFor, head: bytes, more: bytes
) -> None:
    # Each look at the clock takes a second here, so that thirty of them are enough.
    timing = FakeTiming(FakeClock(step_seconds=1.0))
    with (
        FakeDoor(drip(head, more), context=signer.context("127.0.0.1")) as door,
        raises(DoorUnreachableError, match=r"127\.0\.0\.1:\d+"),
    ):
        credentials_for(door.url, time=timing).token()


def test_a_slow_answer_does_not_outlast_the_deadline_on_asyncio(
    signer: Signer, credentials_for: CredentialsFor
) -> None:
    timing = FakeTiming(exchange_seconds=0.2)
    endless = drip(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n", b"{")
    with (
        FakeDoor(endless, context=signer.context("127.0.0.1")) as door,
        raises(DoorUnreachableError, match=r"127\.0\.0\.1:\d+"),
    ):
        asyncio.run(credentials_for(door.url, time=timing).token_async())


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 201 Created\r\n\r\n" + b"x" * (1 << 21),
        b"HTTP/1.1 201 Created\r\n" + b"A: b\r\n" * 10_000,
        b"HTTP/1.1 201 Created\r\n" + b"A" * (1 << 21),
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n") * 20,
    ],
    ids=["body", "headers", "line", "chunks"],
)
def test_an_endless_answer_is_not_read_to_its_end(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask, timing: FakeTiming, raw: bytes
) -> None:
    with (
        FakeDoor(cut(raw), context=signer.context("127.0.0.1")) as door,
        raises(NotADoorError, match=r"127\.0\.0\.1:\d+"),
    ):
        ask(credentials_for(door.url))
    assert timing.waits == []


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\x16\x03\x01" + bytes(range(128, 192)) + b"\n",
        b"HTTP/2 200\r\n",
    ],
    ids=["ssh", "tls", "http2"],
)
def test_a_server_without_http_is_not_a_door(
    signer: Signer, credentials_for: CredentialsFor, ask: Ask, raw: bytes
) -> None:
    with (
        FakeDoor(raw, context=signer.context("127.0.0.1")) as door,
        raises(NotADoorError, match=r"127\.0\.0\.1:\d+"),
    ):
        ask(credentials_for(door.url))


def test_the_second_address_is_tried_if_the_first_refuses(
    credentials_for: CredentialsFor, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def two(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        found = real("127.0.0.1", port, *args, **kwargs)
        family, kind, protocol, name, _ = found[0]
        return [(family, kind, protocol, name, ("127.0.0.1", 1)), *found]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with FakeDoor(token_answer(), context=None) as door:
        assert ask(credentials_for(door.url)).value.reveal() == short_lived_token()
