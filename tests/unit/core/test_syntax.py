"""Kubernetes's names: the checks and the patterns agree."""

import re

import pytest

from daypass._core.kubernetes.syntax import LABEL, SUBDOMAIN, is_label, is_subdomain


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        ((True, True), ["a", "a-b", "0", "a" * 63]),
        ((False, True), ["a.b", "a" * 64, "a" * 253, "1.2.3"]),
        ((False, False), ["", "-a", "a-", "A", "a_b", "a/b", "a b", "é", "a\n", ".", "..", "a..b",
                          ".a", "a.", "a" * 254]),
    ],
    ids=["labels", "subdomains", "neither"],
)  # fmt: skip
def test_a_name_is_a_label_a_subdomain_or_neither(
    expected: tuple[bool, bool], names: list[str]
) -> None:
    for name in names:
        assert (is_label(name), is_subdomain(name)) == expected, name
        is_short = len(name) <= 253
        by_pattern = bool(re.fullmatch(LABEL, name)), bool(re.fullmatch(SUBDOMAIN, name))
        assert (by_pattern[0], by_pattern[1] and is_short) == expected, name
