"""An API server that answers TokenReviews as a test wants, and counts how often it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.secret import Secret
from daypass.gate.authorizer.authorizer import PROBE_TOKEN
from daypass.kube.connection import ConnectionConfig
from support.http_services import Handler, serving

Judge = Callable[[str], bool]


class FakeReviews:
    """`judge`: whether a token is a good one; what it claims is then taken as it stands.

    `lie`: what a status says instead. `failing`: a code and a Retry-After to answer with. `held`:
    answers wait while it is cleared. `keys`: what it publishes as its signing keys.
    `asked`: the tokens that were asked about. `port` stays the same after `down` and `up`.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.keys = ""
        self.lie: dict[str, Any] = {}
        self.failing: tuple[int, str] | None = None
        self.held = threading.Event()
        self.held.set()
        self.asked: list[str] = []
        self.connections = 0
        self.port = 0
        self._is_up = False
        self._listening = ExitStack()

    @property
    def access(self) -> ConnectionConfig:
        url = f"http://127.0.0.1:{self.port}"
        return ConnectionConfig(
            server=url, namespace="default", origin="a test", token=Secret("asker")
        )

    def up(self) -> None:
        reviews = self

        class Reviewing(Handler):
            def setup(self) -> None:
                super().setup()
                reviews.connections += 1

            def do_POST(self) -> None:
                reviews._answer(self)

            def do_GET(self) -> None:
                self.answer(200 if reviews.keys else 404, reviews.keys or "{}")

        self.port = self._listening.enter_context(serving(Reviewing, port=self.port))
        self._is_up = True

    def down(self) -> None:
        """Listen no more; connections that are open end with their next answer."""
        self._is_up = False
        self._listening.close()

    def _answer(self, handler: Handler) -> None:
        question = json.loads(handler.content())
        token = str(question["spec"]["token"])
        if token != PROBE_TOKEN:
            self.asked.append(token)
        self.held.wait(30)
        code, retry_after = self.failing or (201, "")
        body = json.dumps({"kind": "TokenReview", "status": self._status(question)})
        if not self._is_up:
            handler.close_connection = True
            return
        handler.answer(code, body, **({"retry_after": retry_after} if retry_after else {}))

    def _status(self, question: dict[str, Any]) -> dict[str, Any]:
        token = str(question["spec"]["token"])
        if not self.judge(token):
            return {"error": "it is no good"}
        try:
            claims = decode_unverified(token)[1]
        except MalformedTokenError:
            return {"error": "it is no token"}
        audiences = [
            each for each in question["spec"]["audiences"] if each in claims.get("aud", [])
        ]
        user = {"username": claims.get("sub")}
        return {"authenticated": True, "user": user, "audiences": audiences, **self.lie}


@contextmanager
def fake_reviews(judge: Judge) -> Iterator[FakeReviews]:
    reviews = FakeReviews(judge)
    reviews.up()
    try:
        yield reviews
    finally:
        reviews.held.set()
        reviews.down()
