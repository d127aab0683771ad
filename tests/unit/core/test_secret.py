"""A Secret does not print itself."""

import copy
import pickle

from daypass._core.secret import Secret
from support.messages import raises


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret("hush")
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {[secret]}"
    assert "hush" not in shown
    assert secret.reveal() == "hush"


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
