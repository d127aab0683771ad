"""Every refusal of an exchange has one error, a next step and an exit code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from daypass._core.errors import DaypassError
from daypass._core.reasons import MESSAGES, Reason
from daypass.client.errors import (
    DoorBusyError,
    DoorUnreachableError,
    ExchangeRefusedError,
    NotADoorError,
)
from daypass.render.envoy.gate_listener import gate_replies
from daypass.render.envoy.settings import GateSettings
from support.exchanges import order, run_exchange
from support.fake_door import (
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    answer,
    http_date,
    long_lived_token,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import raises
from support.timing import NOON

WHO = f"{NAMESPACE}/{SERVICE_ACCOUNT}"
ANONYMOUS = (
    'serviceaccounts "bot" is forbidden: User "system:anonymous" cannot create resource'
    ' "serviceaccounts/token" in API group "" in the namespace "team"'
)
NO_ROLE = ANONYMOUS.replace("system:anonymous", "system:serviceaccount:team:bot")
POLICY = (
    "serviceaccounts \"bot\" is forbidden: ValidatingAdmissionPolicy 'daypass' with binding"
    " 'daypass' denied request: at most 24 h"
)
TOO_SHORT = (
    'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value:'
    " 300: may not specify a duration less than 10 minutes"
)


def refusal_of(raw: bytes) -> DaypassError:
    with raises(DaypassError) as raised:
        run_exchange([raw])
    assert raised.value.exit_code == 1
    return raised.value


@pytest.mark.parametrize(
    ("code", "message", "expected", "hint"),
    [
        pytest.param(401, "Unauthorized", (WHO, "(401"), SECRET, id="401"),
        pytest.param(401, "send Authorization: Bearer <JWT>", ("(401)",), "proxy", id="lost token"),
        pytest.param(403, ANONYMOUS, (), "Authorization", id="anonymous"),
        pytest.param(403, NO_ROLE, (WHO,), "administrator", id="no role"),
        pytest.param(403, POLICY, (POLICY,), "audience", id="policy 403"),
        pytest.param(422, POLICY, (POLICY,), "audience", id="policy 422"),
        pytest.param(403, "because", ("(403): because",), "", id="403"),
        pytest.param(404, 'serviceaccounts "bot" not found', (WHO,), "", id="no ServiceAccount"),
        pytest.param(404, f'secrets "{SECRET}" not found', (SECRET, WHO), "", id="no Secret"),
        pytest.param(404, "only TokenRequest is published", (), "URL", id="another path"),
        pytest.param(422, TOO_SHORT, ("3600 seconds", f"(422): {TOO_SHORT}"), "10 min", id="short"),
        pytest.param(422, "something else", ("(422): something else",), "", id="422"),
        pytest.param(409, "the UID in the bound", ("(409): the UID in the bound",), "", id="409"),
        pytest.param(413, "limit is 3145728", ("(413): limit is 3145728",), "", id="413"),
        pytest.param(415, "unknown format", ("(415): unknown format",), "", id="415"),
    ],
)
def test_a_status_is_explained_and_kept_complete(
    code: int, message: str, expected: tuple[str, ...], hint: str
) -> None:
    error = refusal_of(status_answer(code, message, reason="Because"))
    assert isinstance(error, ExchangeRefusedError)
    assert all(each in error.fact for each in expected)
    assert hint in error.hint
    assert error.hint
    assert error.status is not None
    assert error.status.message == message
    assert error.status.reason == "Because"
    assert not error.heals_by_itself


@pytest.mark.parametrize(
    ("offset", "expected"), [(-3600, "60 minutes behind"), (3600, "60 minutes ahead")]
)
def test_a_401_mentions_a_clock_that_is_wrong(offset: int, expected: str) -> None:
    date = f"Date: {http_date(NOON - offset)}"
    hint = refusal_of(status_answer(401, "Unauthorized", date)).hint
    assert expected in hint


def test_a_401_does_not_mention_a_clock_that_is_right() -> None:
    hint = refusal_of(status_answer(401, "Unauthorized", f"Date: {http_date(NOON - 290)}")).hint
    assert "clock" not in hint


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_not_followed(code: int) -> None:
    place = "https://login.example.com/auth"
    error = refusal_of(answer(code, "", f"Location: {place}?state=secret"))
    assert isinstance(error, NotADoorError)
    assert str(code) in error.fact
    assert place in error.fact
    assert "secret" not in str(error)


@pytest.mark.parametrize("code", [200, 201, 400, 401, 403, 404])
def test_an_html_page_is_not_a_door(code: int) -> None:
    page = answer(code, "<!doctype html><title>Sign in</title>", content_type="text/html")
    error = refusal_of(page)
    assert isinstance(error, NotADoorError)
    assert str(code) in error.fact
    assert "<" not in error.fact
    assert ("login" in error.hint) is (code not in (400, 404))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (answer(200, '{"kind": "APIVersions"}'), "200"),
        (answer(201, "[]"), "201"),
        (answer(201, "[" * 100_000), "201"),
        (answer(204), "204"),
        (answer(200, "hello"), "200"),
        (answer(404, "default backend - 404"), ": default backend - 404"),
        (answer(401, '{"error":"no"}'), ': {"error":"no"}'),
        (status_answer(200, "fine"), "200"),
    ],
    ids=["kind", "list", "nested", "nothing", "words", "words 404", "object 401", "Status 200"],
)
def test_an_answer_that_is_neither_token_request_nor_status_is_not_a_door(
    raw: bytes, expected: str
) -> None:
    error = refusal_of(raw)
    assert isinstance(error, NotADoorError)
    assert expected in error.fact
    assert "URL" in error.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {}},
        {"status": {"token": "a\r\nb", "expirationTimestamp": "x"}},
        {"status": {"token": 7}},
        {"status": []},
        {"status": {"token": short_lived_token()}},
        {"status": {"token": short_lived_token(), "expirationTimestamp": "tomorrow"}},
        {"spec": {"audiences": ["api"]}},
        {"spec": {}},
    ],
    ids=[
        "no token",
        "line break",
        "number",
        "list",
        "no expiry",
        "odd expiry",
        "other audience",
        "no audience",
    ],
)
def test_an_incomplete_token_request_is_refused(changes: dict[str, object]) -> None:
    error = refusal_of(token_answer(**changes))  # type: ignore[arg-type]
    assert isinstance(error, NotADoorError)
    assert short_lived_token() not in str(error)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_5xx_is_marked_as_temporary(code: int) -> None:
    error = refusal_of(status_answer(code, "etcd is away"))
    assert isinstance(error, DoorUnreachableError)
    assert error.fact.endswith(f" {code}: etcd is away")
    assert error.heals_by_itself


def test_the_html_of_a_5xx_is_not_quoted() -> None:
    error = refusal_of(answer(502, "<html>nginx</html>", content_type="text/html"))
    assert error.fact.endswith(" 502")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 90", 90),
        (f"Retry-After: {http_date(NOON + 90)}", 90),
        (f"Retry-After: {http_date(NOON + 50)}\r\nDate: {http_date(NOON - 40)}", 90),
        ("Retry-After: soon", None),
        ("Retry-After: -1", None),
        ("Retry-After: 9999999999999", None),
        ("X: y", None),
    ],
    ids=["seconds", "date", "date by the door's clock", "words", "negative", "long", "absent"],
)
def test_a_429_carries_the_retry_after_of_the_answer(header: str, seconds: float | None) -> None:
    error = refusal_of(status_answer(429, "slow down", header))
    assert isinstance(error, DoorBusyError)
    assert error.retry_after_seconds == seconds
    assert error.heals_by_itself


def test_a_servers_message_is_made_printable_and_cut() -> None:
    with pytest.raises(DaypassError) as raised:
        run_exchange([status_answer(403, "\x1b[2Jcleared\n\u202e" + "x" * 100_000)])
    error = raised.value
    assert error.fact.isprintable()
    assert len(error.fact) < 1200


@pytest.mark.parametrize("code", [200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
def test_a_token_quoted_by_a_server_is_removed(code: int) -> None:
    for quoted in (long_lived_token(), long_lived_token()[:150], long_lived_token()[:-4]):
        for raw in (
            status_answer(code, f"bad header: Authorization: Bearer {quoted}"),
            answer(code, f"bad header: Authorization: Bearer {quoted}"),
            answer(code, "", f"Location: /login/{quoted}"),
        ):
            with pytest.raises(DaypassError) as raised:
                run_exchange([raw])
            error = raised.value
            status = getattr(error, "status", None)
            seen = f"{error} {error!r} {error.args} {status.document if status else ''}"
            assert quoted[20:] not in seen
            assert quoted not in seen


def test_the_repr_of_a_token_request_shows_no_token() -> None:
    assert long_lived_token() not in repr(order())
    assert long_lived_token() not in repr(order().request())


def gates_answers() -> list[tuple[int, str]]:
    """The real answers of the gate to an exchange that is sent to it."""
    settings = cast(GateSettings, SimpleNamespace(audience="gate", is_reviewed=False))
    formats = [mapper["body_format_override"] for mapper in gate_replies(settings)["mappers"]]
    documents = [form["json_format"] for form in formats]
    said = {document["code"]: document["message"] for document in documents}
    return [(code, said[code].replace("%LOCAL_REPLY_BODY%", "x")) for code in (401, 403, 404)]


@pytest.mark.parametrize(
    ("code", "message"),
    [*gates_answers(), (401, MESSAGES[Reason.LONG_LIVED])],
    ids=["401", "403", "404", "long-lived"],
)
def test_answers_of_the_gate_are_recognised(code: int, message: str) -> None:
    error = refusal_of(status_answer(code, message))
    assert isinstance(error, NotADoorError)
    assert "gate" in error.fact
    assert "DAYPASS_DOOR" in error.hint
