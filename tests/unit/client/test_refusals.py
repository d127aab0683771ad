"""Every way in which an exchange can be refused has one sentence, a next step and an exit code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from daypass._core.errors import DaypassError
from daypass.client.errors import (
    DoorBusyError,
    DoorUnreachableError,
    ExchangeRefusedError,
    NotADoorError,
)
from daypass.render.envoy.gate import _LONG_LIVED as LONG_LIVED
from daypass.render.envoy.gate import gate_replies
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
    with pytest.raises(DaypassError) as raised:
        run_exchange([raw])
    assert raised.value.exit_code == 1
    return raised.value


@pytest.mark.parametrize(
    ("code", "message", "fact", "hint"),
    [
        (401, "Unauthorized", f"long-lived token of {WHO} is refused (401", SECRET),
        (401, "send Authorization: Bearer <JWT>", "arrived without its token (401)", "proxy"),
        (403, ANONYMOUS, "the API server saw no token", "lost the Authorization header"),
        (403, NO_ROLE, f"{WHO} may not create tokens for itself",
         "may have been deleted: ask your administrator"),
        (403, POLICY, "policy refuses this token: " + POLICY, "lifetime and an audience"),
        (422, POLICY, "policy refuses this token: " + POLICY, "lifetime and an audience"),
        (403, "because", "the TokenRequest was refused (403): because", "in between"),
        (404, 'serviceaccounts "bot" not found', f"ServiceAccount {WHO} does not", "deleted"),
        (404, f'secrets "{SECRET}" not found', f"Secret {SECRET} of {WHO} does not", "rotated"),
        (404, "only TokenRequest is published", "nothing is published at this path", "URL right"),
        (422, TOO_SHORT, "a lifetime of 3600 seconds is refused (422): " + TOO_SHORT, "10 min"),
        (422, "something else", "the TokenRequest was refused (422): something else", ""),
        (409, "the UID in the bound", "refused (409): the UID in the bound", ""),
        (413, "limit is 3145728", "refused (413): limit is", ""),
        (415, "unknown format", "refused (415): unknown format", ""),
    ],
)  # fmt: skip
def test_a_status_is_understood_and_kept_whole(
    code: int, message: str, fact: str, hint: str
) -> None:
    error = refusal_of(status_answer(code, message, reason="Because"))
    assert isinstance(error, ExchangeRefusedError)
    assert fact in error.fact
    assert hint in error.hint
    assert error.hint
    assert error.status is not None
    assert error.status.message == message
    assert error.status.reason == "Because"
    assert not error.heals_by_itself


@pytest.mark.parametrize(("offset", "word"), [(-3600, "behind"), (3600, "ahead of")])
def test_a_401_to_a_machine_whose_clock_is_wrong_says_so(offset: int, word: str) -> None:
    date = f"Date: {http_date(NOON - offset)}"
    hint = refusal_of(status_answer(401, "Unauthorized", date)).hint
    assert f"this machine's clock is 60 minutes {word} the door's" in hint


def test_a_401_to_a_machine_whose_clock_is_right_does_not_speak_of_it() -> None:
    hint = refusal_of(status_answer(401, "Unauthorized", f"Date: {http_date(NOON - 290)}")).hint
    assert "clock" not in hint


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_but_told(code: int) -> None:
    place = "https://login.example.com/auth"
    error = refusal_of(answer(code, "", f"Location: {place}?state=secret"))
    assert isinstance(error, NotADoorError)
    assert f"redirects ({code}) to {place}" in error.fact
    assert "secret" not in str(error)


@pytest.mark.parametrize("code", [200, 201, 400, 401, 403, 404])
def test_an_html_page_is_no_door(code: int) -> None:
    page = answer(code, "<!doctype html><title>Sign in</title>", content_type="text/html")
    error = refusal_of(page)
    assert isinstance(error, NotADoorError)
    assert f"is no door: it answers {code} with an HTML page" in error.fact
    assert "<" not in error.fact
    assert ("a login page or a firewall" in error.hint) is (code not in (400, 404))


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (answer(200, '{"kind": "APIVersions"}'), "it answers 200 with JSON of another kind"),
        (answer(201, "[]"), "it answers 201 with JSON of another kind"),
        (answer(201, "[" * 100_000), "it answers 201 with JSON of another kind"),
        (answer(204), "it answers 204 with nothing"),
        (answer(200, "hello"), "it answers 200 with something else than JSON"),
        (answer(404, "default backend - 404"), "something else than JSON: default backend - 404"),
        (answer(401, '{"error":"no"}'), 'JSON of another kind: {"error":"no"}'),
        (status_answer(200, "fine"), "it answers 200 with JSON of another kind"),
    ],
)
def test_whatever_is_no_token_request_and_no_status_is_no_door(raw: bytes, what: str) -> None:
    error = refusal_of(raw)
    assert isinstance(error, NotADoorError)
    assert what in error.fact
    assert "is its URL right" in error.hint


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": {}}, "holds no token"),
        ({"status": {"token": "a\r\nb", "expirationTimestamp": "x"}}, "holds no token"),
        ({"status": {"token": 7}}, "holds no token"),
        ({"status": []}, "holds no token"),
        ({"status": {"token": short_lived_token()}}, "does not say when the token expires"),
        (
            {"status": {"token": short_lived_token(), "expirationTimestamp": "tomorrow"}},
            "does not say when the token expires",
        ),
        ({"spec": {"audiences": ["api"]}}, "somebody else than the audience"),
        ({"spec": {}}, "somebody else than the audience"),
    ],
)
def test_a_token_request_that_is_not_whole_is_not_believed(
    changes: dict[str, object], what: str
) -> None:
    error = refusal_of(token_answer(**changes))  # type: ignore[arg-type]
    assert isinstance(error, NotADoorError)
    assert what in error.fact
    assert short_lived_token() not in str(error)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_failing_server_heals_by_itself(code: int) -> None:
    error = refusal_of(status_answer(code, "etcd is away"))
    assert isinstance(error, DoorUnreachableError)
    assert error.fact.endswith(f"answers {code}: etcd is away")
    assert error.heals_by_itself


def test_a_failing_servers_html_is_not_quoted() -> None:
    error = refusal_of(answer(502, "<html>nginx</html>", content_type="text/html"))
    assert error.fact.endswith("answers 502")


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
)
def test_a_busy_door_says_when_to_come_back(header: str, seconds: float | None) -> None:
    error = refusal_of(status_answer(429, "slow down", header))
    assert isinstance(error, DoorBusyError)
    assert error.retry_after_seconds == seconds
    assert error.heals_by_itself


def test_other_peoples_words_cannot_steer_the_terminal_or_fill_it() -> None:
    error = refusal_of(status_answer(403, "\x1b[2Jcleared\n\u202e" + "x" * 100_000))
    assert error.fact.isprintable()
    assert len(error.fact) < 1200


@pytest.mark.parametrize("code", [200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
def test_a_token_that_a_server_quotes_is_not_passed_on(code: int) -> None:
    for quoted in (long_lived_token(), long_lived_token()[:150], long_lived_token()[:-4]):
        for raw in (
            status_answer(code, f"bad header: Authorization: Bearer {quoted}"),
            answer(code, f"bad header: Authorization: Bearer {quoted}"),
            answer(code, "", f"Location: /login/{quoted}"),
        ):
            error = refusal_of(raw)
            status = getattr(error, "status", None)
            seen = f"{error} {error!r} {error.args} {status.document if status else ''}"
            assert quoted[20:] not in seen
            assert quoted not in seen


def test_the_order_shows_no_token() -> None:
    assert long_lived_token() not in repr(order())
    assert long_lived_token() not in repr(order().request())


def gates_answers() -> list[tuple[int, str]]:
    """What the gate really says to what a client sends to a door."""
    settings = cast(GateSettings, SimpleNamespace(audience="gate", is_reviewed=False))
    formats = [mapper["body_format_override"] for mapper in gate_replies(settings)["mappers"]]
    documents = [form["json_format"] for form in formats]
    said = {document["code"]: document["message"] for document in documents}
    return [(code, said[code].replace("%LOCAL_REPLY_BODY%", "x")) for code in (401, 403, 404)]


@pytest.mark.parametrize(("code", "message"), [*gates_answers(), (401, LONG_LIVED)])
def test_the_gates_own_answers_are_told_apart_from_a_doors(code: int, message: str) -> None:
    error = refusal_of(status_answer(code, message))
    assert isinstance(error, NotADoorError)
    assert "leads to the gate, not to the door" in error.fact
    assert "DAYPASS_DOOR" in error.hint
