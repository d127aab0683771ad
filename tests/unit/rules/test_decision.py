"""The decision, step by step: every invalid request has its reason."""

from __future__ import annotations

import base64
import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.rules.claims import Bound
from daypass.rules.decision import (
    Decision,
    GateRequest,
    RefusedError,
    Rules,
    check_model,
    decide,
)
from daypass.rules.models import Access
from daypass.rules.patterns import HostPattern, Model, Place
from daypass.rules.published import CLUSTER_SHARDS, Denials, Published
from daypass.rules.reasons import CODES, MESSAGES, Reason
from support.publishing import pairs, shards_of
from support.tokens import encode
from unit.rules.existing_models import ISVC, LLM, names_in, rule

NOW = 1_800_000_000
ISSUER = "https://kubernetes.default.svc"
GATE = "gate.example.com"
SECRET = "6d1c3a54-5a4f-4a0e-9f5a-0c2b7d9e8f10"
ACCOUNT = "0b9f7e31-2c44-4d5e-8a66-7d8e9f0a1b2c"
POD = "5f0e7a7e-93c5-4f0b-8b8f-52a4bb0d7f01"


def hosts(*texts: str) -> tuple[HostPattern, ...]:
    return tuple(map(HostPattern.parse, texts))


def places(*texts: str) -> tuple[Place, ...]:
    return tuple(map(Place.parse, texts))


RULES = Rules(
    hosts=hosts("ekf.example.com", "127.0.0.1", "::1"),
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


def asked(*values: str, host: str = "ekf.example.com", path: str = "/") -> GateRequest:
    return GateRequest(host=host, path=path, authorizations=values)


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
    assert len(decision.found) == 15


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "kubernetes/serviceaccount"}, Reason.LONG_LIVED),
        ({"iss": "https://accounts.example.com"}, Reason.FOREIGN_ISSUER),
        ({"iss": None}, Reason.FOREIGN_ISSUER),
        ({"aud": None}, Reason.AUDIENCE),
        ({"aud": [GATE + "x"]}, Reason.AUDIENCE),
        ({"aud": [GATE.replace("a", "\u0430")]}, Reason.AUDIENCE),
        ({"aud": [GATE, ISSUER]}, Reason.SEVERAL_AUDIENCES),
        ({"exp": None}, Reason.NO_EXPIRY),
        ({"exp": True}, Reason.MALFORMED),
        ({"exp": 2**60}, Reason.LIVES_TOO_LONG),
        ({"exp": 2**64}, Reason.MALFORMED),
        ({"exp": NOW - 11}, Reason.EXPIRED),
        ({"nbf": NOW + 11}, Reason.NOT_YET_VALID),
        ({"exp": NOW + 3541}, Reason.LIVES_TOO_LONG),
        ({"iat": 0}, Reason.LIVES_TOO_LONG),
        ({"sub": "admin"}, Reason.SUBJECT),
        ({"sub": "system:serviceaccount:team:bot\n"}, Reason.SUBJECT),
        ({"sub": "system:serviceaccount:te\u0430m:bot"}, Reason.SUBJECT),
        ({"sub": "system:serviceaccount:other:bot"}, Reason.SUBJECT),
        ({"kubernetes.io": None}, Reason.SUBJECT),
        ({"kubernetes.io": {"namespace": "team"}}, Reason.UNBOUND),
        ({"kubernetes.io": {"namespace": "team", "secret": {"uid": ""}}}, Reason.UNBOUND),
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


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((), Reason.NO_TOKEN),
        (("Bearer {t}", "Bearer {t}"), Reason.UNREADABLE),
        (("Bearer  {t}",), Reason.UNREADABLE),
        (("Bearer {t} junk",), Reason.UNREADABLE),
        (("Basic eDp5, Bearer {t}",), Reason.UNREADABLE),
        (("{t}",), Reason.UNREADABLE),
        (("",), Reason.NO_TOKEN),
        (("Bearer a.b.sig",), Reason.MALFORMED),
        (("Bearer " + "a" * 20_000 + ".b.sig",), Reason.MALFORMED),
    ],
)
def test_the_authorization_header_has_one_accepted_form(
    values: tuple[str, ...], reason: Reason
) -> None:
    request = asked(*(value.format(t=token()) for value in values))
    assert decide(request, RULES, NOW, signed=True).reason is reason


@pytest.mark.parametrize("size", [64, 96, 132, 256, 384, 512])
def test_a_token_has_one_form_whatever_its_signature_leaves_unused(size: int) -> None:
    """Of each algorithm and size of key: ES256, ES384 and ES512, and RSA of 2048 to 4096 bits."""
    head, body, _ = token().split(".")
    canonical = encode(bytes([0xAB]) * size)
    same = [
        f"{canonical[:-1]}{last}"
        for last in f"{string.ascii_letters}{string.digits}-_"
        if base64.urlsafe_b64decode(f"{canonical[:-1]}{last}==")
        == base64.urlsafe_b64decode(f"{canonical}==")
    ]
    passing = [
        each
        for each in same
        if decide(asked(f"Bearer {head}.{body}.{each}"), RULES, NOW, signed=True).is_allowed
    ]
    assert (passing, len(same) in (1, 4, 16)) == ([canonical], True)


@pytest.mark.parametrize(
    "host",
    ["EKF.example.com", "ekf.example.com:443", "ekf.example.com:x", "127.0.0.1:80", "[::1]:1"],
)
def test_a_name_is_guarded_in_any_case_and_with_any_port(host: str) -> None:
    assert decide(asked(f"Bearer {token()}", host=host), RULES, NOW, signed=True).is_allowed


@pytest.mark.parametrize(
    "strict",
    [
        replace(RULES, audiences={"other": places("ekf.example.com")}),
        replace(RULES, authorize=(rule("ekf.example.com"),)),
        replace(RULES, hosts=(*RULES.hosts, *hosts("{name}.{namespace}.example.com"))),
        replace(RULES, hosts=(*RULES.hosts, *hosts("a.b.svc.cluster.local"))),
    ],
)
def test_where_more_than_names_count_a_host_has_one_form(strict: Rules) -> None:
    for host in ("EKF.example.com", "ekf.example.com:x", "ekf.example.com:", "[::1]:x"):
        decision = decide(asked(f"Bearer {token()}", host=host), strict, NOW, signed=True)
        assert decision.reason is Reason.NOT_GUARDED
    for host in ("ekf.example.com:443", "[::1]:1"):
        decision = decide(asked(f"Bearer {token()}", host=host), strict, NOW, signed=True)
        assert decision.is_allowed


@pytest.mark.parametrize(
    "host",
    [
        "",
        "ekf.example.com.",
        "xekf.example.com",
        "::1",
        "[::1",
    ],
)
def test_another_host_is_not_guarded(host: str) -> None:
    decision = decide(asked(f"Bearer {token()}", host=host), RULES, NOW, signed=True)
    assert decision.reason is Reason.NOT_GUARDED


def test_a_host_that_is_longer_than_any_name_is_not_guarded() -> None:
    rules = replace(RULES, hosts=hosts("{name}.{namespace}.example.com"))
    assert rules.guards(f"{'a' * 63}.{'b' * 63}.example.com:65535")
    assert not rules.guards(f"{'a' * 300}.b.example.com")


@pytest.mark.parametrize("host", ["", "ekf.example.com.", "x", "*", "[::1]:1"])
def test_the_wildcard_guards_every_host(host: str) -> None:
    rules = replace(RULES, hosts=hosts("*"))
    assert decide(asked(f"Bearer {token()}", host=host), rules, NOW, signed=True).is_allowed
    assert decide(asked(host=host), rules, NOW, signed=True).reason is Reason.NO_TOKEN


OPEN = Denials(closes_unix=NOW + 60)


def known(*uids: str, closes_unix: int = NOW + 60, denials: Denials = OPEN) -> Rules:
    """Rules with a set of these credentials of one account, and with denials."""
    shards = shards_of(pairs(uids, ACCOUNT), closes_unix)
    return replace(RULES, published=Published(shards=shards, denials=denials))


def test_a_token_passes_only_if_its_credential_exists() -> None:
    assert decided(token(), known(SECRET)).is_allowed
    assert decided(token(), known()).reason is Reason.UNKNOWN_CREDENTIAL
    assert decided(token(), known(ACCOUNT)).reason is Reason.UNKNOWN_CREDENTIAL
    assert decided(token(), known(SECRET, closes_unix=NOW)).reason is Reason.UNKNOWN
    closed = replace(RULES, published=Published.closed(CLUSTER_SHARDS))
    assert decided(token(), closed).reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    "account",
    [
        None,
        {},
        {"uid": SECRET},
        {"uid": ACCOUNT.upper()},
        {"uid": f"{SECRET}/{ACCOUNT}"},
        ACCOUNT,
    ],
)
def test_a_token_without_the_uid_of_its_account_is_made_with_nothing_known(account: Any) -> None:
    for secret in (SECRET, f"{SECRET}/{ACCOUNT}", f"{SECRET}/"):
        claim = {**BOUND, "secret": {"uid": secret}, "serviceaccount": account}
        sent = token(**{"kubernetes.io": claim})
        for rules in (known(SECRET), replace(RULES, published=None)):
            reason = decided(sent, rules).reason
            is_known = (secret, account) == (SECRET, {"uid": SECRET}) and rules.published is None
            assert reason is (Reason.ALLOWED if is_known else Reason.UNKNOWN_CREDENTIAL)


WITHOUT_SECRET = {name: value for name, value in BOUND.items() if name != "secret"}
OF_A_POD = {**WITHOUT_SECRET, "pod": {"name": "p", "uid": POD}, "node": {"name": "n", "uid": POD}}
OF_A_NODE = {**WITHOUT_SECRET, "node": {"name": "n", "uid": POD}}


def test_a_token_that_is_bound_to_no_secret_passes_if_its_account_exists() -> None:
    unbound = token(**{"kubernetes.io": WITHOUT_SECRET})
    for rules, reason in (
        (known(ACCOUNT), Reason.ALLOWED),
        (known(SECRET), Reason.UNKNOWN_CREDENTIAL),
    ):
        assert decided(unbound, replace(rules, bound=frozenset(Bound))).reason is reason
    # A Secret without a readable UID is not the account's.
    odd = token(**{"kubernetes.io": {**WITHOUT_SECRET, "secret": {"name": "x"}}})
    assert decided(odd, replace(known(ACCOUNT), bound=frozenset(Bound))).reason is Reason.UNBOUND


@pytest.mark.parametrize(
    ("claim", "bound"),
    [
        (BOUND, Bound.SECRET),
        (OF_A_POD, Bound.POD),
        ({**WITHOUT_SECRET, "pod": None}, Bound.POD),
        (WITHOUT_SECRET, Bound.NONE),
        (OF_A_NODE, None),
        ({**WITHOUT_SECRET, "node": None}, None),
        ({**WITHOUT_SECRET, "secret": None}, None),
    ],
)
def test_a_token_passes_only_if_it_is_bound_to_what_the_gate_accepts(
    claim: dict[str, Any], bound: Bound | None
) -> None:
    for accepted in Bound:
        rules = replace(known(SECRET, ACCOUNT), bound=frozenset({accepted}))
        reason = Reason.ALLOWED if accepted is bound else Reason.UNBOUND
        assert decided(token(**{"kubernetes.io": claim}), rules).reason is reason
    every = replace(known(SECRET, ACCOUNT), bound=frozenset(Bound))
    assert decided(token(**{"kubernetes.io": claim}), every).is_allowed is (bound is not None)


OPENINGS = replace(
    RULES,
    hosts=hosts("ekf.example.com", "{name}.{namespace}.example.com"),
    audiences={
        "alice": places(
            *(f"{{name}}.alice.example.com{path}" for path in ("/v1/", "/v2/")),
            "ekf.example.com/serving/alice/",
        ),
        "paths": places("ekf.example.com/serving/alice/", "{name}.bob.example.com/serving/alice/"),
        "hosts": places("ekf.example.com"),
    },
)


@pytest.mark.parametrize(
    ("audience", "host", "path", "reason"),
    [
        (GATE, "iris.bob.example.com", "/x", Reason.ALLOWED),
        ("alice", "iris.alice.example.com", "/v1/models/iris:predict", Reason.ALLOWED),
        ("alice", "iris.alice.example.com", "/V1/", Reason.AUDIENCE_OPENING),
        ("alice", "iris.bob.example.com", "/v1/", Reason.AUDIENCE_OPENING),
        ("alice", "ekf.example.com", "/serving/alice/iris/", Reason.ALLOWED),
        ("alice", "iris.alice.example.com", "/serving/alice/iris/", Reason.AUDIENCE_OPENING),
        ("alice", "x.iris.alice.example.com", "/v1/", Reason.NOT_GUARDED),
        ("paths", "iris.bob.example.com", "/serving/alice", Reason.ALLOWED),
        ("paths", "ekf.example.com", "/serving/alice2/iris/", Reason.AUDIENCE_OPENING),
        ("paths", "ekf.example.com", "/serving/alice/../bob/", Reason.AMBIGUOUS),
        ("hosts", "ekf.example.com", "/anything", Reason.ALLOWED),
        ("other", "ekf.example.com", "/", Reason.AUDIENCE),
    ],
)
def test_an_audience_opens_its_hosts_and_paths_and_no_others(
    audience: str, host: str, path: str, reason: Reason
) -> None:
    for claim in (audience, [audience], [audience, audience]):
        request = asked(f"Bearer {token(aud=claim)}", host=host, path=path)
        assert decide(request, OPENINGS, NOW, signed=True).reason is reason


@pytest.mark.parametrize("rules", [OPENINGS, replace(RULES, authorize=(rule("x.example.com"),))])
def test_where_paths_matter_ambiguous_ones_and_headers_for_models_are_refused(rules: Rules) -> None:
    for path in ("//", "/a/../b", "/%2e%2e/", "/a;b", "/a%2Fb", "", "/#"):
        assert decide(asked(path=path), rules, NOW).reason is Reason.AMBIGUOUS
        assert decide(asked(path=path), RULES, NOW).reason is Reason.NO_TOKEN
    request = replace(asked(), model_header=True)
    assert decide(request, rules, NOW).reason is Reason.AMBIGUOUS
    assert decide(request, RULES, NOW).reason is Reason.NO_TOKEN


MODELS = replace(
    RULES,
    hosts=hosts("{name}-{namespace}.example.com", "api.example.com", "free.example.com"),
    authorize=(
        rule("{name}-{namespace}.example.com"),
        rule("api.example.com", "/serving/{namespace}/{name}/"),
        rule("api.example.com", "/llm/{namespace}/{name}/", LLM, "use"),
    ),
)
EXISTING = {
    Model(ISVC, "c", "a-b"),
    Model(ISVC, "alice", "iris"),
    Model(ISVC, "alice", "secret"),
    Model(LLM, "alice", "llama"),
    Model(LLM, "alice", "iris"),
}


def judged(
    host: str, path: str = "/", *more: Model, denied: frozenset[Model] = frozenset()
) -> Reason:
    """The reason, if the caller may use all models but these and alice/secret."""
    refused = denied | {Model(ISVC, "alice", "secret")}
    return decide(
        asked(f"Bearer {token()}", host=host, path=path),
        MODELS,
        NOW,
        signed=True,
        names_in=names_in({*EXISTING, *more}),
        may=lambda _, access: access.model not in refused,
    ).reason


@pytest.mark.parametrize(
    ("host", "path", "reason"),
    [
        ("prev-iris-predictor-alice.example.com", "/v1", Reason.ALLOWED),
        ("secret-alice.example.com", "/v1", Reason.MODEL),
        ("none-alice.example.com", "/v1", Reason.MODEL),
        ("a-b-c.example.com", "/v1", Reason.ALLOWED),
        ("api.example.com", "/serving/alice/iris/", Reason.ALLOWED),
        ("api.example.com", "/serving/alice/secret", Reason.MODEL),
        ("api.example.com", "/serving/alice/none/", Reason.MODEL),
        ("api.example.com", "/llm/alice/llama/v1", Reason.ALLOWED),
        ("api.example.com", "/serving/", Reason.MODEL),
        ("api.example.com", "/Serving/alice/iris/", Reason.MODEL),
        ("api.example.com", "/other/alice/secret/", Reason.ALLOWED),
        ("free.example.com", "/v1", Reason.ALLOWED),
    ],
)
def test_a_request_needs_access_to_the_model_that_it_means(
    host: str, path: str, reason: Reason
) -> None:
    assert judged(host, path) is reason


def test_where_every_host_is_guarded_other_spellings_of_a_model_host_have_no_model() -> None:
    rules = replace(MODELS, hosts=hosts("*"))
    for host in ("IRIS-alice.example.com", "iris-alice.example.com.", "iris-alice.example.com:x",
                 "iris-alice.example.com..:1:2", "API.example.com"):  # fmt: skip
        request = asked(f"Bearer {token()}", host=host, path="/serving/alice/iris/")
        decision = decide(
            request, rules, NOW, signed=True, names_in=names_in(EXISTING), may=lambda *_: True
        )
        assert decision.reason is Reason.MODEL


def test_an_unknown_answer_is_unknown_and_a_refusal_takes_precedence() -> None:
    answers = {"yes": True, "no": False}

    def reason(*names: str) -> Reason:
        try:
            check_model(
                [Access("get", Model("r", "n", name)) for name in names],
                lambda access: answers.get(access.model.name),
            )
        except RefusedError as refused:
            return refused.reason
        return Reason.ALLOWED

    assert reason("yes") is Reason.ALLOWED
    assert reason() is Reason.MODEL
    assert reason("yes", "no") is Reason.MODEL
    assert reason("yes", "unknown") is Reason.UNKNOWN
    assert reason("unknown", "no") is Reason.MODEL


def test_without_a_signature_or_a_review_no_token_is_allowed() -> None:
    assert decide(asked(f"Bearer {token()}"), RULES, NOW).reason is Reason.UNKNOWN
    assert decided(token(), signed=False).reason is Reason.SIGNATURE


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
