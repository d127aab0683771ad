"""The decision cache: bounded, without expired and revoked entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daypass._core.reasons import Reason
from daypass.gate.authorizer.decision_cache import (
    ENTRY_BYTES,
    AuthzResponse,
    CachedDecision,
    DecisionCache,
    RefusalCache,
)

ANSWER = AuthzResponse(Reason.ALLOWED, 200, ())


def entry(until: float = 10.0, **names: str) -> CachedDecision:
    return CachedDecision(ANSWER, fresh_until=until, until=until, **names)


def test_a_full_cache_drops_the_oldest_entry() -> None:
    memory = DecisionCache(limit_entries=3)
    for name in "abcd":
        memory.put(name.encode(), entry(secret="s"))
    assert list(memory.entries) == [b"b", b"c", b"d"]
    assert memory.size_bytes == 3 * ENTRY_BYTES


def test_the_size_in_bytes_is_bounded() -> None:
    memory = DecisionCache(limit_bytes=10 * ENTRY_BYTES)
    for number in range(100):
        memory.put(b"%d" % number, entry(jti="j" * 200))
    assert memory.size_bytes <= 10 * ENTRY_BYTES
    assert 0 < len(memory) < 10


def test_a_revocation_drops_only_entries_bound_to_the_name() -> None:
    memory = DecisionCache()
    memory.put(b"secret", entry(secret="1", account="9"))
    memory.put(b"account", entry(secret="2", account="1"))
    memory.put(b"token", entry(secret="3", account="9", jti="j"))
    memory.put(b"namespace", entry(secret="4", account="9", namespace="n"))
    memory.put(b"other", entry(secret="5", account="9", jti="1", namespace="1"))
    assert len(memory.forget_named({"1"}, frozenset({"j"}), frozenset({"n"}))) == 4
    assert list(memory.entries) == [b"other"]
    memory.forget(b"other")
    assert (memory.size_bytes, memory._named) == (0, {})


def test_expired_entries_are_removed() -> None:
    memory = DecisionCache()
    memory.put(b"old", entry(until=1.0))
    memory.put(b"new", entry(until=2.0))
    memory.sweep(1.0)
    assert list(memory.entries) == [b"new"]


def test_refusals_are_bounded_and_expire() -> None:
    refusals = RefusalCache(limit_entries=100)
    for number in range(1000):
        refusals.put(b"%d" % number, 5.0, ANSWER)
    assert len(refusals) == 100
    assert refusals.get(b"999", 4.9) is ANSWER
    assert refusals.get(b"999", 5.0) is None


@given(
    puts=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from("abd"))),
    revoked=st.sets(st.sampled_from("abcd")),
)
def test_after_a_revocation_no_entry_of_it_is_left(
    puts: list[tuple[int, str, str]], revoked: set[str]
) -> None:
    memory = DecisionCache(limit_entries=6)
    for number, secret, account in puts:
        memory.put(b"%d" % number, entry(secret=secret, account=account))
    memory.forget_named(revoked, frozenset(), frozenset())
    left = memory.entries.values()
    assert not any({each.secret, each.account} & revoked for each in left)
    assert memory.size_bytes == sum(each.size_bytes for each in left)
    assert set(memory._named) == {name for each in left for name in (each.secret, each.account)}
