"""Attack classes 9 and 11: what belongs to one hop, and changed protocols."""

from __future__ import annotations

import pytest

from support.doors import BODY, DoorEnv, post

# What is named in `Connection` belongs to one hop and is dropped by a proxy (RFC 9110, 7.6.1):
# naming a header takes it away (class 9).


@pytest.mark.parametrize(
    "named", ["authorization", "Authorization", "close, authorization", "authorization, x"]
)
def test_authorization_cannot_be_lost_on_the_way(env: DoorEnv, named: str) -> None:
    env.assert_refuses(post(extra=(f"Connection: {named}",)), 401)


def test_a_get_that_gives_up_its_authorization_arrives_as_one_without(env: DoorEnv) -> None:
    request = post(method="GET", body=b"", extra=("Connection: authorization",))
    (arrived,) = env.send(request).arrived
    assert arrived.header("authorization") is None


@pytest.mark.parametrize(
    "named", ["content-length", "transfer-encoding", "content-type", "x-request-id", "te"]
)
def test_the_length_and_the_body_stay_what_they_are(env: DoorEnv, named: str) -> None:
    (arrived,) = env.send(post(extra=(f"Connection: {named}",))).arrived
    assert (arrived.body, arrived.header("content-length")) == (BODY, str(len(BODY)))


@pytest.mark.parametrize("named", ["host", "x-forwarded-for", ":path", ":method", "x-envoy-x"])
def test_what_routes_and_identifies_stays(env: DoorEnv, named: str) -> None:
    outcome = env.send(post(extra=(f"Connection: {named}",)))
    assert outcome.answer.code in (201, 400)
    for arrived in outcome.arrived:
        assert arrived.header("x-forwarded-for") == "127.0.0.1"


BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io.ZXlKaC5leUouc2ln, v4.channel.k8s.io"


# The API server takes a token out of a WebSocket's subprotocol: an upgraded connection would be
# a tunnel (class 11).


@pytest.mark.parametrize("protocol", ["websocket", "WebSocket", "SPDY/3.1", "foo", "tls/1.0"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_protocol_is_changed(env: DoorEnv, method: str, protocol: str) -> None:
    request = post(
        method=method,
        body=b"",
        headers=(),
        extra=(
            f"Upgrade: {protocol}",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
            f"Sec-WebSocket-Protocol: {BEARER_PROTOCOL}",
        ),
    )
    assert env.assert_refuses(request, 403).closes


@pytest.mark.parametrize(
    "extra",
    [
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"),
        ("Upgrade: h2c", "Connection: Upgrade"),
        ("Upgrade: websocket",),
        ("Connection: Upgrade",),
    ],
)
def test_what_is_no_whole_upgrade_is_an_ordinary_request(
    env: DoorEnv, extra: tuple[str, ...]
) -> None:
    outcome = env.send(post(extra=extra))
    assert outcome.answer.code in (201, 403)
    assert len(outcome.arrived) == (outcome.answer.code == 201)


def test_bytes_after_a_refused_upgrade_are_not_read(env: DoorEnv) -> None:
    request = post(
        method="GET", body=b"", extra=("Upgrade: websocket", "Connection: Upgrade")
    )  # fmt: skip
    outcome = env.send(request + post())
    assert outcome.codes == [403]
    assert outcome.arrived == ()
