"""The published set: its shards, its ConfigMaps, and any other content in them."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.publication import (
    UnreadableShardError,
    denials_config_map,
    read_object,
    read_published_denials,
    read_room,
    read_shard,
    shard_config_map,
)
from daypass.rules.published import (
    CLUSTER_SHARDS,
    LIMIT_DENIALS,
    LOCAL_SHARDS,
    Denial,
    Denials,
    DeniedKind,
    Presence,
    Published,
    Shard,
    credential_of,
    is_credential,
    read_denials,
    shard_name,
    shard_of,
    split_credentials,
)
from support.publishing import denied_by_hand, published

NOW = 1_800_000_000
uids = st.uuids().map(str)
credentials = st.builds(credential_of, uids, uids)
times = st.integers(0, 2**33)
names = st.frozensets(st.text("abcdef0123456789-", min_size=1, max_size=40), max_size=5)
counts = st.sampled_from([CLUSTER_SHARDS, LOCAL_SHARDS])
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@given(found=st.frozensets(credentials, max_size=50), shards=counts)
def test_each_credential_is_in_the_part_of_its_first_uid_and_in_no_other(
    found: frozenset[str], shards: int
) -> None:
    split = split_credentials(found, shards)
    assert len(split) == shards
    assert sum(map(len, split)) == len(found)
    for each in found:
        assert each in split[shard_of(each, shards)]


@given(found=st.frozensets(credentials, max_size=20), other=credentials, shards=counts)
def test_a_credential_exists_if_it_is_in_the_set_and_its_part_is_open(
    found: frozenset[str], other: str, shards: int
) -> None:
    known = published(found, closes_unix=NOW + 1, shards=shards)
    assert all(known.find(each, NOW) is Presence.EXISTS for each in found)
    assert all(known.find(each, NOW + 1) is Presence.CLOSED for each in found)
    assert (known.find(other, NOW) is Presence.EXISTS) == (other in found)
    assert Published.closed(shards).find(other, NOW) is Presence.CLOSED


@given(found=st.frozensets(credentials, max_size=5), shards=counts)
def test_of_two_credentials_no_other_pair_of_uids_exists(
    found: frozenset[str], shards: int
) -> None:
    known = published(found, shards=shards)
    every = {uid for each in found for uid in each.split("/")}
    for pair in itertools.starmap(credential_of, itertools.product(every, every)):
        assert (known.find(pair, NOW) is Presence.EXISTS) == (pair in found)


@given(
    text=st.text(max_size=60) | uids.map(str.upper) | uids.map(lambda uid: f"{uid}\n")
    | credentials,
    uid=uids,
)  # fmt: skip
def test_what_is_no_pair_of_uids_is_never_in_the_set(text: str, uid: str) -> None:
    known = Published.closed(CLUSTER_SHARDS)
    if any(character.isupper() for character in text) or len(text) != 36:
        for each in (credential_of(text, uid), credential_of(uid, text), credential_of(text, text)):
            assert known.find(each, NOW) is Presence.ABSENT
            with pytest.raises(ValueError, match="UID"):
                split_credentials([each], CLUSTER_SHARDS)
    assert known.find("", NOW) is Presence.ABSENT


@given(found=st.frozensets(credentials, max_size=20), closes=times)
def test_published_parts_are_read_back(found: frozenset[str], closes: int) -> None:
    for number, each in enumerate(split_credentials(found, CLUSTER_SHARDS)):
        shard = Shard(credentials=each, closes_unix=closes)
        document = shard_config_map(number, shard, "daypass", room=2000)
        assert read_shard(document, CLUSTER_SHARDS) == (number, shard)
        assert read_room(document) == 2000


@given(tokens=names, objects=names, namespaces=names, closes=times)
def test_published_denials_are_read_back(
    tokens: frozenset[str], objects: frozenset[str], namespaces: frozenset[str], closes: int
) -> None:
    denials = denied_by_hand(closes, tokens=tokens, objects=objects, namespaces=namespaces)
    assert read_published_denials(denials_config_map(denials, "daypass")) == denials


@given(document=junk, number=st.integers(0, CLUSTER_SHARDS - 1))
def test_any_other_content_is_unreadable(document: Any, number: int) -> None:
    whole = {"metadata": {"name": shard_name(number)}, "data": document}
    for read in (lambda: read_shard(whole, CLUSTER_SHARDS), lambda: read_published_denials(whole)):
        with pytest.raises(UnreadableShardError):
            read()


@pytest.mark.parametrize("name", ["daypass-gate-credentials-64", "daypass-gate-credentials", ""])
def test_a_config_map_of_another_name_is_no_part(name: str) -> None:
    document = shard_config_map(0, Shard(closes_unix=NOW), "daypass", room=1)
    assert read_object(document, Published.closed(2)).shards[0].closes_unix == NOW
    document["metadata"]["name"] = name
    with pytest.raises(UnreadableShardError):
        read_object(document, Published.closed(2))


@given(other=credentials, text=st.text(max_size=80) | uids)
def test_a_shard_with_other_than_pairs_of_uids_is_unreadable(other: str, text: str) -> None:
    document = shard_config_map(0, Shard(), "daypass", room=1)
    for odd in (text, f"{text}/", f"/{text}", f"{other[:36]}/{text}", f"00{other[2:]}/{text}"):
        document["data"]["entries"] = f"00{other[2:]}\n{odd}"
        with suppress(UnreadableShardError):
            found = read_shard(document, CLUSTER_SHARDS)[1].credentials
            assert all(map(is_credential, found))


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
        for number in range(LIMIT_DENIALS + 1)
    ]
    assert Denials.of([old, *many[:LIMIT_DENIALS]], NOW, NOW + 5).closes_unix == NOW + 5
    assert len(Denials.of([old, *many[:LIMIT_DENIALS]], NOW, NOW + 5)) == LIMIT_DENIALS
    assert Denials.of(many, NOW, NOW + 5).is_closed(NOW)
