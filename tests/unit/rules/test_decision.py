"""The decision, step by step: every invalid request has its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.rules.credentials import CLUSTER_PARTS
from daypass.rules.decision import Decision, GateRequest, Review, Rules, decide
from daypass.rules.denials import Denials
from daypass.rules.published import Published
from daypass.rules.reasons import CODES, MESSAGES, Reason
from support.publishing import denied_by_hand, parts_of
from support.tokens import encode

NOW = 1_800_000_000
ISSUER = "https://kubernetes.default.svc"
GATE = "gate.example.com"
SECRET = "6d1c3a54-5a4f-4a0e-9f5a-0c2b7d9e8f10"
ACCOUNT = "0b9f7e31-2c44-4d5e-8a66-7d8e9f0a1b2c"
RULES = Rules(
    hosts=frozenset({"ekf.example.com", "127.0.0.1", "::1"}),
    issuer=ISSUER,
    audience=GATE,
    longest_lifetime_seconds=3600,
)
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": [GATE],
    "sub": "system:serviceaccount:team:bot",
    "iat": NOW - 60,
    "nbf": NOW - 60,
    "exp": NOW + 3540,
    "jti": "j-1",
    "kubernetes.io": {
        "namespace": "team",
        "serviceaccount": {"name": "bot", "uid": ACCOUNT},
        "secret": {"name": "bot-daypass-x", "uid": SECRET},
    },
}
BOUND = CLAIMS["kubernetes.io"]
USER = CLAIMS["sub"]


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    parts = ({"alg": "RS256", **(header or {})}, claims)
    return ".".join([*(encode(json.dumps(part).encode()) for part in parts), "c2ln"])


def asked(*values: str, host: str = "ekf.example.com") -> GateRequest:
    return GateRequest(host=host, authorizations=values)


def decided(value: str, rules: Rules = RULES, **known: Any) -> Decision:
    return decide(asked(f"Bearer {value}"), rules, NOW, **(known or {"signed": True}))


def test_a_valid_token_is_allowed_with_its_identity() -> None:
    decision = decided(token())
    assert decision.reason is Reason.ALLOWED
    assert decision.identity is not None
    assert decision.identity.user == USER
    assert decision.identity.groups == (
        "system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated",
    )  # fmt: skip
    assert len(decision.found) == 11


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "kubernetes/serviceaccount"}, Reason.LONG_LIVED),
        ({"iss": "https://accounts.example.com"}, Reason.FOREIGN_ISSUER),
        ({"iss": None}, Reason.FOREIGN_ISSUER),
        ({"iss": [ISSUER]}, Reason.MALFORMED),
        ({"aud": None}, Reason.AUDIENCE),
        ({"aud": []}, Reason.AUDIENCE),
        ({"aud": {GATE: 1}}, Reason.MALFORMED),
        ({"aud": [GATE + "x"]}, Reason.AUDIENCE),
        ({"aud": GATE.upper()}, Reason.AUDIENCE),
        ({"aud": [GATE.replace("a", "\u0430")]}, Reason.AUDIENCE),
        ({"aud": [GATE, *(f"a{number}" for number in range(500))]}, Reason.SEVERAL_AUDIENCES),
        ({"aud": [GATE, ISSUER]}, Reason.SEVERAL_AUDIENCES),
        ({"aud": [GATE, None]}, Reason.MALFORMED),
        ({"exp": None}, Reason.NO_EXPIRY),
        ({"exp": 0}, Reason.NO_EXPIRY),
        ({"exp": str(NOW + 60)}, Reason.MALFORMED),
        ({"exp": NOW - 10.5}, Reason.EXPIRED),
        ({"exp": True}, Reason.MALFORMED),
        ({"exp": 2**60}, Reason.LIVES_TOO_LONG),
        ({"exp": 2**64}, Reason.MALFORMED),
        ({"exp": NOW - 11}, Reason.EXPIRED),
        ({"exp": 1.5e9}, Reason.EXPIRED),
        ({"nbf": NOW + 11}, Reason.NOT_YET_VALID),
        ({"nbf": "soon"}, Reason.MALFORMED),
        ({"exp": NOW + 3541}, Reason.LIVES_TOO_LONG),
        ({"iat": -1}, Reason.MALFORMED),
        ({"iat": 0}, Reason.LIVES_TOO_LONG),
        ({"sub": "admin"}, Reason.SUBJECT),
        ({"sub": None}, Reason.SUBJECT),
        ({"sub": "system:serviceaccount:team:bot\n"}, Reason.SUBJECT),
        ({"sub": "system:serviceaccount:te\u0430m:bot"}, Reason.SUBJECT),
        ({"sub": "system:serviceaccount:other:bot"}, Reason.SUBJECT),
        ({"kubernetes.io": None}, Reason.SUBJECT),
        ({"kubernetes.io": {"namespace": "team"}}, Reason.UNBOUND),
        ({"kubernetes.io": {"namespace": "team", "secret": {"uid": ""}}}, Reason.UNBOUND),
        ({"kubernetes.io": {"namespace": "team", "secret": "secret-1"}}, Reason.UNBOUND),
    ],
)
def test_each_invalid_claim_has_its_reason(changes: dict[str, Any], reason: Reason) -> None:
    decision = decided(token(**changes))
    assert (decision.reason, decision.identity) == (reason, None)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"exp": NOW - 10}, "skew"),
        ({"nbf": NOW + 10}, "skew"),
        ({"exp": NOW + 3540}, "lifetime"),
        ({"exp": NOW + 3539.9, "iat": NOW - 60.9}, "a fraction of a second"),
    ],
)
def test_limits_are_inclusive(changes: dict[str, Any], limit: str) -> None:
    assert decided(token(**changes)).is_allowed, limit


@pytest.mark.parametrize("algorithm", ["none", "HS256", "None", "RS256 ", "PS256", ""])
def test_only_algorithms_of_api_servers_are_accepted(algorithm: object) -> None:
    assert decided(token({"alg": algorithm})).reason is Reason.ALGORITHM


@pytest.mark.parametrize("algorithm", [None, 1, ["RS256"], {"RS256": 1}])
def test_an_algorithm_that_is_not_a_string_makes_a_token_malformed(algorithm: object) -> None:
    assert decided(token({"alg": algorithm})).reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((), Reason.NO_TOKEN),
        (("Bearer {t}", "Bearer {t}"), Reason.UNREADABLE),
        (("bearer {t}",), Reason.UNREADABLE),
        (("Bearer  {t}",), Reason.UNREADABLE),
        (("Bearer\t{t}",), Reason.UNREADABLE),
        (("Bearer {t} junk",), Reason.UNREADABLE),
        (("Bearer {t}\n",), Reason.UNREADABLE),
        (("Basic eDp5, Bearer {t}",), Reason.UNREADABLE),
        (("{t}",), Reason.UNREADABLE),
        (("",), Reason.NO_TOKEN),
        (("Bearer opaque",), Reason.UNREADABLE),
        (("Bearer a.b.c",), Reason.MALFORMED),
        (("Bearer " + "a" * 20_000 + ".b.c",), Reason.MALFORMED),
    ],
)
def test_the_authorization_header_has_one_accepted_form(
    values: tuple[str, ...], reason: Reason
) -> None:
    request = asked(*(value.format(t=token()) for value in values))
    assert decide(request, RULES, NOW, signed=True).reason is reason


@pytest.mark.parametrize(
    "host", ["EKF.example.com", "ekf.example.com:443", "127.0.0.1:80", "[::1]:1"]
)
def test_a_host_is_guarded_in_any_case_and_with_any_port(host: str) -> None:
    assert decide(asked(f"Bearer {token()}", host=host), RULES, NOW, signed=True).is_allowed


@pytest.mark.parametrize("host", ["", "ekf.example.com.", "xekf.example.com", "::1", "ekf"])
def test_another_host_is_not_guarded(host: str) -> None:
    decision = decide(asked(f"Bearer {token()}", host=host), RULES, NOW, signed=True)
    assert decision.reason is Reason.NOT_GUARDED


@pytest.mark.parametrize("host", ["", "ekf.example.com.", "x", "*", "[::1]:1"])
def test_the_wildcard_guards_every_host(host: str) -> None:
    rules = replace(RULES, hosts=frozenset({"*"}))
    assert decide(asked(f"Bearer {token()}", host=host), rules, NOW, signed=True).is_allowed
    assert decide(asked(host=host), rules, NOW, signed=True).reason is Reason.NO_TOKEN


OPEN = Denials(closes_unix=NOW + 60)


def known(*uids: str, closes_unix: int = NOW + 60, denials: Denials = OPEN) -> Rules:
    """Rules with a set of these credentials, and with denials."""
    return replace(RULES, published=Published(parts=parts_of(uids, closes_unix), denials=denials))


@pytest.mark.parametrize(
    "denials",
    [
        denied_by_hand(OPEN.closes_unix, tokens={"j-1"}),
        denied_by_hand(OPEN.closes_unix, objects={SECRET}),
        denied_by_hand(OPEN.closes_unix, objects={ACCOUNT}),
        denied_by_hand(OPEN.closes_unix, namespaces={"team"}),
    ],
)
def test_a_denied_token_object_or_namespace_is_refused(denials: Denials) -> None:
    assert decided(token(), known(SECRET)).is_allowed
    assert decided(token(), known(SECRET, denials=denials)).reason is Reason.DENIED


def test_a_token_passes_only_if_its_credential_exists() -> None:
    assert decided(token(), known(SECRET)).is_allowed
    assert decided(token(), known()).reason is Reason.UNKNOWN_CREDENTIAL
    assert decided(token(), known(ACCOUNT)).reason is Reason.UNKNOWN_CREDENTIAL
    assert decided(token(), known(SECRET, closes_unix=NOW)).reason is Reason.UNKNOWN
    closed = replace(RULES, published=Published.closed(CLUSTER_PARTS))
    assert decided(token(), closed).reason is Reason.UNKNOWN


def test_a_token_that_is_bound_to_no_secret_passes_if_its_account_exists() -> None:
    unbound = {**BOUND}
    del unbound["secret"]
    for rules, reason in (
        (known(ACCOUNT), Reason.ALLOWED),
        (known(SECRET), Reason.UNKNOWN_CREDENTIAL),
    ):
        decision = decided(token(**{"kubernetes.io": unbound}), replace(rules, require_bound=False))
        assert decision.reason is reason
    # A Secret without a readable UID is not the account's.
    odd = token(**{"kubernetes.io": {**unbound, "secret": {"name": "x"}}})
    rules = replace(known(ACCOUNT), require_bound=False)
    assert decided(odd, rules).reason is Reason.UNKNOWN_CREDENTIAL


def test_without_a_signature_or_a_review_no_token_is_allowed() -> None:
    assert decide(asked(f"Bearer {token()}"), RULES, NOW).reason is Reason.UNKNOWN
    assert decided(token(), signed=False).reason is Reason.SIGNATURE


@pytest.mark.parametrize(
    ("review", "reason"),
    [
        (Review(authenticated=True, user=USER, audiences=(GATE,)), Reason.ALLOWED),
        (Review(authenticated=False), Reason.REVIEW_REFUSED),
        (Review(authenticated=False, user=USER, audiences=(GATE,)), Reason.REVIEW_REFUSED),
        (Review(authenticated=True, user="system:anonymous", audiences=(GATE,)),
         Reason.REVIEW_REFUSED),
        (Review(authenticated=True, user=USER), Reason.REVIEW_AUDIENCE),
        (Review(authenticated=True, user=USER, audiences=(ISSUER,)), Reason.REVIEW_AUDIENCE),
    ],
)  # fmt: skip
def test_a_token_review_must_match_audience_and_subject(review: Review, reason: Reason) -> None:
    assert decided(token(), review=review).reason is reason
    assert decided(token(), signed=False, review=review).reason is Reason.SIGNATURE


def test_a_refusal_contains_nothing_of_the_token() -> None:
    for changes in ({"sub": "admin"}, {"aud": ["x"]}, {"exp": 1}):
        shown = repr(decided(token(**changes)))
        assert token(**changes) not in shown


def test_every_reason_has_a_message_and_only_one_allows() -> None:
    assert set(MESSAGES) == set(Reason)
    assert [reason for reason in Reason if CODES.get(reason, 401) < 400] == [Reason.ALLOWED]


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(GATE)
anything = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars)


@given(name=st.sampled_from(sorted(CLAIMS)), value=anything)
def test_whatever_the_claims_only_the_subject_is_admitted(name: str, value: Any) -> None:
    decision = decided(token(**{name: value}))
    if decision.is_allowed:
        assert decision.identity is not None
        assert decision.identity.user == USER
        if name == "aud":  # a string, or a list with one value, which may be repeated
            value = [value] if isinstance(value, str) else sorted(set(value))
        assert name in ("jti", "iat", "nbf", "exp") or value == CLAIMS[name]
