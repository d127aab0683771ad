"""The gate's decision on what `authentication` found, as a matcher of Envoy's RBAC filter.

One case lets a request on as a ServiceAccount's, and asks for everything at once; in front of it
are other hosts, behind it the reasons for a refusal. With `others: login` what carries no token of
the cluster is left to whoever comes next; otherwise the last case refuses.
"""

from collections.abc import Iterator

from daypass.render.envoy.allowlist import other_than
from daypass.render.envoy.claims import (
    A_NAMESPACE,
    A_USER,
    AN_EXACT_TIME,
    SOME_TEXT,
    claim,
)
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

ASKED = "daypass_asked_shadow_engine_result"
"""The same, where the authorizer is to be asked because nobody here knows."""

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


_UNDECIDED = ("Jwt verification fails", "Jwks doesn't have key to match kid or alg from Jwt")
"""What is said without keys of a token whose issuer, audience and times are right."""


def decision(settings: IstioGate) -> Json:
    """The RBAC config."""
    others = action("daypass-others", "ALLOW")
    cases = [(is_not(is_guarded(settings)), others)]
    if settings.is_native:
        cases += [(_passes(settings), action("daypass-allowed", "ALLOW"))]
        cases += _of_the_cluster(settings)
        exact = {"string_match": {"exact": settings.issuer}}
        # The backstop reads it, or the login.
        marked = shadowed("daypass_", {"metadata": claim(["iss"], exact)})
    else:
        cases += [(is_undecided(), action("daypass-asked", "ALLOW"))]
        cases += [(_is_long(), refuse(Reason.LONG_LIVED)), *_statuses(FAILED_WITHOUT_KEYS)]
        marked = shadowed("daypass_asked_", undecided_principal())
    if not settings.leaves_others:
        cases += _of_others()
    last = others if settings.leaves_others else refuse(Reason.MALFORMED)
    return typed(
        "extensions.filters.http.rbac.v3.RBAC",
        matcher=first_of(cases, last)["matcher"],
        **marked,
    )


def reviewed(settings: IstioGate) -> Json:
    """The RBAC config that stands behind the authorizer, and leaves word of what it has let on."""
    told = {"header": {"name": settings.gate.headers.user, "present_match": True}}
    both = {"and_ids": {"ids": [undecided_principal(), told]}}
    silent = all_of(is_undecided(), is_not(has_header(settings.gate.headers.user, ".+")))
    matcher = first_of([(silent, refuse(Reason.UNKNOWN))], action("daypass-others", "ALLOW"))
    return typed(
        "extensions.filters.http.rbac.v3.RBAC",
        matcher=matcher["matcher"],
        **shadowed("daypass_", both),
    )


def is_undecided() -> Json:
    """A matcher's predicate: the authorizer has to be asked."""
    return any_of(*(_said(message, FAILED_WITHOUT_KEYS) for message in _UNDECIDED))


def undecided_principal() -> Json:
    """The same as a principal of RBAC."""
    said = [{"string_match": {"exact": message}} for message in _UNDECIDED]
    one_of = {"or_match": {"value_matchers": said}}
    return {"metadata": claim(["message"], one_of, within=FAILED_WITHOUT_KEYS)}


def shadowed(prefix: str, principal: Json) -> Json:
    """Rules that refuse nothing, and leave word for policies of others."""
    policy = {"permissions": [{"any": True}], "principals": [principal]}
    return {
        "shadow_rules": {"action": "ALLOW", "policies": {"daypass": policy}},
        "shadow_rules_stat_prefix": prefix,
    }


def _passes(settings: IstioGate) -> Json:
    claims = [
        has_claim(["iss"], {"string_match": {"exact": settings.issuer}}),
        _is_for_the_gate(settings),
        is_not(_several(settings)),
        has_claim(["exp"], AN_EXACT_TIME),
        _is_account(),
    ]
    return all_of(*claims, *([_is_bound()] if settings.gate.require_bound else []))


def _is_for_the_gate(settings: IstioGate) -> Json:
    # Kubernetes writes a list, also of one; Envoy's own check takes a text as well.
    audience = {"string_match": {"exact": settings.gate.audience}}
    return has_claim(["aud"], {"list_match": {"one_of": audience}})


def _several(settings: IstioGate) -> Json:
    other = {"string_match": {"safe_regex": full_match(other_than(settings.gate.audience))}}
    return has_claim(["aud"], {"list_match": {"one_of": other}})


def _is_account() -> Json:
    return all_of(
        has_claim(["sub"], A_USER), has_claim(["kubernetes.io", "namespace"], A_NAMESPACE)
    )


def _is_bound() -> Json:
    return has_claim(["kubernetes.io", "secret", "uid"], SOME_TEXT)


def _of_the_cluster(settings: IstioGate) -> Iterator[Case]:
    """Why a token is refused that is the cluster's, or says so."""
    verified = has_claim(["iss"])
    yield all_of(verified, is_not(_is_for_the_gate(settings))), refuse(Reason.AUDIENCE)
    yield all_of(verified, _several(settings)), refuse(Reason.SEVERAL_AUDIENCES)
    endless = is_not(has_claim(["exp"], AN_EXACT_TIME))
    yield all_of(verified, endless), refuse(Reason.LIVES_TOO_LONG)
    yield all_of(verified, is_not(_is_account())), refuse(Reason.SUBJECT)
    yield verified, refuse(Reason.UNBOUND)
    yield _is_long(), refuse(Reason.LONG_LIVED)
    for message in _STATUSES:  # as long as no keys are published
        yield _said(message, FAILED_WITHOUT_KEYS), refuse(Reason.UNKNOWN)
    endless = {"double_match": {"range": {"start": 1.0, "end": 2.0**64}}}
    yield has_claim(["exp"], endless, within=LASTING), refuse(Reason.LIVES_TOO_LONG)
    yield has_claim(["iss"], within=LASTING), refuse(Reason.NO_EXPIRY)
    yield from _statuses(FAILED)


def _is_long() -> Json:
    knows = [_said(message, FAILED_LONG) for message in _STATUSES]
    return any_of(has_claim(["iss"], within=LONG), *knows)


def _statuses(within: str) -> Iterator[Case]:
    for message, reason in _STATUSES.items():
        yield _said(message, within), refuse(reason)


def _of_others() -> Iterator[Case]:
    """Why everything else is refused, where nobody else is there to judge it."""
    yield is_not(has_header("authorization", ".+")), refuse(Reason.NO_TOKEN)
    yield is_not(has_header("authorization", BEARER_JWT)), refuse(Reason.UNREADABLE)
    yield (
        any_of(_said(_FOREIGN), _said(_FOREIGN, FAILED_WITHOUT_KEYS)),
        refuse(Reason.FOREIGN_ISSUER),
    )
    yield _said("Jwt header [alg] is not supported"), refuse(Reason.ALGORITHM)


def _said(message: str, within: str = FAILED) -> Json:
    return has_claim(["message"], {"string_match": {"exact": message}}, within=within)
