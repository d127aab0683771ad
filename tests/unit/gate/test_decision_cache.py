"""The caches of decisions: bounded, without expired and refused entries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.config import IstioGate
from daypass.gate.authorizer.decision_cache import (
    CachedDecision,
    CachedResponse,
    DecisionCache,
)
from daypass.gate.authorizer.served_gate import AuthzResponse, ServedGate
from daypass.rules.published import CLOSED_SHARD, credential_of, shard_of
from daypass.rules.reasons import Reason
from support.publishing import published
from support.reviewing import rules
from support.tokens import ACCOUNT_UID

ALLOWED = AuthzResponse(Reason.ALLOWED, 200, ())
GATE = ServedGate("a", IstioGate(audience="a", check="review"), rules(), is_verified=True)
UIDS = {name: f"{name * 8}-0000-4000-8000-000000000001" for name in "abcd"}
CREDENTIALS = {name: credential_of(uid, ACCOUNT_UID) for name, uid in UIDS.items()}


def entry(until: float = 10.0, *, secret: str = "", jti: str = "") -> CachedDecision:
    """Of a token that is bound to this Secret, or to a Pod."""
    return CachedDecision(
        gate=GATE, response=ALLOWED, fresh_until=until, until=until, audience="a",
        credential=CREDENTIALS.get(secret, ""), bound=UIDS.get(secret, "pod"), account=ACCOUNT_UID,
        jti=jti, namespace="team",
    )  # fmt: skip


def test_a_full_cache_drops_the_oldest_entry() -> None:
    cache = DecisionCache(limit_entries=3)
    for name in "abcd":
        cache.put(name.encode(), entry(secret="a"))
    assert list(cache.entries) == [b"b", b"c", b"d"]


@pytest.fixture
def cache() -> DecisionCache:
    """Tokens that are bound to the Secrets a, b and c, and one that is bound to a Pod."""
    made = DecisionCache()
    for name in (*"abc", "pod"):
        made.put(name.encode(), entry(secret=name, jti=f"j-{name}"))
    return made


def test_what_no_longer_exists_or_is_denied_is_removed_with_the_reason(
    cache: DecisionCache,
) -> None:
    before = published(UIDS.values())
    after = published([UIDS["b"], UIDS["c"]], tokens=["j-b"])
    removed = [(each.jti, reason) for each, reason in cache.remove_refused(before, after)]
    assert removed == [("j-a", Reason.UNKNOWN_CREDENTIAL), ("j-b", Reason.DENIED)]
    assert list(cache.entries) == [b"c", b"pod"]
    assert list(cache.remove_refused(after, after)) == []
    (left,) = cache.remove_refused(after, published([UIDS["c"]], objects=["pod"]))
    assert left[1] is Reason.DENIED
    cache.remove(b"c")
    assert len(cache) == 0


def test_what_is_closed_is_removed(cache: DecisionCache) -> None:
    number = shard_of(UIDS["a"], 64)
    whole = published(UIDS.values(), closes_unix=10, shards=64)
    removed = cache.remove_closed(whole.with_shard(number, CLOSED_SHARD), 9)
    assert [each.jti for each in removed] == ["j-a"]
    removed = cache.remove_closed(replace(whole, shards=(CLOSED_SHARD,) * 64), 9)
    assert [each.jti for each in removed] == ["j-b", "j-c"], "a Pod's is of no shard"
    removed = cache.remove_closed(whole, 10)
    assert [each.jti for each in removed] == ["j-pod"]


def test_expired_entries_are_removed() -> None:
    cache = DecisionCache()
    cache.put(b"old", entry(until=1.0))
    cache.put(b"new", entry(until=2.0))
    cache.sweep(1.0)
    assert list(cache.entries) == [b"new"]


def response(until: float) -> CachedResponse:
    return CachedResponse(response=ALLOWED, fresh_until=until, until=until)


@given(
    puts=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcd"))),
    kept=st.sets(st.sampled_from("abcd")),
)
def test_the_entries_stay_those_of_what_is_left(
    puts: list[tuple[int, str]], kept: set[str]
) -> None:
    cache = DecisionCache(limit_entries=6)
    for number, secret in puts:
        cache.put(b"%d" % number, entry(secret=secret, jti="j" * number))
    left = [CREDENTIALS[name] for name in kept]
    assert len(cache) == min(6, len({number for number, _ in puts}))
    assert {
        each.credential
        for each, _ in cache.remove_refused(published(UIDS.values()), published(left))
    } <= {*CREDENTIALS.values()} - {*left}
    assert {each.credential for each in cache.entries.values()} <= {*left}
