"""The names of token Secrets and anchors: each says whose it is and which of both, and no more."""

from __future__ import annotations

import re
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from daypass._core.kubernetes.labels import ANCHOR_INFIX, SECRET_INFIX, SECRET_SUFFIX
from daypass._core.kubernetes.syntax import is_subdomain
from daypass.kube.resources import IDENTITY_SECRET_NAME

SUFFIX = "0123456789abcdefghij"
PIECES = ("a", ".", "-", "daypass", "anchor", SECRET_INFIX, ANCHOR_INFIX, SUFFIX, SUFFIX[1:])
accounts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
accounts = accounts.filter(is_subdomain)
suffixes = st.one_of(st.just(SUFFIX), st.from_regex(SECRET_SUFFIX, fullmatch=True))


class Parts(NamedTuple):
    account: str
    infix: str
    suffix: str

    @property
    def name(self) -> str:
        return f"{self.account}{self.infix}{self.suffix}"


parts = st.builds(Parts, accounts, st.sampled_from([SECRET_INFIX, ANCHOR_INFIX]), suffixes)


@given(parts)
def test_a_name_says_whose_it_is(made: Parts) -> None:
    found = IDENTITY_SECRET_NAME.fullmatch(made.name)
    assert found is not None
    assert found[1] == made.account


@given(parts, parts)
def test_no_name_is_a_token_secrets_and_an_anchors_or_of_two_accounts(
    one: Parts, other: Parts
) -> None:
    assert (one.name == other.name) == (one == other)
    for account in (one.account, other.account):
        forms = {
            infix: re.fullmatch(re.escape(account + infix) + SECRET_SUFFIX, one.name)
            for infix in (SECRET_INFIX, ANCHOR_INFIX)
        }
        matching = [infix for infix, found in forms.items() if found]
        assert matching == ([one.infix] if account == one.account else [])
