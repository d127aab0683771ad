"""The recorder tells what is no exact TokenRequest: else no other wire test would mean anything."""

from __future__ import annotations

import pytest

from support.doors import BODY, JWT, UPSTREAM_PATH
from support.recorder import UPSTREAM_NAME, Recorded

HEAD = (
    f"POST {UPSTREAM_PATH} HTTP/1.1", f"host: {UPSTREAM_NAME}", f"authorization: Bearer {JWT}",
    "content-type: application/json", f"content-length: {len(BODY)}", "x-request-id: x",
    "x-forwarded-for: 127.0.0.1",
)  # fmt: skip


def recorded(*lines: str, body: bytes = BODY) -> Recorded:
    return Recorded(raw="\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


def changed(old: str, new: str) -> Recorded:
    assert any(old in line for line in HEAD)
    return recorded(*(line.replace(old, new) for line in HEAD))


@pytest.mark.parametrize(
    "request_",
    [
        changed("POST", "PUT"),
        changed("HTTP/1.1", "HTTP/1.0"),
        changed("/token", "/token/"),
        changed("team", "Team"),
        changed("team", "t" * 64),
        changed("bot", "b..t"),
        changed("bot", "b" * 254),
        changed(UPSTREAM_NAME, "evil"),
        changed("Bearer ", "bearer "),
        changed(JWT, f"{JWT} junk"),
        changed("authorization: ", "x-request-id: "),
        changed("application/json", "application/yaml"),
        changed("content-length: 31", "content-length: 30"),
        changed("content-length: 31", "content-length: 31\r\ncontent-length: 31"),
        changed("content-length: 31", "transfer-encoding: chunked"),
        changed("127.0.0.1", "127.0.0.1, 10.0.0.1"),
        changed("x-forwarded-for", "x-real-ip"),
        changed("x-request-id: x", "impersonate-user: admin"),
        changed("x-request-id: x", "x-request-id: a\rb"),
        changed("x-request-id: x", "x-request-id: a\r\n b"),
        changed("x-request-id: x", f"authorization: Bearer {JWT}"),
        changed("x-request-id: x", "no header"),
        recorded(*HEAD, body=BODY + b"x"),
        recorded(*(line.replace("31", "8193") for line in HEAD), body=b"x" * 8193),
        recorded("", body=b""),
        Recorded(raw=b"", malformed="x"),
    ],
    ids=lambda request_: repr(request_.raw[:300]),
)
def test_anything_else_has(request_: Recorded) -> None:
    assert request_.faults() != []
