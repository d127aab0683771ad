"""The published set: its parts, its ConfigMaps, and any other content in them."""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.kube.published_objects import (
    LIMIT_BYTES,
    UnreadablePartError,
    denials_config_map,
    part_config_map,
    read_object,
    read_part,
    read_published_denials,
    read_room,
)
from daypass.rules.credentials import (
    CLUSTER_PARTS,
    LOCAL_PARTS,
    Credential,
    CredentialPart,
    Presence,
    part_of,
    split_credentials,
)
from daypass.rules.denials import LIMIT, Denial, Denials, DeniedKind, read_denials
from daypass.rules.published import Published, part_name
from support.publishing import denied_by_hand, pairs, published

NOW = 1_800_000_000
uids = st.uuids().map(str)
credentials = st.builds(Credential, uids, uids)
times = st.integers(0, 2**33)
names = st.frozensets(st.text("abcdef0123456789-", min_size=1, max_size=40), max_size=5)
counts = st.sampled_from([CLUSTER_PARTS, LOCAL_PARTS])
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@given(found=st.frozensets(credentials, max_size=50), parts=counts)
def test_each_credential_is_in_the_part_of_its_first_uid_and_in_no_other(
    found: frozenset[Credential], parts: int
) -> None:
    split = split_credentials(found, parts)
    assert len(split) == parts
    assert sum(map(len, split)) == len(found)
    for each in found:
        assert each in split[part_of(each.uid, parts)]


@pytest.mark.parametrize("parts", [CLUSTER_PARTS, LOCAL_PARTS])
def test_the_parts_are_ranges_of_the_same_size(parts: int) -> None:
    numbers = [part_of(f"{number:02x}", parts) for number in range(256)]
    assert numbers == sorted(numbers)
    assert set(Counter(numbers).values()) == {256 // parts}


@given(found=st.frozensets(credentials, max_size=20), other=credentials, parts=counts)
def test_a_credential_exists_if_it_is_in_the_set_and_its_part_is_open(
    found: frozenset[Credential], other: Credential, parts: int
) -> None:
    known = published(found, closes_unix=NOW + 1, parts=parts)
    assert all(known.find(each, NOW) is Presence.EXISTS for each in found)
    assert all(known.find(each, NOW + 1) is Presence.CLOSED for each in found)
    assert (known.find(other, NOW) is Presence.EXISTS) == (other in found)
    assert Published.closed(parts).find(other, NOW) is Presence.CLOSED


@given(found=st.frozensets(credentials, max_size=5), parts=counts)
def test_of_two_credentials_no_other_pair_of_uids_exists(
    found: frozenset[Credential], parts: int
) -> None:
    known = published(found, parts=parts)
    every = {uid for each in found for uid in each}
    for pair in map(Credential._make, itertools.product(every, every)):
        assert (known.find(pair, NOW) is Presence.EXISTS) == (pair in found)


@given(
    text=st.text(max_size=60) | uids.map(str.upper) | uids.map(lambda uid: f"{uid}\n")
    | credentials.map(lambda each: each.key),
    uid=uids,
)  # fmt: skip
def test_what_is_no_pair_of_uids_is_never_in_the_set(text: str, uid: str) -> None:
    known = Published.closed(CLUSTER_PARTS)
    if any(character.isupper() for character in text) or len(text) != 36:
        for each in (Credential(text, uid), Credential(uid, text), Credential(text, text)):
            assert known.find(each, NOW) is Presence.UNKNOWN
            with pytest.raises(ValueError, match="UID"):
                split_credentials([each], CLUSTER_PARTS)
    assert known.find(None, NOW) is Presence.UNKNOWN


@given(first=st.text(max_size=80) | uids, second=st.text(max_size=80) | uids, other=credentials)
def test_only_its_own_uids_have_the_key_of_a_credential(
    first: str, second: str, other: Credential
) -> None:
    for odd in (Credential(first, second), Credential(other.key, ""), Credential("", other.key)):
        assert (odd.key == other.key) == (odd == other)


@given(found=st.frozensets(credentials, max_size=20), closes=times)
def test_published_parts_are_read_back(found: frozenset[Credential], closes: int) -> None:
    for number, each in enumerate(split_credentials(found, CLUSTER_PARTS)):
        part = CredentialPart(credentials=each, closes_unix=closes)
        document = part_config_map(number, part, "daypass", room=2000)
        assert read_part(document, CLUSTER_PARTS) == (number, part)
        assert read_room(document) == 2000


@given(tokens=names, objects=names, namespaces=names, closes=times)
def test_published_denials_are_read_back(
    tokens: frozenset[str], objects: frozenset[str], namespaces: frozenset[str], closes: int
) -> None:
    denials = denied_by_hand(closes, tokens=tokens, objects=objects, namespaces=namespaces)
    assert read_published_denials(denials_config_map(denials, "daypass")) == denials


def test_the_same_part_gives_the_same_bytes() -> None:
    made = sorted(it for it in pairs(str(uuid.uuid4()) for _ in range(500)) if it.uid < "04")
    one, other = (
        json.dumps(part_config_map(0, CredentialPart(credentials=set(order)), "daypass", room=1))
        for order in (made, reversed(made))
    )
    assert one == other


def test_the_parts_of_20_000_credentials_are_small() -> None:
    found = pairs(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number}")) for number in range(20_000))
    for number, each in enumerate(split_credentials(found, CLUSTER_PARTS)):
        document = part_config_map(number, CredentialPart(credentials=each), "daypass", room=2000)
        assert len(json.dumps(document)) < 100_000


@given(document=junk, number=st.integers(0, CLUSTER_PARTS - 1))
def test_any_other_content_is_unreadable(document: Any, number: int) -> None:
    whole = {"metadata": {"name": part_name(number)}, "data": document}
    for read in (lambda: read_part(whole, CLUSTER_PARTS), lambda: read_published_denials(whole)):
        with pytest.raises(UnreadablePartError):
            read()


@given(key=st.sampled_from(["closesAt", "entries", "accounts"]), value=st.text(max_size=60))
def test_a_part_with_an_odd_field_is_unreadable_or_has_uids_of_its_range(
    key: str, value: str
) -> None:
    document = part_config_map(7, CredentialPart(), "daypass", room=1)
    document["data"][key] = value
    with suppress(UnreadablePartError):
        number, part = read_part(document, CLUSTER_PARTS)
        assert number == 7
        assert all(part_of(each.uid, CLUSTER_PARTS) == 7 for each in part.credentials)


@given(
    of_one=st.lists(credentials, min_size=1, max_size=4, unique=True),
    change=st.sampled_from(["", "{0}", "{0}\n{0}", "\n{0}", "{0}/{0}"]), uid=uids,
)  # fmt: skip
def test_a_part_that_has_not_one_account_for_each_uid_is_unreadable(
    of_one: list[Credential], change: str, uid: str
) -> None:
    part = CredentialPart(credentials={it._replace(uid=f"00{it.uid[2:]}") for it in of_one})
    document = part_config_map(0, part, "daypass", room=1)
    document["data"]["accounts"] = change.format(uid)
    lines = document["data"]["accounts"].split()
    with suppress(UnreadablePartError):
        found = read_part(document, CLUSTER_PARTS)[1].credentials
        assert len(found) == len(lines) == len(of_one)
        assert all(each.account_uid == uid for each in found)
    del document["data"]["accounts"]
    with pytest.raises(UnreadablePartError):
        read_part(document, CLUSTER_PARTS)


@pytest.mark.parametrize("name", ["daypass-gate-credentials-64", "daypass-gate-credentials", ""])
def test_a_config_map_of_another_name_is_no_part(name: str) -> None:
    document = part_config_map(0, CredentialPart(closes_unix=NOW), "daypass", room=1)
    assert read_object(document, Published.closed(2)).parts[0].closes_unix == NOW
    document["metadata"]["name"] = name
    with pytest.raises(UnreadablePartError):
        read_object(document, Published.closed(2))


def test_a_part_of_another_range_is_unreadable() -> None:
    other = pairs([f"ff{str(uuid.uuid4())[2:]}"])
    document = part_config_map(0, CredentialPart(credentials=other), "daypass", room=1)
    with pytest.raises(UnreadablePartError):
        read_part(document, CLUSTER_PARTS)


def test_a_huge_part_is_unreadable() -> None:
    document = part_config_map(0, CredentialPart(), "daypass", room=1)
    document["data"]["entries"] = "\n" * (LIMIT_BYTES + 1)
    with pytest.raises(UnreadablePartError):
        read_part(document, CLUSTER_PARTS)


@given(
    kind=st.sampled_from(DeniedKind),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True),
    until=times,
)
def test_a_denial_is_read_back_from_its_entry(kind: DeniedKind, name: str, until: int) -> None:
    denial = Denial(kind=kind, name=name, until_unix=until)
    assert list(read_denials({denial.key: denial.until})) == [denial]


@given(data=st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=4))
def test_odd_entries_deny_no_less_than_they_say(data: dict[str, str]) -> None:
    for denial in read_denials(data):
        assert f"{denial.kind}.{denial.name}" in data


def test_an_unreadable_time_never_expires() -> None:
    (denial,) = read_denials({"jti.x": "soon"})
    assert Denials.of([denial], NOW, NOW + 1).keys == {"jti.x"}


def test_expired_denials_are_left_out_and_too_many_close_the_gate() -> None:
    old = Denial(kind=DeniedKind.TOKEN, name="old", until_unix=NOW)
    many = [
        Denial(kind=DeniedKind.OBJECT, name=f"{number}", until_unix=NOW + 9)
        for number in range(LIMIT + 1)
    ]
    assert Denials.of([old, *many[:LIMIT]], NOW, NOW + 5).closes_unix == NOW + 5
    assert len(Denials.of([old, *many[:LIMIT]], NOW, NOW + 5)) == LIMIT
    assert Denials.of(many, NOW, NOW + 5).is_closed(NOW)
