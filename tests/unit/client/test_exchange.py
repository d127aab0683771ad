"""The whole exchange with a fake door, sync and async."""

from __future__ import annotations

import asyncio

import pytest

from daypass.client.errors import DoorBusyError, DoorUnreachableError, NotADoorError
from support.fake_door import (
    AUDIENCE,
    NAMESPACE,
    SECRET,
    SENTINEL,
    SERVICE_ACCOUNT,
    Behaviour,
    answer,
    long_lived_token,
    reset,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import raises
from support.timing import NOON, FakeTiming
from unit.client.conftest import Ask, Serve


def test_a_long_lived_token_is_exchanged_for_a_short_lived_one_bound_to_its_secret(
    serve: Serve, ask: Ask
) -> None:
    door, credentials = serve(token_answer(), lifetimeSeconds=9999)
    token = ask(credentials)
    assert token.value.reveal() == short_lived_token()
    assert token.audiences == (AUDIENCE,)
    assert token.expires_at.timestamp() == NOON + 3600
    assert token.expires_at.utcoffset() is not None
    assert short_lived_token() not in repr(token)

    head = door.requests[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
    path = f"/kubernetes/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}/token"
    assert head[0] == f"POST {path} HTTP/1.1"
    assert {
        f"Host: 127.0.0.1:{door.port}",
        f"Authorization: Bearer {long_lived_token()}",
        "Content-Type: application/json",
        "Connection: close",
    } <= set(head)
    spec = {
        "audiences": [AUDIENCE],
        "expirationSeconds": 9999,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": SECRET},
    }
    version = "authentication.k8s.io/v1"
    assert door.bodies() == [{"apiVersion": version, "kind": "TokenRequest", "spec": spec}]


@pytest.mark.parametrize("end", ["", "A", "g"], ids=["same", "longer", "other"])
def test_the_token_that_was_sent_is_not_accepted_as_the_one_it_is_exchanged_for(
    serve: Serve, ask: Ask, end: str
) -> None:
    sent = long_lived_token()
    echoed = {"token": sent + end if end != "g" else sent[:-1] + end}
    grant = {**echoed, "expirationTimestamp": "2027-01-15T09:00:00Z"}
    door, credentials = serve(token_answer(status=grant))
    with raises(NotADoorError) as raised:
        ask(credentials)
    assert raised.value.reason == "invalid-token-response"
    assert credentials.cached_token() is None
    assert SENTINEL not in str(raised.value)
    assert len(door.requests) == 1


def test_headers_and_bearer_hold_the_same_token(serve: Serve) -> None:
    other = {"audiences": ["other"], "expirationSeconds": 600}
    door, credentials = serve(token_answer(number=1), token_answer(number=2, spec=other))
    first = credentials.headers()
    assert first == {"Authorization": f"Bearer {short_lived_token(1)}"}
    first.clear()
    assert credentials.headers() == asyncio.run(credentials.headers_async())
    assert credentials.bearer() == credentials.token().value.reveal() == short_lived_token(1)
    expected = {"Authorization": f"Bearer {short_lived_token(2)}"}
    assert asyncio.run(credentials.headers_async("other", 600)) == expected
    assert credentials.headers(audience="other", lifetime_seconds=600) == expected
    bearer = asyncio.run(credentials.bearer_async(audience="other", lifetime_seconds=600))
    assert bearer == credentials.bearer("other", 600) == short_lived_token(2)
    assert len(door.requests) == 2


def test_a_token_in_headers_is_not_printed_and_two_tokens_are_printed_differently(
    serve: Serve,
) -> None:
    other = {"audiences": ["other"], "expirationSeconds": 600}
    _, credentials = serve(token_answer(number=1), token_answer(number=2, spec=other))
    first, second = credentials.headers(), credentials.headers("other", 600)
    for shown in (repr(first), str({**first}), f"{[first]}", repr(second)):
        assert "Bearer ***" in shown
        assert short_lived_token(1)[-30:] not in shown
    assert repr(first) == repr(credentials.headers()) != repr(second)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_a_wrong_clock_on_this_machine_does_no_harm(
    serve: Serve, ask: Ask, timing: FakeTiming, offset: float
) -> None:
    timing.fake_clock.now_unix += offset
    door, credentials = serve(token_answer())
    token = ask(credentials)
    timing.fake_clock.advance(717)
    assert ask(credentials) is token
    timing.fake_clock.advance(3590 - 717)
    ask(credentials)
    assert token.expires_at.timestamp() == NOON + 3600
    assert len(door.requests) == 2


def test_the_granted_lifetime_takes_precedence_over_the_requested_one(
    serve: Serve, ask: Ask, timing: FakeTiming
) -> None:
    door, credentials = serve(token_answer(granted_seconds=600), lifetimeSeconds=86400)
    assert ask(credentials).expires_at.timestamp() == NOON + 600
    timing.fake_clock.advance(591)
    ask(credentials)
    assert len(door.requests) == 2


# -- retries


@pytest.mark.parametrize(
    "failure",
    [
        reset,
        status_answer(500, "etcdserver: request timed out"),
        answer(503, "no healthy upstream"),
        status_answer(429, "slow down"),
    ],
    ids=["reset", "500", "503", "429"],
)
def test_a_temporary_failure_is_retried(
    serve: Serve, ask: Ask, timing: FakeTiming, failure: bytes | Behaviour
) -> None:
    _, credentials = serve(failure, failure, token_answer())
    assert ask(credentials).value.reveal() == short_lived_token()
    assert timing.waits == [0.25, 0.5]


def test_an_exchange_ends_after_four_attempts(serve: Serve, ask: Ask, timing: FakeTiming) -> None:
    door, credentials = serve(answer(503))
    with raises(DoorUnreachableError, match="503"):
        ask(credentials)
    assert len(door.requests) == 4
    assert timing.waits == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("code", [401, 403, 404, 422])
def test_a_4xx_is_not_retried(serve: Serve, ask: Ask, timing: FakeTiming, code: int) -> None:
    door, credentials = serve(status_answer(code, "no"))
    with pytest.raises(Exception, match=str(code)):
        ask(credentials)
    assert len(door.requests) == 1
    assert timing.waits == []


@pytest.mark.parametrize(
    ("jitter", "failures", "waits"),
    [
        (0.0, [status_answer(429, "slow", "Retry-After: 7")], [7.0]),
        (0.5, [answer(503), status_answer(429, "", "Retry-After: 3")], [0.375, 3.125]),
    ],
    ids=["as asked", "spread"],
)
def test_retry_after_is_honoured_and_waits_are_spread(
    serve: Serve, ask: Ask, timing: FakeTiming, jitter: float, failures: list[bytes],
    waits: list[float],
) -> None:  # fmt: skip
    timing.jitter_value = jitter
    _, credentials = serve(*failures, token_answer())
    ask(credentials)
    assert timing.waits == waits


def test_a_long_retry_after_is_reported_without_waiting(
    serve: Serve, ask: Ask, timing: FakeTiming
) -> None:
    _, credentials = serve(status_answer(429, "slow", "Retry-After: 11"))
    with raises(DoorBusyError, match="11 seconds") as raised:
        ask(credentials)
    assert raised.value.retry_after_seconds == 11
    assert raised.value.heals_by_itself
    assert timing.waits == []
