"""Kubernetes's names: the checks and the patterns agree."""

import re

import pytest

from daypass._core.k8s_names import LABEL, SUBDOMAIN, is_label, is_subdomain


def matches(name: str) -> tuple[bool, bool]:
    is_short = len(name) <= 253
    return bool(re.fullmatch(LABEL, name)), is_short and bool(re.fullmatch(SUBDOMAIN, name))


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63])
def test_a_dns_label_is_accepted(name: str) -> None:
    assert is_label(name)
    assert is_subdomain(name)
    assert matches(name) == (is_label(name), True)


@pytest.mark.parametrize("name", ["a.b", "a" * 64, "a" * 253, "1.2.3"])
def test_a_subdomain_need_not_be_a_label(name: str) -> None:
    assert not is_label(name)
    assert is_subdomain(name)
    assert matches(name) == (is_label(name), True)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a/b", "a b", "é", "a\n", ".", "..", "a..b", ".a", "a."]
)  # fmt: skip
def test_an_invalid_name_is_refused(name: str) -> None:
    assert not is_label(name)
    assert not is_subdomain(name)
    assert matches(name) == (False, False)


def test_a_subdomain_has_at_most_253_characters() -> None:
    assert is_subdomain("a" * 253)
    assert not is_subdomain("a" * 254)
