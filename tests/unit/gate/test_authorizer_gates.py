"""Several gates of one authorizer, without sockets: nothing of one counts at another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daypass.gate.authorizer.served_gate import AuthzResponse
from daypass.rules.claims import Bound
from daypass.rules.patterns import Place
from daypass.rules.published import Published
from daypass.rules.reasons import Reason
from support.publishing import denied_by_hand, shards_of
from support.reviewing import GOOD, HOST, AskedAuthorizer, rules
from support.tokens import ACCOUNT_UID, AUDIENCE, SECRET_UID

SERVING, ISVC = "serving.example.com", "inferenceservices.serving.kserve.io"
MODELS = "{name}.{namespace}.example.com"
POD_UID = "90d00000-0000-4000-8000-000000000001"
TO_POD = {
    "namespace": "team", "serviceaccount": {"name": "bot", "uid": ACCOUNT_UID},
    "pod": {"name": "bot-0", "uid": POD_UID},
}  # fmt: skip


@pytest.fixture
def tried() -> AskedAuthorizer:
    """Two gates that guard the same host: `a` for AUDIENCE, `b` for another."""
    made = AskedAuthorizer({"a": rules(), "b": rules(audience="b.example.com")})
    made.says = lambda token: replace(GOOD, audiences=(AUDIENCE, "b.example.com"))
    return made


def test_gates_with_one_audience_review_a_token_each_with_their_own_headers() -> None:
    tried = AskedAuthorizer({"a": rules(), "b": rules("other.example.com")})
    line = f"Bearer {tried.token()}"
    assert tried.ask(line, gate="a").reason is Reason.ALLOWED
    assert tried.cached(line, gate="b") is None
    assert tried.ask(line, gate="b").reason is Reason.NOT_GUARDED
    assert tried.ask(line, gate="b", host="other.example.com").reason is Reason.ALLOWED
    assert len(tried.asked) == 2
    assert tried.cached(line, gate="a", host="other.example.com") is None
    assert tried.cached(line, gate="b", host=HOST) is None


def test_a_refusal_that_one_gate_has_cached_is_not_used_at_another() -> None:
    tried = AskedAuthorizer({"a": rules(), "b": rules()})
    line = f"Bearer {tried.token()}"
    tried.says = lambda token: replace(GOOD, authenticated=False)
    assert tried.ask(line, gate="a").reason is Reason.REVIEW_REFUSED
    tried.says = lambda token: GOOD
    assert tried.ask(line, gate="b").reason is Reason.ALLOWED
    assert tried.ask(line, gate="a").reason is Reason.REVIEW_REFUSED


@pytest.mark.parametrize(
    "target",
    ["", "/", "/x", "/gate", "/gate/", "/gate//", "/gate/a", "/gate/c/", "/gate/A/", "/gate/a%2f",
     "/Gate/a/", "gate/a/", "//gate/a/", "/gate/a?/", "/gate/ä/", "/gate/\x00/"],
)  # fmt: skip
def test_a_request_that_names_no_gate_is_unknown(tried: AskedAuthorizer, target: str) -> None:
    line = f"Bearer {tried.token()}".encode()
    assert tried.ask(line.decode(), gate="a").reason is Reason.ALLOWED
    assert tried.authorizer.look_up(target.encode(), HOST.encode(), line) is None
    response = tried.authorizer.ask(
        target.encode(), HOST.encode(), (line,), source="", model_header=False
    )
    assert isinstance(response, AuthzResponse)
    assert (response.reason, response.code) == (Reason.UNKNOWN, 503)


def test_a_revocation_holds_at_every_gate() -> None:
    tried = AskedAuthorizer({"a": rules(), "b": rules()})
    tried.publish(SECRET_UID)
    line = f"Bearer {tried.token()}"
    assert {tried.ask(line, gate=each).reason for each in "ab"} == {Reason.ALLOWED}
    tried.publish()
    assert [tried.cached(line, gate=each) for each in "ab"] == [None, None]
    assert {tried.ask(line, gate=each).reason for each in "ab"} == {Reason.UNKNOWN_CREDENTIAL}
    revoked = [each["gate"] for each in tried.lines if each["event"] == "token-revoked"]
    assert sorted(revoked) == ["a", "b"]


ALICE, BOB = "alice.serving.example.com", "bob.serving.example.com"


@pytest.fixture
def opened() -> AskedAuthorizer:
    """A gate where an audience opens a path of a host and another host, and a second one a host."""
    hosts = (SERVING, MODELS)
    alice = Place.parse("{name}.alice.example.com"), Place.parse(f"{SERVING}/serving/alice/")
    bob = (Place.parse("{name}.bob.example.com"),)
    made = AskedAuthorizer({"serving": rules(*hosts, audiences={ALICE: alice, BOB: bob})})
    made.says = lambda token: replace(GOOD, audiences=(AUDIENCE, ALICE, BOB))
    return made


def test_a_token_is_reviewed_for_its_own_audience(opened: AskedAuthorizer) -> None:
    line = f"Bearer {opened.token(aud=[BOB])}"
    at = {"gate": "serving", "host": "iris.bob.example.com"}
    opened.says = lambda token: replace(GOOD, audiences=(AUDIENCE,))
    assert opened.ask(line, **at).reason is Reason.REVIEW_AUDIENCE
    assert opened.asked_for == [BOB]


@pytest.fixture
def bound() -> AskedAuthorizer:
    """A gate that accepts tokens that are bound to a Secret, a Pod or nothing."""
    return AskedAuthorizer({"serving": rules(bound=frozenset(Bound))})


def to_pod(tried: AskedAuthorizer, **changes: Any) -> str:
    return f"Bearer {tried.token(**{'kubernetes.io': TO_POD, **changes})}"


def test_a_token_bound_to_a_pod_needs_no_entry_in_the_set(bound: AskedAuthorizer) -> None:
    bound.publish()
    line = to_pod(bound)
    assert bound.ask(line, gate="serving").reason is Reason.ALLOWED
    assert bound.cached(line, gate="serving") is not None
    bound.publish(SECRET_UID)
    bound.publish()
    assert bound.cached(line, gate="serving") is not None
    bound.clock.advance(60)
    bound.says = lambda token: replace(GOOD, authenticated=False)
    assert bound.ask(line, gate="serving").reason is Reason.REVIEW_REFUSED


@pytest.mark.parametrize(
    "denied",
    [
        {"objects": {POD_UID}},
        {"objects": {ACCOUNT_UID}},
        {"tokens": {"j-1"}},
        {"namespaces": {"team"}},
    ],
    ids=["pod", "account", "token", "namespace"],
)
def test_a_denied_token_bound_to_a_pod_is_refused_at_once_even_if_cached(
    bound: AskedAuthorizer, denied: dict[str, Any]
) -> None:
    bound.publish()
    line = to_pod(bound)
    assert bound.ask(line, gate="serving").reason is Reason.ALLOWED
    bound.publish(**denied)
    assert bound.cached(line, gate="serving") is None
    assert bound.ask(line, gate="serving").reason is Reason.DENIED
    assert [each["gate"] for each in bound.lines if each["event"] == "token-revoked"] == ["serving"]


def test_closed_shards_refuse_tokens_that_need_them_and_closed_denials_all(
    bound: AskedAuthorizer,
) -> None:
    """A Pod's token is in no shard, so none that is out of date hides that it was revoked. But
    denials that are out of date may hide that it was denied.
    """
    lines = [to_pod(bound), f"Bearer {bound.token()}"]
    closes = int(bound.clock.unix()) + 30

    def publish(shards: int, denials: int) -> None:
        bound.authorizer.take_published(
            Published(shards=shards_of({SECRET_UID}, shards), denials=denied_by_hand(denials))
        )

    def reasons() -> list[Reason]:
        return [bound.ask(each, gate="serving").reason for each in lines]

    publish(closes, closes + 30)
    assert reasons() == [Reason.ALLOWED, Reason.ALLOWED]
    bound.clock.advance(30)
    bound.authorizer.tick()
    assert [bound.cached(each, gate="serving") is None for each in lines] == [False, True]
    assert reasons() == [Reason.ALLOWED, Reason.UNKNOWN]
    bound.clock.advance(30)
    bound.authorizer.tick()
    assert [bound.cached(each, gate="serving") for each in lines] == [None, None]
    assert reasons() == [Reason.UNKNOWN, Reason.UNKNOWN]
    publish(closes + 600, closes + 600)
    assert reasons() == [Reason.ALLOWED, Reason.ALLOWED]
    closed = [
        (each["event"], each.get("shards")) for each in bound.lines if "gate-" in each["event"]
    ]
    assert closed == [("gate-closed", 64), ("gate-opened", None)]
