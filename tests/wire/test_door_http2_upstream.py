"""To an API server that speaks HTTP/2 the door does, and sends no more than it has to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.doors import BODY, UPSTREAM_PATH, Stage, post, running_stage
from support.doors_http2 import fields, send
from support.h2c import Fields
from support.recorder_h2 import Http2Recorder


@pytest.fixture(scope="module")
def h2_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A door in front of an upstream that speaks HTTP/2."""
    with running_stage(tmp_path_factory.mktemp("h2"), kind=Http2Recorder) as stage:
        yield stage


class TestHttp2Upstream:
    """To an API server that speaks HTTP/2 the door does, and sends no more than it has to."""

    @pytest.mark.parametrize(
        "block",
        [
            fields(),
            fields(scheme="http"),
            fields(scheme="ftp"),
            fields(("te", "trailers")),
            fields(("host", "evil.example.com")),
            fields(("impersonate-user", "admin"), ("x-forwarded-proto", "http")),
            fields(("cookie", "a=b")),
        ],
    )
    def test_an_http2_request_arrives_exactly(self, h2_stage: Stage, block: Fields) -> None:
        reply, (arrived,) = send(h2_stage, block, trailers=[("impersonate-user", "admin")])
        assert reply.code == 201
        assert arrived.body == BODY

    @pytest.mark.parametrize(
        "extra",
        [(), ("TE: trailers",), ("X-Forwarded-Proto: http",), ("Connection: close",)],
    )
    def test_an_http_1_request_arrives_exactly(
        self, h2_stage: Stage, extra: tuple[str, ...]
    ) -> None:
        outcome = h2_stage.send(post(extra=extra))
        assert outcome.answer.code == 201
        (arrived,) = outcome.arrived
        assert arrived.request_line == f"POST {UPSTREAM_PATH} HTTP/1.1"

    def test_requests_share_a_connection(self, h2_stage: Stage) -> None:
        before = h2_stage.door.stat("cluster.api-server.upstream_cx_total")
        assert {answer.code for answer in h2_stage.send_each([post()] * 50)} == {201}
        assert len(h2_stage.arrived()) == 50
        after = h2_stage.door.stat("cluster.api-server.upstream_cx_total")
        assert after - before <= 1
