"""An authorizer for models, before an API server whose SubjectAccessReviews fail, lie or hang.

It is asked as Envoy asks it, at its socket.
"""

from __future__ import annotations

import json
import math
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.gate.authorizer.questions import FairQueue
from daypass.local.gate_services import LocalAuthorizer
from daypass.render.names import gate_prefix
from daypass.rules.reasons import REASON_HEADER, Reason
from support.deadline import eventually
from support.fake_reviews import FakeReviews, fake_reviews
from support.raw import Answer, exchange, get
from support.rendered import config_of
from support.tokens import AUDIENCE, ISSUER, USER, Signer, good_claims

SIGNER = Signer("ours")
HOSTS = "{name}.{namespace}.example.com"
ISVC = "inferenceservices.serving.kserve.io"


@cache
def line(jti: str) -> str:
    """The header line of a token, always the same one."""
    return f"Authorization: Bearer {SIGNER.sign(good_claims(jti=jti))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An authorizer, and the API server that it asks."""

    authorizer: LocalAuthorizer
    reviews: FakeReviews
    events: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, name: str, jti: str = "j-1", path: str = "/v1") -> Answer:
        """The answer to a request for model `name` of alice."""
        host, path = f"{name}.alice.example.com", gate_prefix("serving") + path
        request = get(line(jti), host=host, path=path)
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(60)
            connection.connect(str(self.authorizer.path))
            return exchange(cast("ssl.SSLSocket", connection), request)  # it needs no TLS

    def reason(self, name: str, **request: str) -> Reason:
        return Reason(self.ask(name, **request).headers.get(REASON_HEADER, Reason.ALLOWED))


@pytest.fixture
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One with the models iris and cats of alice."""
    config = config_of(f"""\
version: 1
domains: {{ekf: {{host: localhost, front: envoy}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gates:
  serving:
    engine: envoy
    audience: {AUDIENCE}
    check: review
    hosts: ['{HOSTS}']
    authorize: [{{host: '{HOSTS}', resource: {ISVC}}}]
""")
    events: list[dict[str, Any]] = []
    with fake_reviews(lambda token: True) as reviews:
        reviews.models = ["alice/iris", "alice/cats"]
        authorizer = LocalAuthorizer(
            config, ISSUER, reviews.access, tmp_path_factory.mktemp("a") / "a.sock", SYSTEM_CLOCK,
            lambda line: events.append(json.loads(line)), checks_credentials=False,
        )  # fmt: skip
        try:
            made = Asked(authorizer=authorizer, reviews=reviews, events=events)
            eventually("models are known", lambda: made.reason("iris") is Reason.ALLOWED)
            yield made
        finally:
            authorizer.stop()


def test_the_api_server_is_asked_about_user_groups_and_model(asked: Asked) -> None:
    assert asked.reviews.asked_accesses == [
        {
            "user": USER,
            "groups": [
                "system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated",
            ],
            "resourceAttributes": {
                "group": "serving.kserve.io", "version": "*", "resource": "inferenceservices",
                "verb": "get", "namespace": "alice", "name": "iris",
            },
        }
    ]  # fmt: skip
    for jti in ("j-1", "j-2", "j-3"):
        assert asked.reason("iris", jti=jti) is Reason.ALLOWED
    assert len(asked.reviews.asked_accesses) == 1


def test_a_model_that_does_not_exist_is_asked_about_and_refused_whatever_the_answer(
    asked: Asked,
) -> None:
    for _ in range(2):
        assert asked.reason("none") is Reason.MODEL
    assert len(asked.reviews.asked_accesses) == 2
    last = asked.reviews.asked_accesses[-1]["resourceAttributes"]
    assert (last["namespace"], last["name"]) == ("alice", "none")


@pytest.mark.parametrize("name", ["cats", "none"])
def test_while_the_api_server_hangs_no_answer_tells_whether_a_model_exists(
    asked: Asked, name: str
) -> None:
    asked.authorizer._service.authorizer.accesses.queue = FairQueue()
    asked.reviews.access_held.clear()
    assert asked.reason(name) is Reason.UNKNOWN
    asked.reviews.access_held.set()


def test_a_201_with_nonsense_lets_nobody_pass(asked: Asked) -> None:
    """test_api_server.py has all that is read as no answer."""
    asked.reviews.allows = (201, '{"status": {"allowed": 1}}')
    answer = asked.ask("cats")
    assert answer.code == 429, "Envoy makes a 503 of it"
    assert answer.headers[REASON_HEADER] == Reason.UNKNOWN
    assert asked.reason("iris") is Reason.ALLOWED, "it is cached"
    asked.reviews.allows = (201, '{"status": {"allowed": true}}')
    eventually("it is asked again", lambda: asked.reason("cats") is Reason.ALLOWED)


def test_who_is_denied_is_refused_even_if_allowed(asked: Asked) -> None:
    asked.reviews.allows = (201, '{"status": {"allowed": true, "denied": true}}')
    for _ in range(3):
        assert asked.reason("cats") is Reason.MODEL
    assert len(asked.reviews.asked_accesses) == 2


@pytest.mark.parametrize("code", [302, 401, 403, 422, 429, 503])
def test_a_review_that_fails_lets_nobody_pass(asked: Asked, code: int) -> None:
    asked.reviews.allows = (code, '{"status": {"allowed": true}}')
    assert asked.reason("cats") is Reason.UNKNOWN
    assert asked.reason("iris") is Reason.ALLOWED
    asked.reviews.allows = (201, '{"status": {"allowed": true}}')
    eventually("it is asked again", lambda: asked.reason("cats") is Reason.ALLOWED)


def test_a_review_that_hangs_delays_no_request_and_its_late_answer_is_used(asked: Asked) -> None:
    asked.authorizer._service.authorizer.accesses.queue = FairQueue()
    asked.reviews.access_held.clear()
    began = SYSTEM_CLOCK.monotonic()
    assert asked.reason("cats") is Reason.UNKNOWN
    assert SYSTEM_CLOCK.monotonic() - began < 10
    assert asked.reason("iris", jti="j-2") is Reason.ALLOWED, "tokens are still reviewed"
    asked.reviews.access_held.set()
    eventually("the answer has come", lambda: asked.reason("cats") is Reason.ALLOWED)
    assert len(asked.reviews.asked_accesses) == 2


def test_a_request_that_waits_while_the_authorizer_stops_is_refused(asked: Asked) -> None:
    asked.authorizer._service.authorizer.accesses.queue = FairQueue(timeout_seconds=math.inf)
    asked.reviews.access_held.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(asked.reason, "cats")
        eventually("it waits", lambda: len(asked.reviews.asked_accesses) == 2)
        asked.authorizer.stop()
        assert answer.result(60) is Reason.UNKNOWN


def test_a_target_in_pieces_is_read_as_one(asked: Asked) -> None:
    path = f"{gate_prefix('serving')}/v1/{'x' * 3000}"
    request = get(line("j-1"), host="iris.alice.example.com", path=path)
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(60)
        connection.connect(str(asked.authorizer.path))
        for start in range(0, len(request), 7):
            connection.sendall(request[start : start + 7])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
