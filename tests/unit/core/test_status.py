"""Kubernetes's Status in a response."""

import pickle

import pytest

from daypass._core.kubernetes.status import Status, excerpt
from daypass._core.text import LIMIT_FOREIGN_CHARACTERS


def test_a_status_is_parsed_and_kept_complete() -> None:
    status = Status.parse(b'{"kind":"Status","code":404,"reason":"NotFound","message":"m","x":1}')
    assert status is not None
    assert (status.code, status.reason, status.message) == (404, "NotFound", "m")
    assert status.document["x"] == 1
    again = pickle.loads(pickle.dumps(status))  # noqa: S301 - our own bytes
    assert repr(again) == repr(status)


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b'{"kind":"Pod"}', b"\xff", b"[" * 100_000, b'"Status"']
)
def test_a_body_that_is_no_status_parses_as_none(body: bytes) -> None:
    assert Status.parse(body) is None


def test_a_status_with_wrong_types_is_empty() -> None:
    status = Status.parse(b'{"kind":"Status","code":"404","reason":[],"message":null}')
    assert status is not None
    assert (status.code, status.reason, status.message) == (0, "", "")


def test_the_excerpt_of_a_body_is_one_printable_line_of_limited_length() -> None:
    assert excerpt(b"a\n\tb\x1b[2J\xff c") == "a b [2J\ufffd c"
    assert len(excerpt(b"x" * 100_000)) == LIMIT_FOREIGN_CHARACTERS


def test_the_message_of_a_status_is_cut() -> None:
    body = b'{"kind": "Status", "code": 422, "message": "%s"}' % (b"x" * 200_000)
    status = Status.parse(body)
    assert status is not None
    assert status.message == "x" * 4096
