"""A Secret does not print itself, and is never sent as `Secret('***')`."""

import copy
import datetime
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from daypass import Token
from daypass._core.secret import Secret
from support.messages import check, raises

TOKEN = Token(
    value=Secret("hush"),
    expires_at=datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC),
    audiences=("gate.example.com",),
)


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret("hush")
    assert "hush" not in f"{secret!r} {secret!s} {[secret]} {TOKEN!r} {TOKEN!s}"
    assert repr(secret) == "Secret('***')"
    assert secret.reveal() == "hush"


@pytest.mark.parametrize("value", [Secret("hush"), TOKEN], ids=["Secret", "Token"])
@pytest.mark.parametrize(
    "as_text",
    [
        pytest.param(lambda value: f"Bearer {value}", id="f-string"),
        pytest.param("Bearer {}".format, id="str.format"),
    ],
)
def test_formatting_names_the_calls_to_use(as_text: Callable[[Any], str], value: object) -> None:
    with raises(TypeError, match=r"credentials\.headers\(\).*\.reveal\(\)"):
        as_text(value)


@pytest.mark.parametrize("value", [Secret("hush"), TOKEN], ids=["Secret", "Token"])
def test_logging_takes_it_and_its_text_is_no_value_of_a_header(
    value: object, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("bot").warning("got %s", value)
    (message,) = caplog.messages
    check(message, reason="log")
    assert message == f"got {value!s}"
    assert repr(value) in message
    assert "\n(" in message  # tests/integrations/test_mistakes.py: each library refuses it


def test_a_secret_is_not_pickled() -> None:
    for spoil in (pickle.dumps, copy.copy):
        with raises(TypeError):
            spoil(Secret("hush"))


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret("")
