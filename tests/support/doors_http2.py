"""TokenRequests over HTTP/2, each part of which can be bent."""

from __future__ import annotations

from support.doors import BODY, EKF, JWT, PATH, Stage, assert_refused
from support.h2c import Fields, Http2, Reply
from support.raw import Answer
from support.recorder import Recorded


def fields(*more: tuple[str, str], **pseudo: str | None) -> list[tuple[str, str]]:
    """The header block of a TokenRequest; a pseudo-header given as None is left out."""
    usual: dict[str, str | None] = {
        "method": "POST",
        "scheme": "https",
        "authority": EKF,
        "path": PATH,
    }
    first = [(f":{name}", value) for name, value in {**usual, **pseudo}.items()]
    rest = [("authorization", f"Bearer {JWT}"), ("content-type", "application/json"), *more]
    return [(name, value) for name, value in first if value is not None] + rest


def send(
    stage: Stage, block: Fields, body: bytes = BODY, *, trailers: Fields = ()
) -> tuple[Reply, tuple[Recorded, ...]]:
    """How one request on a connection of its own ended, and what arrived."""
    with http2(stage) as client:
        reply = client.request(block, body, trailers=trailers)
        return reply, stage.arrived()


def http2(stage: Stage) -> Http2:
    """An HTTP/2 connection to the door."""
    return Http2(stage.door.port, authority_pem=stage.door.authority.pem, name=EKF)


def assert_status(reply: Reply, code: int) -> None:
    """That a reply is the door's own, whole and exact."""
    assert_refused(Answer(code=reply.code, headers=reply.headers, body=reply.body), code)
