"""The gate's decision on Istio: Envoy verifies the token, and its RBAC filter decides.

The gateway serves others, too. So `jwt_authn` verifies and refuses nothing: its result, the claims
or the status, is metadata for the decision, which is a matcher. One case accepts a request as a
ServiceAccount's, and requires everything at once; before it are other hosts, after it the reasons
for a refusal. With `others: login`, a request without a token of the cluster passes on to the next
filter; otherwise the last case refuses.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from daypass.render.envoy.credentials import MARKS, has_credential
from daypass.render.envoy.gate_listener import JWT_MESSAGES, NO_KEYS, jwt_provider
from daypass.render.envoy.matching import (
    A_NAMESPACE,
    A_USER,
    AN_EXACT_TIME,
    PAYLOAD,
    SECRET,
    SOME_TEXT,
    action,
    all_of,
    any_of,
    exactly,
    first_of,
    has_claim,
    has_header,
    has_item,
    has_other_item,
    is_marked,
    is_not,
    marking,
)
from daypass.render.envoy.protobuf_any import JWT_AUTHENTICATION, Json, full_match, protobuf_any
from daypass.render.envoy.replies import policy_of, refuse
from daypass.render.istio.settings import IstioGate, door_matches, guarded_headers, is_guarded
from daypass.rules.claims import BEARER_JWT, LONG_LIVED_ISSUER
from daypass.rules.reasons import Reason

_FAILED = "failed"
"""Metadata key: why a token is no valid short-lived token of the cluster (`message`)."""
_FAILED_WITHOUT_KEYS = "failed-without-keys"
_LASTING = "lasting"
"""Metadata key: the claims of a token that is valid except for its lifetime."""
_LONG = "long"
"""Metadata key: the claims of a long-lived token."""
_FAILED_LONG = "failed-long"


def authentication(settings: IstioGate, keys: str | None) -> Json:
    """Return Envoy's JwtAuthentication.

    `keys`: the text of the API server's JSON Web Key Set; None before it is published, when no
    token passes.
    """
    # The header is removed once it is verified, or once the authorizer has seen it: the gateway's
    # own RequestAuthentications would reject a token of an unknown issuer.
    provider = partial(
        jwt_provider, keys=NO_KEYS if keys is None else keys, forward=settings.gate.is_reviewed
    )
    audience = settings.gate.audience
    short = provider(
        settings.issuer,
        claims=PAYLOAD,
        audience=audience,
        longest_lifetime_seconds=settings.config.longest_lifetime_seconds,
        failed=_FAILED_WITHOUT_KEYS if keys is None else _FAILED,
    )
    lasting = provider(settings.issuer, claims=_LASTING, audience=audience)
    long = provider(LONG_LIVED_ISSUER, claims=_LONG, failed=_FAILED_LONG)
    providers = {"short": short, "long": long}
    if keys is not None:
        providers = {"short": short, "lasting": lasting, "long": long}
    requirements: list[Json] = [{"provider_name": name} for name in providers]
    requirements.append({"allow_missing_or_failed": {}})
    # A header that parsers may read differently is not verified: it has no valid token.
    readable = {"name": "authorization", "string_match": {"safe_regex": full_match(BEARER_JWT)}}
    match = {"prefix": "/", "headers": [*guarded_headers(settings), readable]}
    return protobuf_any(
        JWT_AUTHENTICATION,
        providers=providers,
        rules=[
            *({"match": door} for door in door_matches(settings)),
            {"match": match, "requires": {"requires_any": {"requirements": requirements}}},
        ],
    )


_Case = tuple[Json, Json]

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
    Reason.LIVES_TOO_LONG,
    Reason.DENIED,
    Reason.UNKNOWN_CREDENTIAL,
    Reason.UNKNOWN,
)
"""Why a mark refuses. A later filter refuses those without a review."""

VERIFIED = "daypass_shadow_engine_result"
"""Key in the metadata of `envoy.filters.http.rbac`: `allowed` if a token of the cluster passed."""

ASKED = "daypass_asked_shadow_engine_result"
"""The same, if the authorizer must be asked because Envoy has no keys."""

_FOREIGN = "Jwt issuer is not configured"
_STATUSES = {**JWT_MESSAGES, "Jwks doesn't have any valid public key": Reason.UNKNOWN}
"""Envoy's messages for tokens whose issuer is the cluster."""

_UNDECIDED = ("Jwt verification fails", "Jwks doesn't have key to match kid or alg from Jwt")
"""Messages, without keys, for a token whose issuer, audience and times are right."""


DECISION = "daypass_decision"
"""The mark of the decision."""


def decision(settings: IstioGate) -> Json:
    """Return the config of the RBAC filter that decides. It marks the request."""
    others = action("daypass-others", "ALLOW")
    cases = [(is_not(is_guarded(settings)), others)]
    if settings.gate.is_native:
        cases += [(_passes(settings), action("daypass-allowed", "ALLOW"))]
        cases += _of_the_cluster(settings)
    else:
        cases += [(is_undecided(), action("daypass-asked", "ALLOW"))]
        cases += [(_is_long(), refuse(Reason.LONG_LIVED)), *_statuses(_FAILED_WITHOUT_KEYS)]
    if not settings.leaves_others:
        cases += _of_others()
    last = others if settings.leaves_others else refuse(Reason.MALFORMED)
    return marking(DECISION, first_of(cases, last)["matcher"])


def marks_of(settings: IstioGate) -> dict[str, tuple[Reason, ...]]:
    """Return the marks by which a request passes or is refused, and why each can refuse."""
    return {DECISION: REASONS, **(MARKS if settings.gate.is_native else {})}


def passes(settings: IstioGate) -> Json:
    """Return a predicate: the marks let the request pass."""
    looked_up = [is_marked(name) for name in marks_of(settings) if name != DECISION]
    if not looked_up:
        return is_marked(DECISION)
    # What has no token of the cluster has nothing to look up.
    return all_of(is_marked(DECISION), any_of(is_not(has_claim(["iss"])), all_of(*looked_up)))


def refusal(settings: IstioGate) -> Json:
    """Return the config of the RBAC filter that refuses what does not pass."""
    lets_pass = action("daypass-others", "ALLOW")
    cases = [(passes(settings), lets_pass)]
    for name, reasons in marks_of(settings).items():
        cases.append((is_not(is_marked(name)), _refuse_by(name, reasons)))
    is_ours = has_claim(["iss"], exactly(settings.issuer))
    # For the backstop, or the login.
    marked = ("daypass", is_ours) if settings.gate.is_native else ("daypass_asked", is_undecided())
    return {**_mark(*marked), "matcher": first_of(cases, refuse(Reason.UNKNOWN))["matcher"]}


def _refuse_by(name: str, reasons: Iterable[Reason]) -> Json:
    cases = [(is_marked(name, policy_of(reason)), refuse(reason)) for reason in reasons]
    return first_of(cases, refuse(Reason.UNKNOWN))


def reviewed(settings: IstioGate) -> Json:
    """Return the config of the RBAC filter after the authorizer, which marks what passed it."""
    return _mark("daypass", all_of(is_undecided(), has_header(settings.gate.headers.user, ".+")))


def _mark(name: str, predicate: Json) -> Json:
    """Return the config of an RBAC filter that leaves a mark for later policies."""
    allowed, others = action("daypass", "ALLOW"), action("daypass-others", "DENY")
    return marking(name, first_of([(predicate, allowed)], others)["matcher"])


def is_undecided() -> Json:
    """Return a predicate: the authorizer must be asked."""
    return any_of(*(_has_message(message, _FAILED_WITHOUT_KEYS) for message in _UNDECIDED))


def _passes(settings: IstioGate) -> Json:
    claims = [
        has_claim(["iss"], exactly(settings.issuer)),
        has_claim(["aud"], has_item(settings.gate.audience)),
        is_not(has_claim(["aud"], has_other_item(settings.gate.audience))),
        has_claim(["exp"], AN_EXACT_TIME),
        _is_account(),
    ]
    return all_of(*claims, has_credential(require_bound=settings.gate.require_bound))


def _is_account() -> Json:
    return all_of(
        has_claim(["sub"], A_USER), has_claim(["kubernetes.io", "namespace"], A_NAMESPACE)
    )


def _of_the_cluster(settings: IstioGate) -> Iterator[_Case]:
    """Yield refusals of tokens that are the cluster's, or claim to be."""
    verified, audience = has_claim(["iss"]), settings.gate.audience
    foreign = is_not(has_claim(["aud"], has_item(audience)))
    yield all_of(verified, foreign), refuse(Reason.AUDIENCE)
    several = has_claim(["aud"], has_other_item(audience))
    yield all_of(verified, several), refuse(Reason.SEVERAL_AUDIENCES)
    endless = is_not(has_claim(["exp"], AN_EXACT_TIME))
    yield all_of(verified, endless), refuse(Reason.LIVES_TOO_LONG)
    yield all_of(verified, is_not(_is_account())), refuse(Reason.SUBJECT)
    if settings.gate.require_bound:
        is_bound = has_claim((*SECRET, "uid"), SOME_TEXT)
        yield all_of(verified, is_not(is_bound)), refuse(Reason.UNBOUND)
    yield verified, refuse(Reason.UNKNOWN_CREDENTIAL)
    yield _is_long(), refuse(Reason.LONG_LIVED)
    for message in _STATUSES:  # before keys are published
        yield _has_message(message, _FAILED_WITHOUT_KEYS), refuse(Reason.UNKNOWN)
    endless = {"double_match": {"range": {"start": 1.0, "end": 2.0**64}}}
    yield has_claim(["exp"], endless, within=_LASTING), refuse(Reason.LIVES_TOO_LONG)
    yield has_claim(["iss"], within=_LASTING), refuse(Reason.NO_EXPIRY)
    yield from _statuses(_FAILED)


def _is_long() -> Json:
    knows = [_has_message(message, _FAILED_LONG) for message in _STATUSES]
    return any_of(has_claim(["iss"], within=_LONG), *knows)


def _statuses(within: str) -> Iterator[_Case]:
    for message, reason in _STATUSES.items():
        yield _has_message(message, within), refuse(reason)


def _of_others() -> Iterator[_Case]:
    """Yield refusals of everything else, if there is no login."""
    yield is_not(has_header("authorization", ".+")), refuse(Reason.NO_TOKEN)
    yield is_not(has_header("authorization", BEARER_JWT)), refuse(Reason.UNREADABLE)
    yield (
        any_of(_has_message(_FOREIGN), _has_message(_FOREIGN, _FAILED_WITHOUT_KEYS)),
        refuse(Reason.FOREIGN_ISSUER),
    )
    yield _has_message("Jwt header [alg] is not supported"), refuse(Reason.ALGORITHM)


def _has_message(message: str, within: str = _FAILED) -> Json:
    return has_claim(["message"], exactly(message), within=within)
