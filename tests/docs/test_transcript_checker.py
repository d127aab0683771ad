"""What programs print is compared with what pages show, except for what differs each time."""

from __future__ import annotations

import pytest

from support.doc_transcript import mistake_in

SAME = [
    ("a  b", "a b\n"),
    ("a ... d", "a b c d\n"),
    ("a\n...\nd", "a\nb\nc\nd\n"),
    ("a\n...", "a\n"),
    ("eyJhbGciOiJSUzI1NiIs...", "eyJhbGciOi.eyJ_-.abc\n"),
    ("until 2026-11-24T18:27:56Z", "until 2031-01-01T00:00:00Z\n"),
    ("Secret: bot-daypass-7q0zk3vr9b2mx5c8w1td", "Secret: bot-daypass-aaaaaaaaaaaaaaaaaaaa\n"),
    ("log /tmp/daypass-w1th1779/envoy.log", "log /tmp/daypass-0/envoy.log\n"),
    ("team  bot  12d  ok", "team  bot  0s  ok\n"),
    ("https://localhost:40001/x", "https://localhost:59999/x\n"),
]
DIFFERENT = [
    ("a", ""),
    ("", "a\n"),
    ("a", "a\nb\n"),
    ("a\n...\nd", "a\nb\n"),
    ("valid for 1h", "valid for 2h\n"),
    ("https://localhost:8443/x", "https://localhost:8444/x\n"),
    ("a.c", "abc\n"),
]


@pytest.mark.parametrize(("shown", "printed"), SAME)
def test_what_differs_each_time_is_no_difference(shown: str, printed: str) -> None:
    assert mistake_in(shown, printed) == ""


@pytest.mark.parametrize(("shown", "printed"), DIFFERENT)
def test_everything_else_is_a_difference(shown: str, printed: str) -> None:
    assert mistake_in(shown, printed)
