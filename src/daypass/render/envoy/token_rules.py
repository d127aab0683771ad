"""The rules of tokens (`daypass.rules`), compiled for Envoy: on one machine and in Istio.

Filters, in this order:

1. `jwt_authn` verifies signature, issuer, audience and times. It refuses nothing: its result, the
   claims or a status, is metadata.
2. The claims are copied to filter state, and looked up in what is published (`published`).
3. The decision is a matcher over all that. One case accepts a token, and requires everything at
   once; after it come the reasons for a refusal. It refuses nothing either, and leaves a mark.
4. A request without the mark of an accepted token is read to its end, and refused.

With `check: review`, the authorizer is asked after that, so only about accepted tokens.

The tables of audiences and of callers are look-ups in hash maps, so their cost does not depend on
their size. The key of an audience is the claim as Envoy prints it: the text of a string, the JSON
of a list. So a list with one audience has a key, and no longer list has one. A text that looks like
such a list has that key, too, but is none of the audiences that the JWT filter accepts.
"""

import json
from collections.abc import Iterable, Iterator
from functools import partial

from daypass.render.envoy.door_routes import header_match
from daypass.render.envoy.listener import draining_filters
from daypass.render.envoy.published import (
    CREDENTIALS_MARK,
    DENIALS_MARK,
    claims_filters,
    has_credential,
    has_marks,
    is_bound,
)
from daypass.render.envoy.replies import denial, has_details, policy_of, refusal_reply, refuse
from daypass.render.envoy.xds import (
    AN_EXACT_TIME,
    AUDIENCE_STATE,
    JWT_AUTHENTICATION,
    NAMESPACE_STATE,
    PAYLOAD,
    RBAC,
    USER_STATE,
    Json,
    action,
    all_of,
    among,
    any_of,
    exactly,
    extension,
    first_of,
    has_claim,
    has_header,
    has_mark,
    has_state,
    is_marked,
    is_not,
    is_or_has,
    like,
    lookup,
    marking,
    other_than,
    protobuf_any,
)
from daypass.rules.claims import BEARER_JWT, LONG_LIVED_ISSUER, SERVICE_ACCOUNT_USER, SKEW_SECONDS
from daypass.rules.decision import Allow, Rules
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.patterns import PLAIN_PATH_REGEX, HostPattern, Place
from daypass.rules.reasons import Reason

_NOBODY = {
    "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "nobody",
    "x": "ervQaI2Y-7vUvT4RJpEZ3YBCEHCmfAL7dowBIJK4Df0",
    "y": "ZtzefLvzOw2TUFyLDRTdOUoR0PvA5LhNLsB2XdIecj8",
}  # fmt: skip
NO_KEYS = json.dumps({"keys": [_NOBODY]})
"""The key set before there are keys: every token is refused. Envoy rejects an empty set, so it has
one key whose private half nobody knows: `x` is the SHA-256 of "daypass: nobody's key 0"."""

_FAILED = "failed"
"""Metadata key: why a token is no valid short-lived token of the cluster (`message`)."""
_FAILED_WITHOUT_KEYS = "failed-without-keys"
_LASTING = "lasting"
"""Metadata key: the claims of a token that is valid except for its lifetime."""
_LONG = "long"
"""Metadata key: the claims of a long-lived token."""
_FAILED_LONG = "failed-long"

_STATUSES = {
    "Jwt is expired": Reason.EXPIRED,
    "Jwt not yet valid": Reason.NOT_YET_VALID,
    "Audiences in Jwt are not allowed": Reason.AUDIENCE,
    "Jwt verification fails": Reason.SIGNATURE,
    "Jwks doesn't have key to match kid or alg from Jwt": Reason.SIGNATURE,
    "Jwks doesn't have any valid public key": Reason.UNKNOWN,
}
"""The JWT filter's messages for a token whose issuer it knows (jwt_verify_lib's status.cc)."""
_STATUSES_OF_OTHERS = {
    "Jwt issuer is not configured": Reason.FOREIGN_ISSUER,
    "Jwt header [alg] is not supported": Reason.ALGORITHM,
}
"""Its messages for all others; without one of these, a token is malformed."""

DECISION = "daypass"
"""The mark of the decision: it lets pass what has an accepted token."""
OTHERS_POLICY = "daypass-others"
_ACCEPTED, _OTHERS = action("daypass-accepted", "ALLOW"), action(OTHERS_POLICY, "DENY")
"""Its results, next to the reasons for a refusal. `_OTHERS`: what a shared gateway leaves alone."""

_NOT_OURS = (Reason.ALLOWED, Reason.REVIEW_REFUSED, Reason.REVIEW_AUDIENCE, Reason.MODEL)
_REASONS = [reason for reason in Reason if reason not in _NOT_OURS]
"""Why the decision can refuse."""
REFUSING = "daypass-gate-refusal"
"""Name of the filter that refuses."""
_COUNTED_AS = "gate"
"""In Envoy's statistics, where a shared gateway has those of other RBAC filters, too."""

_Case = tuple[Json, Json]


def authentication(
    rules: Rules,
    keys: str | None,
    *,
    keeps_header: bool,
    guarded: Iterable[Json] = (),
    exempt: Iterable[Json] = (),
) -> Json:
    """Return Envoy's JwtAuthentication.

    `keys`: the text of the API server's JSON Web Key Set; None before it is known, when no token
    passes. `keeps_header`: whether later filters see the token. `guarded`: HeaderMatchers, all of
    which match the requests whose tokens are verified; `exempt`: RouteMatches of exceptions.
    """
    provider = partial(_provider, NO_KEYS if keys is None else keys, keeps_header=keeps_header)
    ours, audience = partial(provider, rules.issuer), [rules.audience, *sorted(rules.audiences)]
    short = {
        **ours(PAYLOAD, _FAILED_WITHOUT_KEYS if keys is None else _FAILED, audiences=audience),
        "require_expiration": True,
        "max_lifetime": f"{rules.longest_lifetime_seconds}s",
        "jwt_cache_config": {"jwt_cache_size": 4096},
    }
    providers = {
        "short": short,
        # Without keys, the status of `short` alone has to say so.
        **({} if keys is None else {"lasting": ours(_LASTING, audiences=audience)}),
        "long": provider(LONG_LIVED_ISSUER, _LONG, _FAILED_LONG),
    }
    requirements: list[Json] = [{"provider_name": name} for name in providers]
    requirements.append({"allow_missing_or_failed": {}})
    # A header that parsers may read differently is not verified: it has no valid token.
    readable = header_match("authorization", BEARER_JWT)
    match = {"prefix": "/", "headers": [*guarded, readable]}
    return protobuf_any(
        JWT_AUTHENTICATION,
        providers=providers,
        rules=[
            *({"match": each} for each in exempt),
            {"match": match, "requires": {"requires_any": {"requirements": requirements}}},
        ],
    )


def _provider(
    keys: str, issuer: str, claims: str, failed: str = "", *, keeps_header: bool, **more: Json
) -> Json:
    """Return a JwtProvider. `claims`, `failed`: metadata keys for the claims, and for the status
    of a token that is not verified.
    """
    return {
        "issuer": issuer,
        "local_jwks": {"inline_string": keys},
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": keeps_header,
        "clock_skew_seconds": SKEW_SECONDS,
        "payload_in_metadata": claims,
        **({"failed_status_in_metadata": failed} if failed else {}),
        **more,
    }


def deciding_filters(
    rules: Rules,
    *,
    verified: Json,
    published: Iterable[Json],
    elsewhere: Json | None = None,
    misnamed: Json | None = None,
    has_login: bool = False,
) -> list[Json]:
    """Return the filters that decide.

    `verified`: the JWT filter. `published`: those that look up what is published. `elsewhere`: a
    predicate for requests that a shared gateway leaves alone; None if it guards all that it serves.
    `misnamed`: one for hosts that it refuses; None if routes do. `has_login`: it also leaves alone
    what has no token of the cluster.
    """
    decision = _decision(rules, elsewhere, misnamed, has_login=has_login)
    passes = is_accepted = is_marked(DECISION)
    cases = [(is_accepted, _ACCEPTED)]
    if elsewhere is not None:
        is_of_others = is_marked(DECISION, OTHERS_POLICY)
        passes = any_of(is_accepted, is_of_others)
        # Not counted as accepted.
        cases.append((is_of_others, action(OTHERS_POLICY, "ALLOW")))
    refusals = [(is_marked(DECISION, policy_of(reason)), refuse(reason)) for reason in _REASONS]
    refusal = first_of([*cases, *refusals], refuse(Reason.UNKNOWN))
    return [
        verified,
        *claims_filters("daypass-gate-claims", rules),
        *published,
        *([opened_filter(rules)] if rules.audiences else []),
        *([] if rules.allow is None else [allowed_filter(rules.allow)]),
        {"name": "daypass-gate-decision", "typed_config": marking(DECISION, decision)},
        *draining_filters(is_not(passes)),
        extension(
            REFUSING, RBAC, **refusal, rules_stat_prefix=_COUNTED_AS, track_per_rule_stats=True
        ),
    ]


def _decision(
    rules: Rules, elsewhere: Json | None, misnamed: Json | None, *, has_login: bool
) -> Json:
    cases = [] if elsewhere is None else [(elsewhere, _OTHERS)]
    cases += [] if misnamed is None else [(misnamed, refuse(Reason.NOT_GUARDED))]
    if rules.reads_paths:
        # A browser's session may have any path: what is read of paths holds for tokens alone.
        of_tokens = [has_claim(["iss"])] if has_login else []
        cases.append((all_of(*of_tokens, is_ambiguous()), refuse(Reason.AMBIGUOUS)))
    cases += [(_is_accepted(rules), _ACCEPTED), *_refusals_of_the_cluster(rules)]
    cases += [] if has_login else _refusals_of_others()
    return first_of(cases, _OTHERS if has_login else refuse(Reason.MALFORMED))


def _is_accepted(rules: Rules) -> Json:
    # The mark of its credential implies that its UID has Kubernetes' form.
    return all_of(
        has_claim(["iss"], exactly(rules.issuer)),
        is_marked(OPENED_MARK) if rules.audiences else is_for(rules.audience),
        has_claim(["exp"], AN_EXACT_TIME),
        *_OF_AN_ACCOUNT,
        *([] if rules.allow is None else [is_marked(ALLOWED_MARK)]),
        *has_marks(rules),
    )


_OF_AN_ACCOUNT = (
    has_state(USER_STATE, SERVICE_ACCOUNT_USER),
    has_claim(["kubernetes.io", "namespace"], like("[a-z0-9-]+")),
)


def _refusals_of_the_cluster(rules: Rules) -> Iterator[_Case]:
    """Yield refusals of tokens that are the cluster's, or claim to be."""
    verified = has_claim(["iss"])

    def lacks(*required: Json) -> Json:
        return all_of(verified, is_not(all_of(*required)))

    def marked(name: str, reasons: Iterable[Reason]) -> Iterator[_Case]:
        for reason in reasons:
            yield all_of(verified, is_marked(name, policy_of(reason))), refuse(reason)

    if rules.audiences:
        yield from marked(
            OPENED_MARK, (Reason.AUDIENCE, Reason.SEVERAL_AUDIENCES, Reason.AUDIENCE_OPENING)
        )
    else:
        yield all_of(verified, is_for_others(rules)), refuse(Reason.AUDIENCE)
        yield lacks(is_for(rules.audience)), refuse(Reason.SEVERAL_AUDIENCES)
    yield lacks(has_claim(["exp"], AN_EXACT_TIME)), refuse(Reason.LIVES_TOO_LONG)
    yield lacks(*_OF_AN_ACCOUNT), refuse(Reason.SUBJECT)
    if rules.allow is not None:
        yield lacks(is_marked(ALLOWED_MARK)), refuse(Reason.NOT_ALLOWED)
    yield lacks(is_bound(rules)), refuse(Reason.UNBOUND)
    yield lacks(has_credential(rules)), refuse(Reason.UNKNOWN_CREDENTIAL)
    yield from marked(DENIALS_MARK, (Reason.DENIED, Reason.UNKNOWN))
    yield from marked(CREDENTIALS_MARK, (Reason.UNKNOWN_CREDENTIAL, Reason.UNKNOWN))
    yield verified, refuse(Reason.UNKNOWN)
    of_long = [_has_status(status, _FAILED_LONG) for status in _STATUSES]
    yield any_of(has_claim(["iss"], within=_LONG), *of_long), refuse(Reason.LONG_LIVED)
    for status in _STATUSES:
        yield _has_status(status, _FAILED_WITHOUT_KEYS), refuse(Reason.UNKNOWN)
    endless = {"double_match": {"range": {"start": 1.0, "end": 2.0**64}}}
    yield has_claim(["exp"], endless, within=_LASTING), refuse(Reason.LIVES_TOO_LONG)
    yield has_claim(["iss"], within=_LASTING), refuse(Reason.NO_EXPIRY)
    for status, reason in _STATUSES.items():
        yield _has_status(status), refuse(reason)


def _refusals_of_others() -> Iterator[_Case]:
    yield is_not(has_header("authorization", ".+")), refuse(Reason.NO_TOKEN)
    yield is_not(has_header("authorization", BEARER_JWT)), refuse(Reason.UNREADABLE)
    for status, reason in _STATUSES_OF_OTHERS.items():
        found = any_of(_has_status(status), _has_status(status, _FAILED_WITHOUT_KEYS))
        yield found, refuse(reason)


def _has_status(status: str, within: str = _FAILED) -> Json:
    return has_claim(["message"], exactly(status), within=within)


def refusal_replies(rules: Rules) -> list[Json]:
    """Return mappers that give each refusal its Kubernetes Status, with what to do.

    A body that was not read to its end changes the code of a refusal, but not its mark.
    """
    mappers = []
    for reason in _REASONS:
        policy = policy_of(reason)
        unread = f"response.code == 413 && {has_mark(DECISION, policy)}"
        refused = f"{has_details(denial(policy))} || {unread}"
        mappers.append(refusal_reply(reason, rules.audience, refused))
    return mappers


ALLOWED_MARK = "daypass_allowed"
"""The mark of a caller that may pass, where not everybody may."""

OPENED_MARK = "daypass_opened"
"""The mark of a request that its token's audience opens, where there is a table of audiences."""

_ALLOWED, _OPENED = action("daypass-allowed", "ALLOW"), action("daypass-opened", "ALLOW")


def any_pattern(patterns: Iterable[str]) -> str:
    """Return a pattern for what one of these matches; their flags remain their own."""
    return "|".join(f"(?:{each})" for each in patterns)


def is_host(hosts: Iterable[HostPattern]) -> Json:
    """Return a predicate: the Host header has the form of one of these hosts."""
    return has_header(":authority", any_pattern(host.exact_regex for host in hosts))


def is_ambiguous() -> Json:
    """Return a predicate: the path may be read in several ways, or a header names the model."""
    chosen = (has_header(name, "(?s).*") for name in MODEL_HEADERS)
    return any_of(is_not(has_header(":path", PLAIN_PATH_REGEX)), *chosen)


def opened_filter(rules: Rules) -> Json:
    """Return the filter that marks whether a token's audience opens the request, or why not."""
    table = dict.fromkeys(_texts(rules.audience), _OPENED)
    for audience, places in rules.audiences.items():
        is_open = any_of(*map(_is_for_place, places))
        result = first_of([(is_open, _OPENED)], refuse(Reason.AUDIENCE_OPENING))
        table |= dict.fromkeys(_texts(audience), result)
    otherwise = first_of(
        # A list may have the same audience twice.
        [(is_for(rules.audience), _OPENED), (is_for_others(rules), refuse(Reason.AUDIENCE))],
        refuse(Reason.SEVERAL_AUDIENCES),
    )
    marked = marking(OPENED_MARK, lookup(AUDIENCE_STATE, table, otherwise))
    return {"name": "daypass-gate-opened", "typed_config": marked}


def _texts(audience: str) -> tuple[str, str]:
    """Return the claim with this audience alone as Envoy prints it: as a string, and as a list."""
    return audience, json.dumps([audience])


def is_for(audience: str) -> Json:
    """Return a predicate: a verified token has this audience, and no other."""
    # The JWT filter ignores a scheme, and a slash at the end.
    another = {"list_match": {"one_of": like(other_than(audience))}}
    return all_of(has_claim(["aud"], is_or_has(audience)), is_not(has_claim(["aud"], another)))


def is_for_others(rules: Rules) -> Json:
    """Return a predicate: a verified token has none of the gate's audiences."""
    return is_not(has_claim(["aud"], is_or_has(rules.audience, *sorted(rules.audiences))))


def _is_for_place(place: Place) -> Json:
    on_path = [] if place.path is None else [has_header(":path", place.path.exact_regex)]
    return all_of(is_host([place.host]), *on_path)


def allowed_filter(allow: Allow) -> Json:
    """Return the filter that marks who may pass."""
    users = [f"system:serviceaccount:{name.replace('/', ':')}" for name in allow.identities]
    of_users = among(USER_STATE, users, _ALLOWED, refuse(Reason.NOT_ALLOWED))
    marked = marking(ALLOWED_MARK, among(NAMESPACE_STATE, allow.namespaces, _ALLOWED, of_users))
    return {"name": "daypass-gate-allowed", "typed_config": marked}
