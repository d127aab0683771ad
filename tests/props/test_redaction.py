"""However a response encodes a part of a secret, no output contains it."""

from __future__ import annotations

import base64
import json
import string
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import DaypassError
from daypass._core.secret import LIMIT_ANSWER_BYTES, RUN_CHARACTERS, Secret, redact, redact_response
from daypass.client.http1 import HttpResponse
from daypass.kube.errors import explain
from daypass.verification.checks import judge_gate, judge_policy
from support.exchanges import run_exchange, token_request
from support.fake_door import SENTINEL, answer, long_lived_token, token_answer

TOKEN = long_lived_token() + "-Zm9vYmFyYmF6cXV4_c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
REQUEST = token_request()
REQUEST.token = Secret(TOKEN)
RUNS = {TOKEN[at : at + RUN_CHARACTERS] for at in range(len(TOKEN) - RUN_CHARACTERS + 1)}

PARTS = st.builds(
    lambda start, length: TOKEN[start : start + length],
    st.integers(0, len(TOKEN) - RUN_CHARACTERS),
    st.one_of(st.integers(RUN_CHARACTERS, 40), st.just(len(TOKEN))),
)
CHARACTERS = (
    lambda c: c,
    lambda c: f"\\u{ord(c):04x}",
    lambda c: f"\\u{ord(c):04X}",
    lambda c: f"\\\\u{ord(c):04x}",
    lambda c: f"\\x{ord(c):02x}",
    lambda c: f"%{ord(c):02x}",
    lambda c: f"%{ord(c):02X}",
    lambda c: f"%25{ord(c):02X}",
    lambda c: f"%2525{ord(c):02X}",
    lambda c: f"%5Cu{ord(c):04x}",
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
    lambda c: f"&amp;#x{ord(c):x};",
)


@st.composite
def encoded(draw: st.DrawFn) -> str:
    """A part of the token, each character in one of a few encodings, with text around it."""
    ways = draw(st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=4))
    part = "".join(ways[at % len(ways)](c) for at, c in enumerate(draw(PARTS)))
    around = st.text(alphabet=string.printable, max_size=20)
    return draw(around) + part + draw(around)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A body with such a part: a Status, another JSON document, or text."""
    part = draw(encoded())
    raw = json.dumps(part) if draw(st.booleans()) else f'"{part}"'
    return draw(
        st.sampled_from(
            [
                '{"kind": "Status", "message": %s, "code": 403}',
                '{"kind": "Status", "message": "a", "reason": %s, "code": 404}',
                '{"kind": "Status", "message": "a", "details": {"causes": [{%s: 1}]}}',
                '{"kind": "Status", "message": %s, "message": %s}',
                '{"spec": %s, "a": %s}',
                "[" * 3000 + "%s",
                "%s",
            ]
        )
    ).replace("%s", raw if draw(st.integers(0, 5)) else part)


def assert_contains_no_part(text: str) -> None:
    found = {run for run in RUNS if run in text}
    assert not found
    assert SENTINEL not in text


def text_of(error: BaseException) -> str:
    status = getattr(error, "status", None)
    document = "" if status is None else f"{status!r} {status.document!r}"
    return "".join((*traceback.format_exception(error), repr(vars(error)), document))


@given(
    code=st.sampled_from([200, 201, 302, 401, 403, 404, 422, 429, 503]),
    body=bodies(),
    location=encoded(),
    kind=st.sampled_from(["application/json", "text/plain", "text/html"]),
)
def test_no_exchange_error_contains_a_part_of_the_token(
    code: int, body: str, location: str, kind: str
) -> None:
    place = "".join(c for c in location if c.isprintable())
    try:
        run_exchange(
            [answer(code, body, f"Location: /{place}", content_type=kind)], request=REQUEST
        )
    except DaypassError as error:
        assert_contains_no_part(text_of(error))
    else:
        raise AssertionError


@given(part=encoded())
def test_no_audience_of_a_response_contains_a_part_of_the_token(part: str) -> None:
    spec = {"audiences": [REQUEST.audience, part], "expirationSeconds": 3600}
    token = run_exchange([token_answer(spec=spec)], request=REQUEST).token
    assert_contains_no_part(f"{token!r} {token.audiences}")


@given(code=st.sampled_from([400, 401, 403, 404, 409, 422, 500]), body=bodies())
def test_no_kubernetes_client_error_contains_a_part_of_its_token(code: int, body: str) -> None:
    error = explain(code, body.encode(), "list secrets", Secret(TOKEN))
    assert_contains_no_part(text_of(error))


@given(code=st.sampled_from([200, 302, 401, 403, 404, 503]), body=bodies(), location=encoded())
def test_no_finding_contains_a_part_of_the_token(code: int, body: str, location: str) -> None:
    raw = HttpResponse(status=code, headers=(("location", location),), body=body.encode())
    clean = raw.without(Secret(TOKEN))
    assert_contains_no_part(f"{judge_gate(clean)} {judge_policy(clean, expected=True)}")


@given(text=st.text(max_size=200))
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    if "eyJ" not in text:
        assert redact(text, Secret(TOKEN)) == text


@given(text=st.one_of(st.text(), st.text(alphabet="eyJ%25\\u0065&#x;")), secret=st.text(min_size=1))
def test_any_secret_is_removed_from_any_text(text: str, secret: str) -> None:
    shown = redact(text, Secret(secret))
    if len(secret) >= RUN_CHARACTERS and "*" not in secret:
        assert secret not in shown


@pytest.mark.parametrize(
    "unit", ["a", "%41", "%25252541", '["abcdef",', "eyJ", "&amp;", "\\", "\\u0041", TOKEN, "1"]
)
def test_a_long_response_is_redacted_cheaply(unit: str) -> None:
    body = unit.encode() * (2**20 // len(unit))
    assert len(redact_response(body, Secret(TOKEN))) <= 2 * LIMIT_ANSWER_BYTES


@given(body=st.binary(max_size=300))
def test_any_body_is_redacted_without_an_error(body: bytes) -> None:
    redact_response(body, Secret(TOKEN))


@pytest.mark.parametrize("alphabet", ["+/", "-_"])
@pytest.mark.parametrize("before", ["", "a", "ab", "Authorization: Bearer "])
@given(
    part=st.integers(0, len(TOKEN) - 32).flatmap(
        lambda at: st.integers(at + 32, len(TOKEN)).map(lambda end: TOKEN[at:end])
    )
)
def test_no_text_contains_the_token_in_base64(before: str, alphabet: str, part: str) -> None:
    """As Go encodes bytes, and Kubernetes the data of Secrets."""
    whole = base64.b64encode(f"{before}{part}".encode(), alphabet.encode()).decode()
    first, last = -(-len(before) * 8 // 6), len(before + part) * 8 // 6
    for text in (redact(f"no: {whole}", Secret(TOKEN)), redact(quote(whole), Secret(TOKEN))):
        held = {whole[at : at + RUN_CHARACTERS] for at in range(first, last - RUN_CHARACTERS + 1)}
        assert not {run for run in held if run in text}
