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
from support.tokens import ACCOUNT_UID, SECRET_UID
from unit.gate.reviewing import GOOD, HOST, AskedAuthorizer, rules

POD_UID = "90d00000-0000-4000-8000-000000000001"
TO_POD = {
    "namespace": "team", "serviceaccount": {"name": "bot", "uid": ACCOUNT_UID},
    "pod": {"name": "bot-0", "uid": POD_UID},
}  # fmt: skip


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
def test_a_request_that_names_no_gate_is_unknown(target: str) -> None:
    tried = AskedAuthorizer({"a": rules()})
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


def test_a_token_is_reviewed_for_its_own_audience() -> None:
    opened = AskedAuthorizer({"serving": rules(audiences={"bob": (Place.parse(HOST),)})})
    line = f"Bearer {opened.token(aud=['bob'])}"
    assert opened.ask(line, gate="serving").reason is Reason.REVIEW_AUDIENCE
    assert opened.asked_for == ["bob"]


def test_closed_shards_refuse_tokens_that_need_them_and_closed_denials_all() -> None:
    """A Pod's token is in no shard, so none that is out of date hides that it was revoked. But
    denials that are out of date may hide that it was denied.
    """
    bound = AskedAuthorizer({"serving": rules(bound=frozenset(Bound))})
    lines = [f"Bearer {bound.token(**each)}" for each in ({"kubernetes.io": TO_POD}, {})]
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


@pytest.mark.parametrize("denied", [{"objects": {POD_UID}}, {"namespaces": {"team"}}])
def test_a_denied_token_bound_to_a_pod_is_refused_at_once_even_if_cached(
    denied: dict[str, Any],
) -> None:
    tried = AskedAuthorizer({"serving": rules(bound=frozenset(Bound))})
    tried.publish()
    line = f"Bearer {tried.token(**{'kubernetes.io': TO_POD})}"
    assert tried.ask(line, gate="serving").reason is Reason.ALLOWED
    tried.publish(**denied)
    assert tried.cached(line, gate="serving") is None
    assert tried.ask(line, gate="serving").reason is Reason.DENIED
