"""The decision cache: bounded, without expired and refused entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.authorizer.decision_cache import (
    ENTRY_BYTES,
    CachedDecision,
    DecisionCache,
    RefusalCache,
)
from daypass.gate.authorizer.responses import AuthzResponse
from daypass.rules.reasons import Reason

ALLOWED = AuthzResponse(Reason.ALLOWED, 200, ())


def entry(until: float = 10.0, **names: str) -> CachedDecision:
    names = {"secret": "", "account": "", "jti": "", "namespace": "", **names}
    return CachedDecision(response=ALLOWED, fresh_until=until, until=until, **names)


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


def test_what_is_refused_is_removed_and_returned() -> None:
    cache = DecisionCache()
    for name in "abc":
        cache.put(name.encode(), entry(secret=name, jti="j" * 10))
    removed = cache.remove_all(lambda each: each.secret in {"a", "c", "d"})
    assert [each.secret for each in removed] == ["a", "c"]
    assert list(cache.entries) == [b"b"]
    cache.remove(b"b")
    assert (cache.size_bytes, set(cache.credentials)) == (0, set())


def test_the_credential_of_a_token_is_its_secret_or_else_its_account() -> None:
    cache = DecisionCache()
    cache.put(b"bound", entry(secret="s", account="a"))
    assert set(cache.credentials) == {"s"}
    cache.put(b"unbound", entry(account="a"))
    assert set(cache.credentials) == {"s", "a"}


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
    puts=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"))),
    refused=st.sets(st.sampled_from("abcd")),
)
def test_credentials_and_size_are_those_of_the_entries(
    puts: list[tuple[int, str]], refused: set[str]
) -> None:
    cache = DecisionCache(limit_entries=6)
    for number, secret in puts:
        cache.put(b"%d" % number, entry(secret=secret))
    cache.remove_all(lambda each: each.secret in refused)
    left = cache.entries.values()
    assert not {each.secret for each in left} & refused
    assert cache.size_bytes == sum(each.size_bytes for each in left)
    assert set(cache.credentials) == {each.secret for each in left}
