"""The authorizer with all that it has cached decides as the pure decision does without a cache.

In any order of requests to several gates, by several users and audiences, while models come and go
and rights change.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from daypass._core.jwt import decode_unverified
from daypass.rules.claims import Bound
from daypass.rules.decision import Allow, GateRequest, TokenReview, decide
from daypass.rules.models import Access
from daypass.rules.patterns import Model, Place
from daypass.rules.reasons import Reason
from support.tokens import AUDIENCE, USER
from unit.gate.reviewing import AskedAuthorizer, rules
from unit.rules.existing_models import ISVC, LLM, names_in, rule

DOTTED, DASHED = "{name}.{namespace}.example.com", "{name}-{namespace}.raw.example.com"
SHARED, OTHER = "serving.example.com", "system:serviceaccount:team:other"
ALICE = "alice.example.com"


GATES = {
    "plain": rules(SHARED),
    "models": rules(
        DOTTED, DASHED, SHARED,
        authorize=(
            rule(DOTTED), rule(DASHED, verb="update"),
            rule(SHARED, "/serving/{namespace}/{name}/"), rule(SHARED, "/{namespace}/{name}/", LLM),
        ),
        bound=frozenset(Bound),
    ),
    "openings": rules(
        DOTTED, SHARED,
        audiences={
            ALICE: (Place.parse(f"{SHARED}/serving/a/"), Place.parse("{name}.b.example.com/a/")),
        },
        authorize=(rule(DOTTED),),
        allow=Allow(identities=frozenset({"team/bot"})),
    ),
}  # fmt: skip
NAMES = ["a", "b", "a-b", "b-a"]
MODELS = [Model(kind, each, name) for kind in (ISVC, LLM) for each in NAMES[:3] for name in NAMES]

HOSTS = (
    SHARED, "a.b.example.com", "a-predictor.b.example.com", "a-b-a.raw.example.com",
    "A.b.example.com",
)  # fmt: skip
PATHS = ("/", "/serving/a/b", "/serving/b/a/v1?x", "/a/b/v1", "/serving/a", "/serving/a/../b")

models = st.sets(st.sampled_from(MODELS), min_size=4)
rounds = st.tuples(
    st.just("ask"), st.sampled_from(sorted(GATES)), st.sampled_from([USER, OTHER]),
    st.sampled_from([AUDIENCE, ALICE]), st.permutations(HOSTS), st.permutations(PATHS),
)  # fmt: skip
"""A caller asks a gate for each path of each host, with and without a header for a model."""
changes = st.tuples(st.just("have"), models)
rights = st.tuples(st.just("may"), models, st.sampled_from([USER, OTHER]))
kinds = {0: changes, 1: rights}
steps = st.lists(
    st.integers(0, 9).flatmap(lambda kind: kinds.get(kind, rounds)), min_size=8, max_size=20
)


@settings(max_examples=10, deadline=None)
@given(steps=steps)
def test_what_is_cached_changes_no_decision(steps: list[tuple[object, ...]]) -> None:
    tried = AskedAuthorizer(GATES)
    tried.says = _believe
    exist = set(MODELS)
    allowed = {USER: set(MODELS), OTHER: set(MODELS[::2])}
    tried.may = lambda user, access: access.model in allowed[user]
    tried.have(*exist)
    tokens = {
        (user, audience): tried.token(sub=user, aud=[audience], jti=f"{user}-{audience}")
        for user in allowed
        for audience in (AUDIENCE, ALICE)
    }
    for step in steps:
        match step:
            case ("have", set() as models):
                exist = models
                tried.have(*models)
            case ("may", set() as models, str() as user):
                allowed[user] = models
                tried.clock.advance(60)  # what is allowed may be cached for so long
            case ("ask", str() as gate, str() as user, str() as audience,
                  list() as hosts, list() as paths):  # fmt: skip
                token = tokens[user, audience]
                may = allowed[user]

                def is_allowed(_: object, access: Access, may: set[Model] = may) -> bool:
                    return access.model in may

                for host, path, model_header in product(hosts, paths, (False, True)):
                    request = GateRequest(
                        host=host, path=path, authorizations=(f"Bearer {token}",),
                        model_header=model_header,
                    )  # fmt: skip
                    expected = decide(
                        request, GATES[gate], tried.clock.unix(), token_review=_believe(token),
                        names_in=names_in(exist), may=is_allowed,
                    )  # fmt: skip
                    asked = {"gate": gate, "host": host, "path": path, "model_header": model_header}
                    answer = tried.ask(f"Bearer {token}", **asked)
                    assert answer.reason is expected.reason, asked
                    assert (answer.reason is Reason.ALLOWED) is (answer.user == user)


def _believe(token: str) -> TokenReview:
    claims = decode_unverified(token)[1]
    audiences = tuple(claims["aud"])
    return replace(TokenReview(authenticated=True), user=claims["sub"], audiences=audiences)
