"""An API server that answers reviews as a test wants, and counts how often it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

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

    `models`: the InferenceServices that exist, as NAMESPACE/NAME. `allows`: the code and the body
    of its answers to SubjectAccessReviews. `access_held`: they wait while it is cleared.
    `asked_accesses`: what they were about.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.keys = ""
        self.lie: dict[str, Any] = {}
        self.failing: tuple[int, str] | None = None
        self.held = threading.Event()
        self.held.set()
        self.asked: list[str] = []
        self.models: Sequence[str] = ()
        self.allows: tuple[int, str] = (201, '{"status": {"allowed": true}}')
        self.access_held = threading.Event()
        self.access_held.set()
        self.asked_accesses: list[dict[str, Any]] = []
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
            def do_POST(self) -> None:
                reviews._answer(self)

            def do_GET(self) -> None:
                found = reviews._found(urlsplit(self.path).path) if "watch" not in self.path else ""
                self.answer(404 if found is None else 200, found or "{}")

        self.port = self._listening.enter_context(serving(Reviewing, port=self.port))
        self._is_up = True

    def down(self) -> None:
        """Listen no more; connections that are open end with their next answer."""
        self._is_up = False
        self._listening.close()

    def _found(self, path: str) -> str | None:
        version = "serving.kserve.io/v1beta1"
        pairs = [each.split("/") for each in self.models]
        items = [
            {"metadata": {"uid": f"{namespace}-{name}", "namespace": namespace, "name": name}}
            for namespace, name in pairs
        ]
        kind = {"name": "inferenceservices", "kind": "InferenceService", "namespaced": True}
        listed = {"metadata": {"resourceVersion": "1"}, "items": items}
        known: dict[str, Any] = {
            "/apis/serving.kserve.io": {"versions": [{"groupVersion": version}]},
            f"/apis/{version}": {"resources": [kind]},
            f"/apis/{version}/inferenceservices": listed,
        }
        if path in known:
            return json.dumps(known[path])
        return self.keys or None

    def _answer(self, handler: Handler) -> None:
        question = json.loads(handler.content())
        if "token" not in question["spec"]:
            self.asked_accesses.append(question["spec"])
            self.access_held.wait(30)
            handler.answer(*self.allows)
            return
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
        reviews.access_held.set()
        reviews.down()
