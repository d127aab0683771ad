"""The revocation list: which deleted objects are on it, and for how long."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from daypass.gate.revocation.revocation_list import (
    COMPACT_SECONDS,
    COMPACT_SOON_SECONDS,
    GRAIN_SECONDS,
    RECENT_LIMIT,
    Denial,
    ObjectKind,
    RevocationList,
)
from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.decision import SKEW_SECONDS
from daypass.render.envoy.filters import RevocationSnapshot

NOW = 1_800_000_000.0
LONGEST = 3600


def denials(limit: int = 100) -> RevocationList:
    return RevocationList(LONGEST, limit=limit)


def restored(record: dict[str, object], limit: int = 100) -> RevocationList:
    """The list of a process that starts from a record, and has seen no object."""
    list_ = denials(limit)
    list_.merge(record, 0, lambda kind, namespace: False)
    return list_


def deleted(uid: str) -> RevocationList:
    """A list after the deletion of one Secret."""
    list_ = denials()
    list_.gone(ObjectKind.SECRET, uid, "team", NOW)
    return list_


OVER = LONGEST + 2 * SKEW_SECONDS + GRAIN_SECONDS + COMPACT_SECONDS


def revoked(list_: RevocationList, after_seconds: float = 0) -> RevocationSnapshot:
    list_.compact(NOW + after_seconds, is_in_force=True)
    found = list_.revoked(NOW + after_seconds, closed=False)
    return replace(found, issued_after_unix=0, stable=frozenset(), compacting=frozenset())


def test_existing_objects_are_not_on_the_list() -> None:
    list_ = denials()
    list_.listed(ObjectKind.SECRET, {"s-1": "team"}, NOW)
    list_.present(ObjectKind.SERVICE_ACCOUNT, "a-1", "team")
    assert revoked(list_) == RevocationSnapshot(secrets=set(), service_accounts=set(), tokens=set())


@pytest.mark.parametrize("kind", ObjectKind)
def test_a_deleted_object_is_listed_until_its_last_token_expires(kind: ObjectKind) -> None:
    list_ = denials()
    list_.present(kind, "u-1", "team")
    list_.gone(kind, "u-1", "team", NOW)
    for seconds in (0, LONGEST + SKEW_SECONDS - 1):
        found = revoked(list_, seconds)
        assert "u-1" in found.secrets | found.service_accounts
    found = revoked(list_, OVER)
    assert not found.secrets | found.service_accounts
    assert list_.record()["gone"] == {}


def test_a_repeated_deletion_counts_from_the_first_event() -> None:
    list_ = deleted("s-1")
    list_.gone(ObjectKind.SECRET, "s-1", "team", NOW + 1000)
    assert not revoked(list_, OVER).secrets


def test_a_list_of_secrets_does_not_affect_service_accounts() -> None:
    list_ = denials()
    list_.present(ObjectKind.SERVICE_ACCOUNT, "a-1", "team")
    list_.listed(ObjectKind.SECRET, {}, NOW)
    assert not revoked(list_).service_accounts


def test_a_longer_lifetime_applies_to_listed_entries_too() -> None:
    list_ = deleted("s-1")
    list_.longest_lifetime_seconds = 2 * LONGEST
    assert revoked(list_, 2 * LONGEST).secrets == {"s-1"}


def test_manual_denials_expire_at_their_time() -> None:
    list_ = denials()
    list_.manual_denials = (
        Denial(is_token=True, name="j-1", until_unix=NOW + 10),
        Denial(is_token=False, name="u-1", until_unix=NOW + 20),
    )
    assert revoked(list_).tokens == {"j-1"}
    assert (revoked(list_, 10).tokens, revoked(list_, 10).secrets) == (set(), {"u-1"})
    assert revoked(list_, 10).service_accounts == {"u-1"}
    assert not revoked(list_, 20).secrets


def test_too_many_deletions_close_the_namespace_that_had_most_of_them() -> None:
    list_ = denials(limit=10)
    list_.gone(ObjectKind.SECRET, "other", "quiet", NOW)
    for number in range(10):
        list_.gone(ObjectKind.SECRET, f"s-{number}", "noisy", NOW + number)
    found = revoked(list_, 9)
    assert (found.namespaces, found.secrets) == ({"noisy"}, {"other"})
    list_.gone(ObjectKind.SECRET, "one more", "noisy", NOW + 100)
    assert revoked(list_, LONGEST + SKEW_SECONDS + 99).namespaces == {"noisy"}
    assert not revoked(list_, OVER + 100).namespaces


def test_ten_thousand_deletions_are_all_refused() -> None:
    list_ = RevocationList(LONGEST)
    uids = {f"s-{number}" for number in range(10_000)}
    list_.listed(ObjectKind.SECRET, dict.fromkeys(uids, "team"), NOW)
    list_.listed(ObjectKind.SECRET, {}, NOW)
    assert revoked(list_) == RevocationSnapshot(secrets=uids, service_accounts=set(), tokens=set())


def parts(list_: RevocationList) -> tuple[set[str], set[str]]:
    """The entries of the recent part, and those of the other parts."""
    found = list_.revoked(NOW, closed=False)
    uids = found.secrets | found.service_accounts
    return set(uids - found.stable), set(found.stable | found.compacting)


def test_an_entry_is_recent_then_compacting_and_then_stable() -> None:
    list_ = denials()
    list_.compact(NOW, is_in_force=False)
    list_.gone(ObjectKind.SECRET, "s-1", "team", NOW)
    assert parts(list_) == ({"s-1"}, set())
    list_.compact(NOW + COMPACT_SECONDS - 1, is_in_force=True)
    assert parts(list_) == ({"s-1"}, set())
    list_.compact(NOW + COMPACT_SECONDS, is_in_force=True)
    assert parts(list_) == ({"s-1"}, {"s-1"})
    list_.gone(ObjectKind.SERVICE_ACCOUNT, "a-1", "team", NOW)
    list_.compact(NOW + 2 * COMPACT_SECONDS, is_in_force=True)
    assert parts(list_) == ({"a-1"}, {"s-1", "a-1"})


def test_no_entry_leaves_the_recent_part_before_its_copy_is_in_force() -> None:
    list_ = deleted("s-1")
    for number in range(3):
        list_.compact(NOW + number * COMPACT_SECONDS, is_in_force=False)
        assert parts(list_) == ({"s-1"}, {"s-1"})


def test_a_successor_continues_from_the_record() -> None:
    list_ = denials()
    for number in range(3):
        list_.gone(ObjectKind.SECRET, f"s-{number}", "team", NOW)
        list_.compact(NOW + number * COMPACT_SECONDS, is_in_force=True)
    list_.gone(ObjectKind.SECRET, "s-3", "team", NOW)
    record = json.loads(json.dumps(list_.record()))
    successor = denials()
    for number in range(4):  # it has seen the same deletions
        successor.gone(ObjectKind.SECRET, f"s-{number}", "team", NOW)
    successor.gone(ObjectKind.SECRET, "s-4", "team", NOW)
    successor.merge(record, NOW + 2 * COMPACT_SECONDS, lambda kind, namespace: True)
    assert parts(list_) == ({"s-2", "s-3"}, {"s-0", "s-1", "s-2"})
    assert parts(successor) == ({"s-2", "s-3", "s-4"}, {"s-0", "s-1", "s-2"})
    successor.compact(NOW + 3 * COMPACT_SECONDS - 1, is_in_force=True)
    assert parts(successor) == ({"s-2", "s-3", "s-4"}, {"s-0", "s-1", "s-2"})


@pytest.mark.parametrize("count", [3, RECENT_LIMIT + 1])
def test_entries_of_an_older_version_stay_in_their_part_at_first(count: int) -> None:
    older = RevocationList(LONGEST)
    uids = {f"s-{number}" for number in range(count)}
    older.listed(ObjectKind.SECRET, dict.fromkeys(uids, "team"), NOW)
    older.listed(ObjectKind.SECRET, {}, NOW)
    record = {k: v for k, v in older.record().items() if k not in ("fresh", "settledAt")}
    list_ = RevocationList(LONGEST)
    list_.merge(record, NOW, lambda kind, namespace: True)
    assert parts(list_) == (uids if count == 3 else set(), uids)
    list_.compact(NOW + COMPACT_SECONDS - 1, is_in_force=True)
    assert parts(list_) == (uids if count == 3 else set(), uids)


def test_too_many_recent_entries_are_compacted_at_once() -> None:
    list_ = RevocationList(LONGEST, recent_limit=10)
    list_.compact(NOW, is_in_force=False)
    for number in range(15):
        list_.gone(ObjectKind.SECRET, f"s-{number}", "team", NOW)
    first, others = parts(list_)
    assert (len(first), len(others)) == (10, 5)
    assert not first & others
    for number in (1, 2):
        list_.compact(NOW + number * COMPACT_SOON_SECONDS, is_in_force=True)
    list_.gone(ObjectKind.SECRET, "s-15", "team", NOW)
    assert parts(list_) == ({"s-15"}, {f"s-{number}" for number in range(15)})


def test_an_entry_that_is_also_denied_manually_stays_in_its_parts() -> None:
    list_ = deleted("s-1")
    for number in range(3):
        list_.compact(NOW + number * COMPACT_SECONDS, is_in_force=True)
    assert parts(list_) == (set(), {"s-1"})
    list_.manual_denials = (Denial(is_token=False, name="s-1", until_unix=NOW + 10),)
    assert parts(list_) == ({"s-1"}, {"s-1"})


@pytest.mark.parametrize(
    "record",
    [{}, {"format": 2}, {"format": 1}, {"format": 1, "known": {"secret": 5}},
     {"format": 1, "known": {"secret": {}, "serviceAccount": {}}, "gone": {"u": ["x", "n", 1]},
      "namespaces": {}},
     {"format": 1, "known": {"secret": {}, "serviceAccount": {}}, "gone": {}, "namespaces": {},
      "fresh": {}}],
)  # fmt: skip
def test_a_damaged_record_is_rejected(record: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        restored(record)


@given(st.floats(0, 10 * LONGEST))
def test_an_entry_is_removed_only_once_its_tokens_are_refused_by_age(later: float) -> None:
    """Even if the API server's clock is ahead by the allowed skew."""
    list_ = deleted("s-1")
    list_.compact(NOW + later, is_in_force=True)
    found = list_.revoked(NOW + later, closed=False)
    last_issued = NOW + SKEW_SECONDS
    assert "s-1" in found.secrets or last_issued < found.issued_after_unix
    # No token is refused for an age that it may have.
    assert found.issued_after_unix <= NOW + later - LONGEST - SKEW_SECONDS


uids = st.integers(0, 8).map(lambda n: f"s-{n}")
steps = st.one_of(
    st.tuples(st.just("made"), uids),
    st.tuples(st.just("deleted"), uids),
    st.tuples(st.sampled_from(["watched", "relist", "restart"]), st.just("")),
    st.tuples(st.just("later"), st.integers(1, LONGEST).map(str)),
)


@given(st.lists(steps, max_size=40), st.integers(2, 100))
def test_no_deleted_object_leaves_the_list_before_its_tokens_expire(
    events: list[tuple[str, str]], limit: int
) -> None:
    """Through broken watches, relists and restarts, the list is right after the next relist.

    The model: the objects that were seen, and when each was deleted.
    """
    list_, now = denials(limit), NOW
    there: set[str] = set()
    seen: set[str] = set()
    used: set[str] = set()
    deleted_at: dict[str, float] = {}
    watching = True
    for event, argument in events:
        if event == "made" and argument not in used:
            used.add(argument)
            there.add(argument)
            if watching:
                seen.add(argument)
                list_.present(ObjectKind.SECRET, argument, "team")
        elif event == "deleted" and argument in there:
            there.remove(argument)
            deleted_at[argument] = now
            if watching:
                list_.gone(ObjectKind.SECRET, argument, "team", now)
        elif event == "watched":
            watching = False
        elif event == "restart":
            watching = False
            kept = json.loads(json.dumps(list_.record()))
            list_ = restored(kept, limit)
        elif event == "relist":
            watching = True
            seen |= there
            list_.listed(ObjectKind.SECRET, dict.fromkeys(there, "team"), now)
        elif event == "later":
            now += int(argument)
    if not watching:
        seen |= there
        list_.listed(ObjectKind.SECRET, dict.fromkeys(there, "team"), now)
    list_.compact(now, is_in_force=True)
    found = list_.revoked(now, closed=False)
    must_be_listed = {uid for uid in seen - there if now < deleted_at[uid] + LONGEST + SKEW_SECONDS}
    assert must_be_listed <= found.secrets or "team" in found.namespaces
    assert not there & found.secrets
    assert len(found.secrets) <= limit
