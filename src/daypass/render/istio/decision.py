"""The gate's decision on what `authentication` found, as a matcher of Envoy's RBAC filter.

One case lets a request on as a ServiceAccount's, and asks for everything at once; in front of it
are other hosts, behind it the reasons for a refusal. With `others: login` what carries no token of
the cluster is left to whoever comes next; otherwise the last case refuses.
"""

from collections.abc import Iterator

from daypass.render.envoy.allowlist import complement
from daypass.render.envoy.claims import claim
from daypass.render.envoy.matching import (
    action,
    all_of,
    any_of,
    first_of,
    has_claim,
    has_header,
    is_not,
)
from daypass.render.envoy.refusals import refuse
from daypass.render.envoy.typed import Json, full_match, typed
from daypass.render.istio.authentication import (
    FAILED,
    FAILED_LONG,
    FAILED_WITHOUT_KEYS,
    LASTING,
    LONG,
)
from daypass.render.istio.hosts import is_guarded
from daypass.render.istio.settings import IstioGate
from daypass.spec.exposure import BEARER_JWT
from daypass.spec.reasons import Reason

Case = tuple[Json, Json]

REASONS = (
    Reason.NO_TOKEN,
    Reason.UNREADABLE,
    Reason.MALFORMED,
    Reason.LONG_LIVED,
    Reason.FOREIGN_ISSUER,
    Reason.ALGORITHM,
    Reason.SIGNATURE,
    Reason.AUDIENCE,
    Reason.SEVERAL_AUDIENCES,
    Reason.NO_EXPIRY,
    Reason.EXPIRED,
    Reason.NOT_YET_VALID,
    Reason.SUBJECT,
    Reason.UNBOUND,
)
"""What this filter refuses for; the revoked, and those that nobody knows about, come after it."""

VERIFIED = "daypass_shadow_engine_result"
"""In the metadata of `envoy.filters.http.rbac`: `allowed` where a token of the cluster passed."""

_FOREIGN = "Jwt issuer is not configured"
_STATUSES = {
    "Jwt is expired": Reason.EXPIRED,
    "Jwt not yet valid": Reason.NOT_YET_VALID,
    "Audiences in Jwt are not allowed": Reason.AUDIENCE,
    "Jwt verification fails": Reason.SIGNATURE,
    "Jwks doesn't have key to match kid or alg from Jwt": Reason.SIGNATURE,
    "Jwks doesn't have any valid public key": Reason.UNKNOWN,
}
"""What Envoy says of tokens whose issuer is the cluster (jwt_verify_lib's status.cc)."""


def decision(settings: IstioGate) -> Json:
    """The RBAC config."""
    others = action("daypass-others", "ALLOW")
    cases = [
        (is_not(is_guarded(settings.gate.hosts)), others),
        (_passes(settings), action("daypass-allowed", "ALLOW")),
        *_of_the_cluster(settings),
    ]
    if settings.leaves_others:
        return _rbac(settings, first_of(cases, others))
    return _rbac(settings, first_of([*cases, *_of_others()], refuse(Reason.MALFORMED)))


def _rbac(settings: IstioGate, matcher: Json) -> Json:
    verified = claim(["iss"], {"string_match": {"exact": settings.issuer}})
    policy = {"permissions": [{"any": True}], "principals": [{"metadata": verified}]}
    return typed(
        "extensions.filters.http.rbac.v3.RBAC",
        matcher=matcher["matcher"],
        # It refuses nothing, but leaves word of what it found to policies of others.
        shadow_rules={"action": "ALLOW", "policies": {"daypass-verified": policy}},
        shadow_rules_stat_prefix="daypass_",
    )


def _passes(settings: IstioGate) -> Json:
    claims = [
        has_claim(["iss"], {"string_match": {"exact": settings.issuer}}),
        is_not(_several(settings)),
        _is_account(),
    ]
    return all_of(*claims, *([_is_bound()] if settings.gate.require_bound else []))


def _several(settings: IstioGate) -> Json:
    other = {"string_match": {"safe_regex": full_match(complement([settings.gate.audience]))}}
    return has_claim(["aud"], {"list_match": {"one_of": other}})


def _is_account() -> Json:
    account = {"string_match": {"prefix": "system:serviceaccount:"}}
    return all_of(has_claim(["sub"], account), has_claim(["kubernetes.io", "namespace"]))


def _is_bound() -> Json:
    return has_claim(["kubernetes.io", "secret", "uid"])


def _of_the_cluster(settings: IstioGate) -> Iterator[Case]:
    """Why a token is refused that is the cluster's, or says so."""
    verified = has_claim(["iss"])
    yield all_of(verified, _several(settings)), refuse(Reason.SEVERAL_AUDIENCES)
    yield all_of(verified, is_not(_is_account())), refuse(Reason.SUBJECT)
    yield verified, refuse(Reason.UNBOUND)
    knows = [_said(message, FAILED_LONG) for message in _STATUSES]
    is_long = any_of(has_claim(["iss"], within=LONG), *knows)
    yield is_long, refuse(Reason.LONG_LIVED)
    for message in _STATUSES:
        yield _said(message, FAILED_WITHOUT_KEYS), refuse(Reason.UNKNOWN)
    yield has_claim(["exp"], within=LASTING), refuse(Reason.LIVES_TOO_LONG)
    yield has_claim(["iss"], within=LASTING), refuse(Reason.NO_EXPIRY)
    for message, reason in _STATUSES.items():
        yield _said(message), refuse(reason)


def _of_others() -> Iterator[Case]:
    """Why everything else is refused, where nobody else is there to judge it."""
    yield is_not(has_header("authorization", ".*")), refuse(Reason.NO_TOKEN)
    yield is_not(has_header("authorization", BEARER_JWT)), refuse(Reason.UNREADABLE)
    yield (
        any_of(_said(_FOREIGN), _said(_FOREIGN, FAILED_WITHOUT_KEYS)),
        refuse(Reason.FOREIGN_ISSUER),
    )
    yield _said("Jwt header [alg] is not supported"), refuse(Reason.ALGORITHM)


def _said(message: str, within: str = FAILED) -> Json:
    return has_claim(["message"], {"string_match": {"exact": message}}, within=within)
