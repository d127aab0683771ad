"""The caches of decisions: bounded, without expired and refused entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daypass.config import IstioGate
from daypass.gate.authorizer.decision_cache import (
    CachedDecision,
    CachedResponse,
    DecisionCache,
)
from daypass.gate.authorizer.served_gate import AuthzResponse, ServedGate
from daypass.rules.published import credential_of
from daypass.rules.reasons import Reason
from support.publishing import published
from support.tokens import ACCOUNT_UID
from unit.gate.reviewing import rules

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
