"""Errors of sockets and TLS, explained. The common cases are in test_transport_errors."""

from __future__ import annotations

import socket
import ssl

import pytest

from daypass._core.errors import DaypassError
from daypass.client.http1 import MalformedAnswerError, TruncatedAnswerError
from daypass.client.route import Route, parse_proxy
from daypass.client.transport import ANSWER, CONNECT, PROXY, RESOLVE, TLS, TransportError
from daypass.client.transport_errors import explain_transport
from support.exchanges import order
from support.messages import check
from support.timing import NOON

ORDER = order()


def explained(
    stage: str, cause: BaseException, *, proxy: str | None = None, own: bool = True
) -> tuple[DaypassError, bool]:
    route = Route(
        target=ORDER.door.address,
        proxy=parse_proxy(proxy) if proxy else None,
        has_own_authority=own,
    )
    error = TransportError(stage, route)
    error.__cause__ = cause
    failure = explain_transport(error, ORDER, NOON)
    return failure.error, failure.again


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
        (CONNECT, OSError(24, "Too many open files"), "Too many open files", True),
        (CONNECT, OSError(), "ekf.example.com:443: OSError", True),
        (TLS, ConnectionResetError(), "TLS", True),
        (TLS, ssl.SSLEOFError(8, "x"), "TLS", True),
        (TLS, TimeoutError(), "TLS", False),
        (TLS, ssl.SSLError(1, "x"), "sslerror", False),
        (TLS, verification_error(85, "Missing AKI"), "Missing AKI", False),
        (ANSWER, TimeoutError(), "https://ekf.example.com/kubernetes", False),
        (ANSWER, BrokenPipeError(), "https://ekf.example.com/kubernetes", True),
        (ANSWER, TruncatedAnswerError(), "https://ekf.example.com/kubernetes", True),
        (ANSWER, MalformedAnswerError("it is odd"), "it is odd", False),
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


@pytest.mark.parametrize("code", [2, 18, 19, 20, 21])
def test_the_hint_about_an_unknown_authority_depends_on_whether_one_is_configured(
    code: int,
) -> None:
    named, _ = explained(TLS, verification_error(code))
    unnamed, _ = explained(TLS, verification_error(code), own=False)
    assert named.fact == unnamed.fact
    assert "certificateAuthority" in named.hint
    assert "SSL_CERT_FILE" in unnamed.hint
    check(named)
    check(unnamed)


@pytest.mark.parametrize(
    ("stage", "cause"),
    [
        (RESOLVE, socket.gaierror(socket.EAI_NONAME, "x")),
        (CONNECT, ConnectionRefusedError()),
        (CONNECT, TimeoutError()),
        (PROXY, ConnectionResetError()),
        (PROXY, TimeoutError()),
        (PROXY, MalformedAnswerError("it is odd")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_failing_proxy_is_named_without_its_password(stage: str, cause: BaseException) -> None:
    error, _ = explained(stage, cause, proxy="http://me:secret@proxy:3128")
    check(error)
    assert "proxy:3128" in error.fact
    assert "secret" not in str(error)
