"""The gate's checks of what is published: the credentials that exist, and denials by hand.

The claims that they look up are copied to filter state once they are verified: no client can write
to it, and it ends with the request. Each look-up is one in a hash map, so its cost does not depend
on the number of entries; only denials by UID are compared one by one.

**Credentials.** A composite filter evaluates, for each request, the shard of the set that has the
range of its credential: both UIDs together are a key there, in full. Each shard is an RBAC config
that Envoy follows on its own, so a change is one of a small shard. It applies to open connections,
too. Until Envoy has received a shard, the default refuses.

**Denials** are one more RBAC config that Envoy follows.

Envoy keeps the last config that it accepted, so each contains the time from which it refuses all.
These filters refuse nothing themselves. They leave marks for the decision: a request passes only
with both, and without one it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import hexdigits

from daypass.render.envoy.replies import refuse
from daypass.render.envoy.xds import (
    A_UID,
    ACCOUNT,
    AUDIENCE_STATE,
    JTI_STATE,
    NAMESPACE_STATE,
    NODE,
    NOW,
    NOW_STATE,
    POD,
    RBAC,
    SECRET,
    USER_STATE,
    Json,
    action,
    all_of,
    among,
    any_of,
    claim_text,
    composite,
    discovered_filter,
    execute,
    first_of,
    has_claim,
    has_state,
    is_before,
    is_marked,
    is_not,
    like,
    marking,
    one_of,
    only_where,
    set_filter_state,
    state_input,
)
from daypass.rules.claims import Bound
from daypass.rules.decision import Rules
from daypass.rules.published import (
    CLOSED_SHARD,
    CREDENTIALS,
    DENIALS,
    Denials,
    DeniedKind,
    Shard,
    credential_of,
    shard_name,
    shard_of,
)
from daypass.rules.reasons import Reason

_CREDENTIAL_STATE = "daypass.credential"
"""The credential of the claims. With an odd claim it is none in the set: those contain one
separator, and UIDs around it."""
CREDENTIALS_MARK = "daypass_credentials"
DENIALS_MARK = "daypass_denials"
Source = Callable[[str], Json]
"""Returns Envoy's ConfigSource for what is published under a name."""

_EXISTS = action("daypass-exists", "ALLOW")
_NOT_DENIED = action("daypass-not-denied", "ALLOW")


_BOUND_CLAIMS = {
    Bound.SECRET: has_claim((*SECRET, "uid"), like("(?s).+")),
    Bound.POD: all_of(is_not(has_claim(SECRET)), has_claim(POD)),
    Bound.NONE: all_of(*(is_not(has_claim(kind)) for kind in (SECRET, POD, NODE))),
}


def claims_filters(name: str, rules: Rules) -> list[Json]:
    """Return the filters that copy verified claims to filter state; without them, there is none.

    The credential has the Secret that the token is bound to, or the ServiceAccount of a token that
    is bound to nothing, if such tokens may pass. That of a Pod has none: TokenReview decides.
    """
    account = claim_text(*ACCOUNT, "uid")
    copied = {
        NOW_STATE: NOW,
        USER_STATE: claim_text("sub"),
        JTI_STATE: claim_text("jti"),
        NAMESPACE_STATE: claim_text("kubernetes.io", "namespace"),
    }
    if rules.audiences:
        copied[AUDIENCE_STATE] = claim_text("aud")
    if Bound.SECRET in rules.bound:
        copied[_CREDENTIAL_STATE] = credential_of(claim_text(*SECRET, "uid"), account)
    filters = [set_filter_state(name, copied, skip_if_empty=True)]
    if Bound.NONE in rules.bound:
        of_account = {_CREDENTIAL_STATE: credential_of(account, account)}
        copies = set_filter_state(f"{name}-account", of_account, skip_if_empty=True)
        filters.append(only_where(_BOUND_CLAIMS[Bound.NONE], copies))
    return filters


def is_bound(rules: Rules) -> Json:
    """Return a predicate: the token is bound to what it may be bound to."""
    return _if_bound(rules, _BOUND_CLAIMS)


def has_credential(rules: Rules) -> Json:
    """Return a predicate: the token's credential, if it needs one, has UIDs of Kubernetes."""
    of_account = has_claim((*ACCOUNT, "uid"), A_UID)
    found = {
        Bound.SECRET: all_of(has_claim((*SECRET, "uid"), A_UID), of_account),
        Bound.POD: _BOUND_CLAIMS[Bound.POD],
        Bound.NONE: all_of(_BOUND_CLAIMS[Bound.NONE], of_account),
    }
    return _if_bound(rules, found)


def _if_bound(rules: Rules, found: Mapping[Bound, Json]) -> Json:
    return any_of(*(found[bound] for bound in Bound if bound in rules.bound))


def has_marks(rules: Rules) -> tuple[Json, ...]:
    """Return predicates: the token is not denied, and its credential exists."""
    credential = is_marked(CREDENTIALS_MARK)
    if Bound.POD in rules.bound:
        credential = any_of(credential, _BOUND_CLAIMS[Bound.POD])
    return is_marked(DENIALS_MARK), credential


def published_filters(source: Source, *, shards: int) -> list[Json]:
    """Return the filters that look up what is published, in so many shards.

    `source`: where Envoy gets each config, by its name.
    """
    return [_followed(source, DENIALS, denials_config(Denials())), _composite(source, shards)]


def _followed(source: Source, name: str, default: Json) -> Json:
    """Return the filter with what is published under a name; until then, with a default."""
    return discovered_filter(name, source(name), RBAC, default_config=default)


def _composite(source: Source, shards: int) -> Json:
    """Return the filter that evaluates one shard of the set, chosen by the UID's first digits.

    Envoy has a copy of a shard for each first digit that refers to it: with 8 shards, two.
    """
    tree = {digit: _by_second_digit(source, shards, digit) for digit in hexdigits[:16]}
    by_first_digit = {
        "input": state_input(_CREDENTIAL_STATE),
        "prefix_match_map": {"map": tree},
    }
    return composite(CREDENTIALS, {"matcher_tree": by_first_digit})


def _by_second_digit(source: Source, shards: int, first: str) -> Json:
    closed, digits = shard_config(CLOSED_SHARD), dict[int, str]()
    for second in hexdigits[:16]:
        number = shard_of(first + second, shards)
        digits[number] = digits.get(number, "") + second
    *cases, (_, last) = (
        (
            has_state(_CREDENTIAL_STATE, f"{first}[{seconds}].*"),
            execute(_followed(source, shard_name(number), closed)),
        )
        for number, seconds in digits.items()
    )
    return first_of(cases, last) if cases else last


def shard_config(shard: Shard) -> Json:
    """Return the RBAC config of a shard of the set."""
    unknown = refuse(Reason.UNKNOWN_CREDENTIAL)
    return marking(
        CREDENTIALS_MARK,
        _until(
            shard.closes_unix,
            among(_CREDENTIAL_STATE, shard.credentials, _EXISTS, unknown),
        ),
    )


def denials_config(denials: Denials) -> Json:
    """Return the RBAC config of the denials."""
    matcher, denied = _NOT_DENIED, refuse(Reason.DENIED)
    objects = denials.names(DeniedKind.OBJECT)
    if objects:
        # Denials are few, and of these rarer still: a state costs each request more.
        bound = (has_claim((*kind, "uid"), one_of(objects)) for kind in (SECRET, ACCOUNT, POD))
        matcher = first_of([(any_of(*bound), denied)], matcher)
    for state, values in (
        (NAMESPACE_STATE, denials.names(DeniedKind.NAMESPACE)),
        (JTI_STATE, denials.names(DeniedKind.TOKEN)),
    ):
        matcher = among(state, values, denied, matcher)
    return marking(DENIALS_MARK, _until(denials.closes_unix, matcher))


def _until(closes_unix: int, matcher: Json) -> Json:
    """Return what `matcher` does, until it closes."""
    closed = refuse(Reason.UNKNOWN)
    return first_of([(is_before(closes_unix), matcher)], closed) if closes_unix > 0 else closed
