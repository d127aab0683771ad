"""The decision cache: bounded, without expired and revoked entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daypass._core.reasons import Reason
from daypass.gate.authorizer.decision_cache import (
    ENTRY_BYTES,
    CachedDecision,
    DecisionCache,
    RefusalCache,
)
from daypass.gate.authorizer.responses import AuthzResponse

ALLOWED = AuthzResponse(Reason.ALLOWED, 200, ())


def entry(until: float = 10.0, **names: str) -> CachedDecision:
    return CachedDecision(ALLOWED, fresh_until=until, until=until, **names)


def test_a_full_cache_drops_the_oldest_entry() -> None:
    cache = DecisionCache(limit_entries=3)
    for name in "abcd":
        cache.put(name.encode(), entry(secret="s"))
    assert list(cache.entries) == [b"b", b"c", b"d"]
    assert cache.size_bytes == 3 * ENTRY_BYTES


def test_the_size_in_bytes_is_bounded() -> None:
    cache = DecisionCache(limit_bytes=10 * ENTRY_BYTES)
    for number in range(100):
        cache.put(b"%d" % number, entry(jti="j" * 200))
    assert cache.size_bytes <= 10 * ENTRY_BYTES
    assert 0 < len(cache) < 10


def test_a_revocation_drops_only_entries_bound_to_the_name() -> None:
    cache = DecisionCache()
    cache.put(b"secret", entry(secret="1", account="9"))
    cache.put(b"account", entry(secret="2", account="1"))
    cache.put(b"token", entry(secret="3", account="9", jti="j"))
    cache.put(b"namespace", entry(secret="4", account="9", namespace="n"))
    cache.put(b"other", entry(secret="5", account="9", jti="1", namespace="1"))
    assert len(cache.remove_revoked({"1"}, frozenset({"j"}), frozenset({"n"}))) == 4
    assert list(cache.entries) == [b"other"]
    cache.remove(b"other")
    assert (cache.size_bytes, cache._named) == (0, {})


def test_expired_entries_are_removed() -> None:
    cache = DecisionCache()
    cache.put(b"old", entry(until=1.0))
    cache.put(b"new", entry(until=2.0))
    cache.sweep(1.0)
    assert list(cache.entries) == [b"new"]


def test_refusals_are_bounded_and_expire() -> None:
    refusals = RefusalCache(limit_entries=100)
    for number in range(1000):
        refusals.put(b"%d" % number, 5.0, ALLOWED)
    assert len(refusals) == 100
    assert refusals.get(b"999", 4.9) is ALLOWED
    assert refusals.get(b"999", 5.0) is None


@given(
    puts=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from("abd"))),
    revoked=st.sets(st.sampled_from("abcd")),
)
def test_after_a_revocation_no_entry_of_it_is_left(
    puts: list[tuple[int, str, str]], revoked: set[str]
) -> None:
    cache = DecisionCache(limit_entries=6)
    for number, secret, account in puts:
        cache.put(b"%d" % number, entry(secret=secret, account=account))
    cache.remove_revoked(revoked, frozenset(), frozenset())
    left = cache.entries.values()
    assert not any({each.secret, each.account} & revoked for each in left)
    assert cache.size_bytes == sum(each.size_bytes for each in left)
    assert set(cache._named) == {name for each in left for name in (each.secret, each.account)}
