"""Behaviour that all HTTP adapters share, with each library, against a real service."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import daypass
from daypass.local.stack import AUDIENCE, LocalStack, MadeIdentity
from daypass.testing import MovableClock
from integrations.callers import CALLERS, Caller, Data, Urllib3
from integrations.service import Said, Seen, Service
from integrations.trust import Trust

BODY = b"0123456789abcdef" * 8192
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


def test_a_real_gate_accepts_the_token_and_knows_its_user(
    caller: Caller, daypass_stack: LocalStack, daypass_identity: MadeIdentity, trust: Trust
) -> None:
    with type(caller)(caller.credentials, daypass_stack.gate, trust.file) as at_the_gate:
        reply = at_the_gate.send(f"{daypass_stack.gate}/pipeline", "POST", data=b"{}")
    assert reply.code == 200, reply
    assert json.loads(reply.text)["headers"]["kubeflow-userid"] == daypass_identity.user


def test_every_request_carries_a_token_and_the_same_one_while_it_is_fresh(
    caller: Caller, service: Service, client_clock: MovableClock
) -> None:
    assert [caller.send(service.origin).code for _ in range(3)] == [200, 200, 200]
    assert service.tokens == [caller.credentials.token().value.reveal()] * 3
    client_clock.move(3600)
    caller.send(service.origin)
    assert len(set(service.tokens)) == 2


def test_an_expired_token_is_renewed_once_and_the_request_sent_again(
    caller: Caller, service: Service, daypass_stack: LocalStack, daypass_clock: MovableClock
) -> None:
    def review(seen: Seen) -> Said:
        spec = {"token": seen.token, "audiences": [AUDIENCE]}
        reviewed = daypass_stack.cluster.request("POST", REVIEWS, {"spec": spec}, what="review")
        return Said(code=200 if reviewed["status"].get("authenticated") else 401)

    service.answer = review
    assert caller.send(service.origin, "POST", data=BODY).code == 200
    daypass_clock.move(3700)
    assert caller.send(f"{service.origin}/again?x=1", "POST", data=BODY).code == 200
    assert caller.send(service.origin).code == 200
    first, refused, again, last = service.seen
    assert first.token == refused.token != again.token == last.token
    assert (again.method, again.path, again.body) == ("POST", "/again?x=1", BODY)


def test_a_server_that_always_returns_401_gets_two_requests_once_and_then_one_each_time(
    caller: Caller, service: Service
) -> None:
    service.answer = lambda _: Said(code=401)
    assert caller.send(service.origin).code == 401
    assert len(set(service.tokens)) == len(service.tokens) == 2
    assert [caller.send(service.origin).code for _ in range(4)] == [401] * 4
    assert len(service.seen) == 6
    assert len(set(service.tokens)) == 2


@pytest.mark.parametrize("code", [302, 403, 503])
def test_only_a_401_is_retried(caller: Caller, service: Service, code: int) -> None:
    service.answer = lambda _: Said(code=code)
    assert caller.send(service.origin, "POST", data=b"x").code == code
    assert len(service.seen) == 1


def pipe() -> BinaryIO:
    """A file that cannot be rewound."""
    reading, writing = os.pipe()
    os.write(writing, b"0123456789")
    os.close(writing)
    return os.fdopen(reading, "rb")


def chunks() -> Generator[bytes, None, None]:
    yield b"01234"
    yield b"56789"


def part_read() -> io.BytesIO:
    file = io.BytesIO(b"skipped0123456789")
    file.seek(7)
    return file


REPLAYED: list[tuple[str, Callable[[], Data]]] = [
    *((name, lambda: b"0123456789") for name in CALLERS),
    *((name, lambda: io.BytesIO(b"0123456789")) for name in ("requests", "aiohttp", "urllib3")),
    *((name, part_read) for name in ("requests", "aiohttp", "urllib3")),
]


@pytest.mark.parametrize(("name", "data"), REPLAYED)
def test_a_body_that_can_be_sent_again_is_sent_again_whole(
    name: str, data: Callable[[], Data], credentials: daypass.Credentials, service: Service,
    trust: Trust,
) -> None:  # fmt: skip
    service.refuse_the_first_token()
    with CALLERS[name](credentials, service.origin, trust.file) as caller:
        assert caller.send(service.origin, "PUT", data=data()).code == 200
    assert [seen.body for seen in service.seen] == [b"0123456789"] * 2


def test_a_form_with_a_file_is_sent_again_whole(
    caller: Caller, service: Service, tmp_path: Path
) -> None:
    service.refuse_the_first_token()
    (tmp_path / "pipeline.yaml").write_bytes(BODY)
    with (tmp_path / "pipeline.yaml").open("rb") as file:
        assert caller.send(service.origin, "POST", file=file).code == 200
    first, second = service.seen
    assert first.body == second.body
    assert BODY in second.body


GONE: list[tuple[str, Callable[[], Any]]] = [
    *((name, chunks) for name in CALLERS),
    # These cannot rewind it.
    *((name, lambda: io.BytesIO(b"0123456789")) for name in ("httpx", "httpx2")),
    *((name, pipe) for name in ("requests", "aiohttp", "urllib3")),
]


@pytest.mark.parametrize(("name", "data"), GONE)
def test_a_consumed_body_is_not_sent_again_and_the_next_request_passes(
    name: str, data: Callable[[], Any], credentials: daypass.Credentials, service: Service,
    trust: Trust, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    service.refuse_the_first_token()
    with CALLERS[name](credentials, service.origin, trust.file) as caller, closing(data()) as body:
        assert caller.send(service.origin, "PUT", data=body).code == 401
        (logged,) = caplog.messages
        assert "can be read only once" in logged
        assert [seen.body for seen in service.seen] == [b"0123456789"]
        assert caller.send(service.origin, "PUT", data=chunks()).code == 200
    assert [seen.body for seen in service.seen] == [b"0123456789"] * 2


def test_an_authorization_header_of_the_caller_is_kept(caller: Caller, service: Service) -> None:
    service.answer = lambda _: Said(code=401)
    reply = caller.send(service.origin, headers={"authorization": "Basic eDp5"})
    assert reply.code == 401
    assert [seen.headers["authorization"] for seen in service.seen] == ["Basic eDp5"]


def test_a_refusal_of_the_gate_is_logged_without_its_path_or_token(
    caller: Caller, daypass_stack: LocalStack, daypass_identity: MadeIdentity, trust: Trust,
    caplog: pytest.LogCaptureFixture, tmp_path: Path,
) -> None:  # fmt: skip
    file = tmp_path / "elsewhere.json"
    settings = json.loads(daypass_identity.credentials_file.read_text())
    file.write_text(json.dumps({**settings, "audience": "elsewhere"}))
    file.chmod(0o600)
    credentials = daypass.Credentials.from_file(file)
    host = daypass_stack.gate.removeprefix("https://")
    with type(caller)(credentials, daypass_stack.gate, trust.file) as elsewhere:
        assert elsewhere.send(f"https://{host}/secret?secret", "POST", data=b"{}").code == 403
    assert [text for text in caplog.messages if "gate refused" in text] == [
        f"the gate refused POST https://{host}: this token is made for another audience (audience)"
    ]
    assert credentials.token().value.reveal() not in caplog.text


@pytest.mark.parametrize("code", [401, 403])
def test_what_the_service_itself_answers_is_not_logged(
    caller: Caller, service: Service, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    service.answer = lambda _: Said(code=code)
    caller.send(service.origin, "POST", data=b"{}")
    assert "refused" not in caplog.text


@pytest.mark.parametrize("drops", ["request", "response"])
def test_after_a_broken_connection_daypass_sends_nothing_again(
    caller: Caller, service: Service, drops: str
) -> None:
    service.drops = drops
    token = caller.credentials.token()
    with pytest.raises(caller.error):
        caller.send(service.origin, "POST", data=BODY)
    # urllib3 itself sends a request again that was not sent completely.
    assert len(service.tokens) == 1 or (isinstance(caller, Urllib3) and drops == "request")
    assert set(service.tokens) == {token.value.reveal()}
    assert caller.credentials.token() is token


def test_a_request_without_a_token_is_not_sent(
    caller: Caller, service: Service, daypass_stack: LocalStack, daypass_identity: MadeIdentity,
    daypass_clock: MovableClock, client_clock: MovableClock,
) -> None:  # fmt: skip
    daypass_stack.revoke(daypass_identity)
    daypass_clock.move(11)
    client_clock.move(3600)
    with pytest.raises(daypass.ExchangeRefusedError, match="401"):
        caller.send(service.origin)
    assert service.seen == []


def test_a_failed_renewal_after_a_401_is_an_error_and_nothing_is_resent(
    caller: Caller, service: Service, daypass_stack: LocalStack, daypass_identity: MadeIdentity,
    daypass_clock: MovableClock,
) -> None:  # fmt: skip
    service.answer = lambda _: Said(code=401)
    daypass_stack.revoke(daypass_identity)
    daypass_clock.move(11)
    with pytest.raises(daypass.ExchangeRefusedError, match="401"):
        caller.send(service.origin)
    assert len(service.seen) == 1
