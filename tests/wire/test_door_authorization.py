"""Attack class 12: one Authorization header that everybody reads alike, or none at all."""

from __future__ import annotations

import pytest

from support.doors import BODY, JWT, DoorEnv, post

JSON = "Content-Type: application/json"
HEADER, PAYLOAD, SIGNATURE = JWT.split(".")

ONE = f"Authorization: Bearer {JWT}"
REFUSED = [
    # 1. No token, or nothing but one.
    "", "Bearer", "Bearer ", JWT,
    # 2. The scheme in another case, with another separator, or another scheme.
    f"bearer {JWT}", f"BEARER {JWT}", f"bEARER {JWT}", f"Bearer  {JWT}", f"Bearer\t{JWT}",
    f"Bearer \t{JWT}", f"Bearer{JWT}", f"Bearer:{JWT}", f"Bearer={JWT}", f"Bearer\xa0{JWT}",
    f"\xefBearer {JWT}", f"x Bearer {JWT}", f"Bearer Bearer {JWT}", f"Bearer\r\n\t{JWT}",
    "Basic eDp5", "Negotiate YII=", f"Digest username={JWT}", f"Token {JWT}", f"JWT {JWT}",
    f"DPoP {JWT}",
    # 3. More than one.
    f"Bearer {JWT},Bearer {JWT}", f"Bearer {JWT}, Bearer {JWT}", f"Bearer {JWT} Bearer {JWT}",
    f"Basic eDp5, Bearer {JWT}", f"Bearer {JWT}, Basic eDp5",
    # 4. Something around the token.
    f'Bearer "{JWT}"', f"Bearer {JWT} junk", f"Bearer {JWT}\tjunk", f"Bearer {JWT}\r\n junk",
    f"Bearer {JWT},", f"Bearer {JWT};x", f"Bearer {JWT}=", f"Bearer {JWT}.", f"Bearer {JWT}.x",
    f"Bearer .{JWT}", f"Bearer {JWT}%20", f"Bearer {JWT}\xa0", f"Bearer {JWT}\xe9",
    f"Bearer {JWT}+/",
    # 5. Another number of parts.
    "Bearer opaque", "Bearer ..", "Bearer ../../etc/passwd", f"Bearer {HEADER}.{PAYLOAD}",
    f"Bearer {HEADER}.{PAYLOAD}.", f"Bearer {HEADER}..{SIGNATURE}",
    f"Bearer .{PAYLOAD}.{SIGNATURE}", f"Bearer {JWT}.{PAYLOAD}.{SIGNATURE}",
]  # fmt: skip


def with_headers(method: str, *headers: str) -> bytes:
    return post(method=method, body=BODY if method == "POST" else b"", headers=headers)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("authorization", REFUSED)
def test_another_form_of_authorization_is_answered_401_and_goes_nowhere(
    env: DoorEnv, method: str, authorization: str
) -> None:
    env.assert_refuses(with_headers(method, f"Authorization: {authorization}", JSON), 401)


@pytest.mark.parametrize("more", [
    ONE, f"authorization: Bearer {JWT}", "AUTHORIZATION: Basic eDp5", "Authorization: x",
    "Authorization: ,",
])  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_two_authorizations_are_none_in_either_order(env: DoorEnv, method: str, more: str) -> None:
    env.assert_refuses(with_headers(method, ONE, JSON, more), 401)
    env.assert_refuses(with_headers(method, more, JSON, ONE), 401)


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {JWT}", f"authorization: Bearer {JWT}",
        f"AUTHORIZATION: Bearer {JWT}", f"Authorization:Bearer {JWT}",
        f"Authorization:   Bearer {JWT}   ", f"Authorization:\tBearer {JWT}\t",
        f"Authorization:\r\n Bearer {JWT}", f"Authorization: Bearer\r\n {JWT}",
    ],
)  # fmt: skip
def test_white_space_around_the_value_is_not_part_of_what_arrives(env: DoorEnv, line: str) -> None:
    """A folded line is one space (RFC 9112, 5.2); what arrives is what was judged."""
    (arrived,) = env.send(post(headers=(line, JSON))).arrived
    assert arrived.header("authorization") == f"Bearer {JWT}"
    assert f"\r\nauthorization: Bearer {JWT}\r\n".encode() in arrived.raw


@pytest.mark.parametrize("empty", ["Authorization:", "Authorization: ", "Content-Type:"])
def test_an_empty_header_beside_another_is_gone_before_the_request_is_judged(
    env: DoorEnv, empty: str
) -> None:
    for headers in ((ONE, JSON, empty), (empty, JSON, ONE)):
        (arrived,) = env.send(post(headers=headers)).arrived
        assert arrived.header("authorization") == f"Bearer {JWT}"
        assert arrived.header("content-type") == "application/json"


def test_a_long_token_arrives_whole(env: DoorEnv) -> None:
    token = f"{HEADER}.{'x' * 8000}.{SIGNATURE}"
    (arrived,) = env.send(post(headers=(f"Authorization: Bearer {token}", JSON))).arrived
    assert arrived.header("authorization") == f"Bearer {token}"


@pytest.mark.parametrize("headers", [(), (ONE,)])
def test_a_get_arrives_with_the_authorization_that_it_has_or_has_not(
    env: DoorEnv, headers: tuple[str, ...]
) -> None:
    """The API server's own 403 is how people check that the way is open."""
    (arrived,) = env.send(post(method="GET", body=b"", headers=headers)).arrived
    assert arrived.header("authorization") == (f"Bearer {JWT}" if headers else None)
    assert arrived.body == b""


@pytest.mark.parametrize("elsewhere", [
    (), (f"Proxy-{ONE}",), (f"X-{ONE}",), (f"X-Forwarded-Access-Token: {JWT}",),
    (f"Cookie: token={JWT}",), (f"Authorization-: Bearer {JWT}",),
    ("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.ZXlKaC5leUouc2ln",),
])  # fmt: skip
def test_a_post_without_authorization_is_refused_wherever_else_a_token_is(
    env: DoorEnv, elsewhere: tuple[str, ...]
) -> None:
    env.assert_refuses(with_headers("POST", JSON, *elsewhere), 401)


def test_an_authorization_in_a_trailer_is_none(env: DoorEnv) -> None:
    request = post(headers=(JSON, "Transfer-Encoding: chunked", "Trailer: Authorization"))
    head = request.partition(b"Content-Length")[0]
    trailer = f"{ONE}\r\nImpersonate-User: admin\r\n\r\n".encode()
    env.assert_refuses(head + b"\r\n2\r\n{}\r\n0\r\n" + trailer, 401)
