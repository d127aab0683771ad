"""Which models a caller may reach, without sockets: readings, reviews of accesses, the cache."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.gate.authorizer.api_server import NoAnswerError
from daypass.rules.models import LIMIT_READINGS, Access
from daypass.rules.patterns import Model
from daypass.rules.reasons import Reason
from support.tokens import SECRET_UID, USER
from unit.gate.reviewing import AskedAuthorizer, rules
from unit.rules.existing_models import ISVC, LLM, rule

DASHED, DOTTED, SHARED = (
    "{name}-{namespace}.raw.example.com",
    "{name}.{namespace}.example.com",
    "serving.example.com",
)
IRIS, CATS = Model(ISVC, "alice", "iris"), Model(ISVC, "alice", "cats")
AT_IRIS = {"host": "iris.alice.example.com", "path": "/v1/models/iris:predict"}


RULES = rules(
    DASHED, DOTTED, SHARED,
    authorize=(
        rule(DASHED), rule(DOTTED), rule(SHARED, "/serving/{namespace}/{name}/"),
        rule(SHARED, "/llm/{namespace}/{name}/", LLM),
    ),
)  # fmt: skip


@pytest.fixture
def tried() -> AskedAuthorizer:
    """A gate whose callers may use every model, if it exists: IRIS and CATS do."""
    made = AskedAuthorizer({"serving": RULES})
    made.have(IRIS, CATS)
    return made


@pytest.fixture
def line(tried: AskedAuthorizer) -> str:
    return f"Bearer {tried.token()}"


def reasons(tried: AskedAuthorizer, line: str, *requests: dict[str, Any]) -> list[Reason]:
    return [tried.ask(line, gate="serving", **each).reason for each in requests]


def reason(tried: AskedAuthorizer, line: str, **request: Any) -> Reason:
    return tried.ask(line, gate="serving", **(request or AT_IRIS)).reason


def passes_from_cache(tried: AskedAuthorizer, line: str, **request: Any) -> bool:
    return tried.cached(line, gate="serving", **(request or AT_IRIS)) is not None


def test_callers_that_try_out_names_leave_no_trace_in_the_cache_of_what_is_allowed(
    tried: AskedAuthorizer, line: str
) -> None:
    for number in range(50):
        at = {"host": f"model-{number}.alice.example.com"}
        assert reasons(tried, line, at, at) == [Reason.MODEL] * 2
    assert len(tried.asked_accesses) == 50, "one review each, while its answer is cached"
    assert len(tried.authorizer.accesses.allowed) == 0


def test_models_are_unknown_once_their_time_is_over_even_if_cached(
    tried: AskedAuthorizer, line: str
) -> None:
    tried.have(IRIS, seconds=30)
    assert reason(tried, line) is Reason.ALLOWED
    tried.clock.advance(29)
    assert passes_from_cache(tried, line)
    tried.clock.advance(1)
    assert not passes_from_cache(tried, line)
    assert reason(tried, line) is Reason.UNKNOWN


def test_before_models_are_listed_every_model_is_unknown() -> None:
    tried = AskedAuthorizer({"serving": RULES})
    assert reason(tried, f"Bearer {tried.token()}") is Reason.UNKNOWN


def test_the_time_counts_from_the_question_and_not_from_the_answer(
    tried: AskedAuthorizer, line: str
) -> None:
    def slowly(user: str, access: Access) -> bool:
        tried.clock.advance(20)
        return True

    tried.may = slowly
    assert reason(tried, line) is Reason.ALLOWED
    tried.may = lambda user, access: False
    tried.clock.advance(39)
    assert tried.authorizer.accesses.allowed.entries
    tried.clock.advance(1)
    assert reason(tried, line) is Reason.MODEL


def test_a_failing_review_of_an_access_pauses_no_review_of_a_token(
    tried: AskedAuthorizer, line: str
) -> None:
    tried.may = lambda user, access: NoAnswerError("no", retry_after_seconds=7)
    assert reason(tried, line) is Reason.UNKNOWN
    other = f"Bearer {tried.token(jti='j-2')}"
    assert reason(tried, other, host=SHARED, path="/") is Reason.ALLOWED
    assert reason(tried, other) is Reason.UNKNOWN
    reviews = [each.get("reviews") for each in tried.lines if "api-server" in each["event"]]
    assert reviews == ["SubjectAccessReviews"]
    assert len(tried.asked_accesses) == 1


def test_a_model_that_appears_while_a_request_waits_is_checked_too(
    tried: AskedAuthorizer, line: str
) -> None:
    mine, added = Model(ISVC, "b-c", "a"), Model(ISVC, "c", "a-b")

    def appear(user: str, access: Access) -> bool:
        tried.have(mine, added)
        return access.model == mine

    tried.have(mine)
    tried.may = appear
    assert reason(tried, line, host="a-b-c.raw.example.com") is Reason.MODEL


def test_models_that_always_change_keep_no_request_waiting(
    tried: AskedAuthorizer, line: str
) -> None:
    counted = iter(range(100))

    def change(user: str, access: Access) -> bool:
        tried.have(IRIS)
        tried.authorizer.accesses.allowed.entries.clear()
        tried.clock.advance(61 if next(counted) < 50 else 0)
        return True

    tried.may = change
    assert reason(tried, line) is Reason.UNKNOWN
    assert len(tried.asked_accesses) < 10


def test_a_token_that_is_revoked_while_its_access_is_reviewed_is_refused(
    tried: AskedAuthorizer, line: str
) -> None:
    def revoke(user: str, access: Access) -> bool:
        tried.publish()
        return True

    tried.publish(SECRET_UID)
    tried.may = revoke
    assert reason(tried, line) is Reason.UNKNOWN_CREDENTIAL


@pytest.mark.parametrize("count", [LIMIT_READINGS, LIMIT_READINGS + 1])
def test_a_host_that_may_mean_too_many_models_is_refused(
    tried: AskedAuthorizer, line: str, count: int
) -> None:
    parts = "abcdefghijklmnopqrstuvwxyz"[:count]
    tried.have(*(Model(ISVC, "alice", part) for part in parts))
    at = {"host": f"{'-'.join(parts)}-predictor.alice.example.com"}
    expected = Reason.ALLOWED if count <= LIMIT_READINGS else Reason.MODEL
    assert reason(tried, line, **at) is expected
    assert len(tried.asked_accesses) == (count if expected is Reason.ALLOWED else 1)
    assert passes_from_cache(tried, line, **at) is (expected is Reason.ALLOWED)


def test_places_of_callers_that_try_out_hosts_and_paths_are_bounded(
    tried: AskedAuthorizer, line: str
) -> None:
    destinations = tried.gates["serving"].destinations
    for number in range(10_100):
        tried.ask(line, gate="serving", host=SHARED, path=f"/x/y/z{number}/rest/of/it")
    assert len(destinations.remembered) <= 10_000
    assert max(sum(map(len, key)) for key in destinations.remembered) < 100
    long = f"/serving/alice/{'x' * 5000}/"
    assert reason(tried, line, host=SHARED, path=long) is Reason.MODEL
    assert max(sum(map(len, key)) for key in destinations.remembered) < 1000


def test_a_refused_model_is_an_event_with_gate_user_and_model(
    tried: AskedAuthorizer, line: str
) -> None:
    tried.may = lambda user, access: False
    none, nameless = {"host": "none.alice.example.com"}, {"host": SHARED, "path": "/serving/"}
    assert reasons(tried, line, AT_IRIS, none, nameless) == [Reason.MODEL] * 3
    found = [each for each in tried.lines if each["event"] == "model-refused"]
    assert [each.pop("time") for each in found]
    refused = {"event": "model-refused", "gate": "serving", "why": "model", "user": USER}
    models = [f"{ISVC} alice/iris", f"{ISVC} alice/none"]
    assert found == [*({**refused, "model": each} for each in models), refused]
