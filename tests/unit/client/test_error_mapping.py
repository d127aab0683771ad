"""Each failure of an exchange has one error, a next step and an exit code."""

from __future__ import annotations

import socket
import ssl

import pytest

from daypass._core.errors import DaypassError
from daypass.client.error_mapping import explain_transport
from daypass.client.errors import (
    DoorBusyError,
    DoorUnreachableError,
    ExchangeRefusedError,
    NotADoorError,
    TemporaryError,
)
from daypass.client.http1 import MalformedResponseError, TruncatedResponseError
from daypass.client.transport import (
    ANSWER,
    CONNECT,
    PROXY,
    RESOLVE,
    TLS,
    Proxy,
    Route,
    TransportError,
)
from daypass.rules.reasons import MESSAGES, Reason
from support.exchanges import run_exchange, token_request
from support.fake_door import (
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    answer,
    long_lived_token,
    short_lived_token,
    status_answer,
    token_answer,
)
from support.messages import check, raises
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
        pytest.param(404, 'serviceaccounts "bot" not found', (WHO,), "", id="no ServiceAccount"),
        pytest.param(404, f'secrets "{SECRET}" not found', (SECRET, WHO), "", id="no Secret"),
        pytest.param(404, "only TokenRequest is published", (), "URL", id="another path"),
        pytest.param(422, "something else", ("(422): something else",), "", id="422"),
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


LOGIN, PAGE = "https://login.example.com/auth", "<!doctype html><title>Sign in</title>"
NOT_A_DOOR: dict[str, tuple[bytes, str]] = {
    **{
        f"redirect {code}": (
            answer(code, "", f"Location: {LOGIN}?state=secret"), f"({code}) to {LOGIN}",
        )
        for code in (302, 308)
    },
    "page 200": (answer(200, PAGE, content_type="text/html"), " 200"),
    "page 403": (answer(403, PAGE, content_type="text/html"), " 403"),
    "kind": (answer(200, '{"kind": "APIVersions"}'), " 200"),
    "list": (answer(201, "[]"), " 201"),
    "nested": (answer(201, "[" * 100_000), " 201"),
    "nothing": (answer(204), " 204"),
    "words 404": (answer(404, "default backend - 404"), ": default backend - 404"),
    "Status 200": (status_answer(200, "fine"), " 200"),
}  # fmt: skip
"""The answer, and what the error quotes of it."""


@pytest.mark.parametrize("case", NOT_A_DOOR)
def test_an_answer_that_is_neither_token_request_nor_status_is_not_a_door(case: str) -> None:
    raw, quoted = NOT_A_DOOR[case]
    error = refusal_of(raw)
    assert isinstance(error, NotADoorError)
    assert quoted in error.fact
    assert "<" not in error.fact
    assert "secret" not in str(error)
    assert "URL" in error.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {}},
        {"status": {"token": "a\r\nb", "expirationTimestamp": "x"}},
        {"status": {"token": short_lived_token()}},
        {"status": {"token": short_lived_token(), "expirationTimestamp": "tomorrow"}},
        {"spec": {"audiences": ["api"]}},
        {"spec": {}},
    ],
    ids=["no token", "line break", "no expiry", "odd expiry", "other audience", "no audience"],
)
def test_an_incomplete_token_request_is_refused(changes: dict[str, object]) -> None:
    error = refusal_of(token_answer(**changes))  # type: ignore[arg-type]
    assert isinstance(error, NotADoorError)
    assert short_lived_token() not in str(error)


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (status_answer(500, "etcd is away"), " 500: etcd is away"),
        (answer(502, "<html>nginx</html>", content_type="text/html"), " 502"),
    ],
    ids=["a Status", "a page"],
)
def test_a_5xx_is_marked_as_temporary(raw: bytes, end: str) -> None:
    error = refusal_of(raw)
    assert isinstance(error, DoorUnreachableError)
    assert error.fact.endswith(end)
    assert error.heals_by_itself


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 90", 90),
        ("Retry-After: soon", None),
        ("X: y", None),
    ],
    ids=["seconds", "words", "absent"],
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


def test_the_repr_of_a_token_request_shows_no_token() -> None:
    assert long_lived_token() not in repr(token_request())
    assert long_lived_token() not in repr(token_request().encode())


def test_an_answer_of_the_gate_is_recognised_by_its_header() -> None:
    header = f"Daypass-Reason: {Reason.LONG_LIVED}"
    error = refusal_of(status_answer(401, "the gate's words", header))
    assert isinstance(error, NotADoorError)
    assert error.reason == "gate-url"
    assert "(401): the gate's words" in error.fact
    assert "`door`" in error.hint


@pytest.mark.parametrize("header", ["X: y", "Daypass-Reason: something-else"])
def test_an_answer_without_a_reason_of_the_gate_is_a_refusal(header: str) -> None:
    """As from a gate of an older daypass."""
    error = refusal_of(status_answer(403, MESSAGES[Reason.LONG_LIVED], header))
    assert isinstance(error, ExchangeRefusedError)
    assert MESSAGES[Reason.LONG_LIVED] in error.fact


# -- attempts without a response

REQUEST = token_request()


def explained(
    stage: str, cause: BaseException, *, proxy: str | None = None
) -> tuple[DaypassError, bool]:
    route = Route(target=REQUEST.door.address, proxy=Proxy.parse(proxy) if proxy else None)
    error = TransportError(stage, route)
    error.__cause__ = cause
    problem = explain_transport(error, REQUEST, NOON)
    return problem, isinstance(problem, TemporaryError) and problem.is_retried


def verification_error(code: int, message: str = "odd") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, message)
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("stage", "cause", "expected", "again"),
    [
        (RESOLVE, socket.gaierror(socket.EAI_AGAIN, "x"), "ekf.example.com:443", False),
        (CONNECT, ConnectionRefusedError(), "ekf.example.com:443", True),
        (CONNECT, TimeoutError(), "ekf.example.com:443", False),
        (CONNECT, OSError(113, "No route to host"), "ekf.example.com:443: No route", True),
        (TLS, ConnectionResetError(), "(tls)", True),
        (TLS, ssl.SSLEOFError(8, "x"), "(tls)", True),
        (TLS, ssl.SSLError(1, "x"), "sslerror", False),
        (TLS, verification_error(85, "Missing AKI"), "Missing AKI", False),
        (TLS, verification_error(20, "no issuer"), "no issuer", False),
        (ANSWER, TimeoutError(), "https://ekf.example.com/kubernetes", False),
        (ANSWER, TruncatedResponseError(), "https://ekf.example.com/kubernetes", True),
        (ANSWER, MalformedResponseError("it is odd"), "it is odd", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)  # fmt: skip
def test_each_transport_failure_is_explained(
    stage: str, cause: BaseException, expected: str, again: bool
) -> None:
    error, is_tried_again = explained(stage, cause)
    check(error)
    assert expected in error.fact
    assert error.hint
    assert is_tried_again is again


@pytest.mark.parametrize(
    ("stage", "cause"),
    [
        (RESOLVE, socket.gaierror(socket.EAI_NONAME, "x")),
        (CONNECT, ConnectionRefusedError()),
        (PROXY, ConnectionResetError()),
        (PROXY, MalformedResponseError("it is odd")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_failing_proxy_is_named_without_its_password(stage: str, cause: BaseException) -> None:
    error, _ = explained(stage, cause, proxy="http://me:secret@proxy:3128")
    check(error)
    assert "proxy:3128" in error.fact
    assert "secret" not in str(error)
