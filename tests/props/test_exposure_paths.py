"""A path is published if it is built from valid names, and only then."""

from __future__ import annotations

import string

from hypothesis import assume, given
from hypothesis import strategies as st

from daypass.config.exposure import Exposure
from support.door_decision import publishes

EDGE = string.ascii_lowercase + string.digits
labels = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(EDGE),
    st.text(EDGE + "-", max_size=62),
    st.sampled_from(["", *EDGE]),
).filter(lambda text: len(text) <= 63 and text[-1] != "-")
subdomains = st.lists(labels, min_size=1, max_size=6).map(".".join).filter(lambda s: len(s) <= 253)
prefixes = st.from_regex(r"(/[a-z0-9.~+-]{1,8}){0,3}", fullmatch=True)


def is_label(text: str) -> bool:
    """RFC 1123, without a regular expression."""
    inside = set(text) <= set(EDGE + "-")
    return 0 < len(text) <= 63 and inside and text[0] != "-" and text[-1] != "-"


def is_subdomain(text: str) -> bool:
    """As Kubernetes does it: the length of a single part is not limited."""
    edges = [(part[:1], part[-1:]) for part in text.split(".")]
    inside = set(text) <= set(EDGE + "-.")
    return len(text) <= 253 and inside and all({*edge} <= set(EDGE) for edge in edges)


@given(prefixes, labels, subdomains)
def test_a_path_of_valid_names_is_published(prefix: str, namespace: str, account: str) -> None:
    exposure = Exposure(prefix=prefix, hosts=("h",))
    path = f"{prefix}/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    assert publishes(exposure, path)
    assert not publishes(exposure, path + "/")
    assert not publishes(exposure, path + "?")
    assert not publishes(exposure, "/" + path)


names = st.one_of(labels, subdomains, st.text(EDGE + "-.", max_size=8), st.text(max_size=4))


@given(names, names)
def test_a_path_is_published_only_if_both_names_are_valid(namespace: str, account: str) -> None:
    exposure = Exposure(prefix="/kubernetes", hosts=("h",))
    path = f"/kubernetes/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    # A name with a slash could be the rest of another published path.
    assume("/" not in namespace + account)
    assert publishes(exposure, path) == (is_label(namespace) and is_subdomain(account))


PUBLISHED = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"


@given(st.data())
def test_a_published_path_changed_in_one_place_is_valid_or_not_published(
    data: st.DataObject,
) -> None:
    place = data.draw(st.integers(0, len(PUBLISHED)))
    new = data.draw(st.text(max_size=3))
    path = PUBLISHED[:place] + new + PUBLISHED[place + data.draw(st.integers(0, 2)) :]
    match path.split("/"):
        case ["", "kubernetes", "api", "v1", "namespaces", ns, "serviceaccounts", sa, "token"]:
            expected = is_label(ns) and is_subdomain(sa)
        case _:
            expected = False
    assert publishes(Exposure(prefix="/kubernetes", hosts=("h",)), path) == expected
