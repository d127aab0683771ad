"""Whatever the server's response, an exchange gives a token or an error that contains none."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import DaypassError
from daypass.client.config import CredentialsConfig
from daypass.client.credentials_source import CredentialsSource
from daypass.client.door import TokenRequest
from daypass.client.http1 import MalformedResponseError, TruncatedResponseError
from daypass.client.transport import ANSWER, CONNECT, PROXY, RESOLVE, TLS, Route, TransportError
from support.exchanges import run_exchange, token_request
from support.fake_door import (
    answer,
    credentials_document,
    long_lived_token,
    short_lived_token,
    token_answer,
)
from support.timing import FakeTiming

REQUEST: TokenRequest = token_request()
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**64]),
    st.text(max_size=20),
    st.sampled_from(
        ["TokenRequest", "Status", "2027-01-15T09:00:00Z", short_lived_token(), long_lived_token()]
    ),
)
KEYS = st.sampled_from(
    ["kind", "spec", "status", "token", "audiences", "expirationTimestamp", "expirationSeconds",
     "message", "code", "reason"]
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)
ANSWERS = st.builds(
    lambda code, body, header: answer(code, body, header),
    st.integers(200, 599),
    st.one_of(JSON.map(json.dumps), st.text(max_size=60), st.just(long_lived_token())),
    st.sampled_from(
        ["X: y", "Retry-After: 3", "Retry-After: x", "Date: Fri, 15 Jan 2027 08:00:00 GMT",
         'Warning: 299 - "x', "Location: /" + long_lived_token()]
    ),
)  # fmt: skip


def transport_error(stage: str, cause: BaseException) -> TransportError:
    error = TransportError(stage, Route(target=REQUEST.door.address))
    error.__cause__ = cause
    return error


T = TypeVar("T")


def outcome_of(what: Callable[[], T]) -> T | DaypassError:
    """The result, or the DaypassError that was raised."""
    try:
        return what()
    except DaypassError as error:
        return error


FAILURES = st.builds(
    transport_error,
    st.sampled_from([RESOLVE, CONNECT, PROXY, TLS, ANSWER]),
    st.sampled_from(
        [
            OSError(),
            OSError(113, "No route to host"),
            OSError(24, "Too many open files"),
            ConnectionResetError(),
            ConnectionRefusedError(),
            BrokenPipeError(),
            TimeoutError(),
            socket.gaierror(socket.EAI_AGAIN, "x"),
            ssl.SSLError(1, "x"),
            ssl.SSLEOFError(8, "x"),
            MalformedResponseError("it is odd"),
            TruncatedResponseError(),
        ]
    ),
)


@given(script=st.lists(st.one_of(ANSWERS, FAILURES, st.just(token_answer())), min_size=1))
def test_an_exchange_ends_in_time_with_a_token_or_an_error_without_one(
    script: list[bytes | Exception],
) -> None:
    timing = FakeTiming()
    before = timing.fake_clock.now_monotonic
    outcome = outcome_of(lambda: run_exchange(script, timing=timing, request=REQUEST))
    if isinstance(outcome, DaypassError):
        text = f"{outcome} {outcome!r} {vars(outcome)}"
        assert long_lived_token()[40:80] not in text
        assert short_lived_token()[40:80] not in text
        assert outcome.fact.isprintable()
        assert outcome.hint
    else:
        assert outcome.token.audiences
        assert outcome.token.value.reveal()
    assert timing.fake_clock.now_monotonic - before <= timing.exchange_seconds
    assert len(timing.waits) <= 3


KEYS = st.sampled_from(
    ["door", "token", "audience", "lifetimeSeconds", "certificateAuthority", "namespace",
     "serviceAccount", "secretName"]
)  # fmt: skip


@given(document=st.one_of(JSON, st.dictionaries(KEYS | st.text(max_size=8), JSON, max_size=4)))
def test_any_credentials_document_is_read_or_rejected(document: Any) -> None:
    if not isinstance(document, dict):
        document = {"token": document, "door": document, "audience": document}
    content = json.dumps({**credentials_document("https://a/b"), **document}).encode()
    source = CredentialsSource(origin="credentials.json", document=content)
    outcome = outcome_of(lambda: CredentialsConfig(source))
    assert long_lived_token()[40:80] not in f"{outcome} {outcome!r}"
