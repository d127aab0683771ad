"""Names of identities: what Kubernetes allows, and what fits into the names of Secrets."""

from __future__ import annotations

import pytest

from daypass.identity.accounts import (
    LONGEST_NAME_CHARACTERS,
    BadNameError,
    IdentityName,
    new_secret_name,
)
from support.messages import raises


@pytest.mark.parametrize(
    "name", ["bot", "a.b-c.1", pytest.param("x" * LONGEST_NAME_CHARACTERS, id="longest")]
)
def test_an_accepted_name_gives_valid_secret_names(name: str) -> None:
    assert IdentityName.parse("team", name).key == f"team/{name}"
    assert len(new_secret_name(name)) <= 253


@pytest.mark.parametrize(
    ("namespace", "name", "value"),
    [
        ("team", "Bot", "'Bot'"),
        ("team", "bot/x", "'bot/x'"),
        pytest.param("team", "b\u00f6t", "'b\u00f6t'", id="umlaut"),
        pytest.param("team", "x" * (LONGEST_NAME_CHARACTERS + 1), "225 characters", id="long name"),
        ("te.am", "bot", "'te.am'"),
    ],
)
def test_invalid_kubernetes_names_are_refused(namespace: str, name: str, value: str) -> None:
    with raises(BadNameError, match=value):
        IdentityName.parse(namespace, name)
