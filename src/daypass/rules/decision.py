"""The decision in numbered steps: from a request and what is known, to allowed or a reason.

`decide` is what `gate explain` shows step by step, and the oracle that all engines are tested
against. The authorizer runs the same checks in two calls: `check_claims` when a token arrives,
`check_current` and `check_review` after its TokenReview. All are pure: the caller passes the time,
and whether the signature and the TokenReview are good.

Sources: k8s.io/kubernetes/pkg/serviceaccount/claims.go (claims of a bound token),
k8s.io/api/authentication/v1 TokenReview (its caller has to check status.audiences), RFC 7519.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.rules.claims import (
    ALGORITHMS,
    BEARER_JWT,
    LONG_LIVED_ISSUER,
    LONGEST_TOKEN_CHARACTERS,
    SKEW_SECONDS,
    BoundClaims,
    CallerIdentity,
    bound_claims,
    has_registered_types,
)
from daypass.rules.credentials import UID, Presence
from daypass.rules.published import Published
from daypass.rules.reasons import Reason

EVERY_HOST = "*"
"""In `gate.hosts`: any host that a client asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """A request. `authorizations`: the values of its Authorization headers, in order."""

    host: str
    authorizations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the gate requires of a token.

    `published`: the credentials that exist, and denials by hand; None if they are not checked.
    """

    hosts: frozenset[str]
    issuer: str
    audience: str
    longest_lifetime_seconds: int
    require_bound: bool = True
    published: Published | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The result of a TokenReview with the gate's audience."""

    authenticated: bool
    user: str = ""
    audiences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision. `found`: the result of each step that passed. `identity`: set only if the
    request is allowed.
    """

    reason: Reason
    found: tuple[str, ...] = ()
    identity: CallerIdentity | None = None

    @property
    def is_allowed(self) -> bool:
        """Whether the request passes the gate."""
        return self.reason is Reason.ALLOWED


Signed: TypeAlias = Callable[[str], bool | None]
"""Returns whether a key of the API server signed a token, or None if that is not checked."""


class RefusedError(Exception):
    """The request is refused, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def decide(
    request: GateRequest,
    rules: Rules,
    now_unix: float,
    *,
    signed: bool | None = None,
    review: Review | None = None,
) -> Decision:
    """Return whether a request passes the gate, and the identity of its caller.

    `signed`: whether a key of the API server signed the token. `review`: the API server's result.
    None means that it was not checked. At least one has to be known, and each that is known has to
    be good.
    """
    found: list[str] = []
    try:
        claims = check_claims(
            request, rules, now_unix, signed=lambda _: signed, passed=found.append
        )
        found.append(
            "whether its credential exists was not checked"
            if rules.published is None
            else "its credential exists, and nothing is denied"
        )
        if review is not None:
            check_review(claims, rules, review)
            found.append("TokenReview accepted, for this audience")
        elif signed is None:
            raise RefusedError(Reason.UNKNOWN)
    except RefusedError as refused:
        return Decision(reason=refused.reason, found=tuple(found))
    return Decision(reason=Reason.ALLOWED, found=tuple(found), identity=claims.identity)


def check_claims(
    request: GateRequest,
    rules: Rules,
    now_unix: float,
    *,
    signed: Signed,
    passed: Callable[[str], None] = lambda _: None,
) -> BoundClaims:
    """Check everything that needs no TokenReview; `passed` gets each step. Raises RefusedError, and
    what `signed` raises.
    """
    # 1. The gate guards this host.
    if EVERY_HOST not in rules.hosts and _name(request.host) not in rules.hosts:
        raise RefusedError(Reason.NOT_GUARDED)
    passed("the gate guards this host")
    # 2. One Authorization header, in the one form that every parser reads alike.
    token = _bearer(request)
    passed("one Authorization header, with a bearer token and nothing else")
    # 3. A JSON Web Token.
    if len(token) > LONGEST_TOKEN_CHARACTERS:
        raise RefusedError(Reason.MALFORMED)
    try:
        header, claims = decode_unverified(token)
    except MalformedTokenError:
        raise RefusedError(Reason.MALFORMED) from None
    if not has_registered_types(header, claims):
        raise RefusedError(Reason.MALFORMED)
    passed("a JSON Web Token")
    # 4. The cluster issued it.
    if claims.get("iss") == LONG_LIVED_ISSUER:
        raise RefusedError(Reason.LONG_LIVED)
    if claims.get("iss") != rules.issuer:
        raise RefusedError(Reason.FOREIGN_ISSUER)
    passed(f"issued by {rules.issuer}")
    # 5. The algorithm is one that an API server signs with: never `none`, never a shared secret.
    if header.get("alg") not in ALGORITHMS:
        raise RefusedError(Reason.ALGORITHM)
    passed(f"signed with {header['alg']}")
    # 6. The signature, if it was checked.
    is_signed = signed(token)
    if is_signed is False:
        raise RefusedError(Reason.SIGNATURE)
    passed("signed by a key of the API server" if is_signed else "signature not checked")
    # 7. The gate's audience, and no other.
    _check_audience(claims, rules)
    passed(f"made for {rules.audience} alone")
    # 8. Valid now, with bounded skew, and for no longer than the longest lifetime.
    passed(f"valid for {_check_times(claims, rules, now_unix)} more seconds")
    # 9. A ServiceAccount.
    bound = bound_claims(claims)
    if bound is None:
        raise RefusedError(Reason.SUBJECT)
    passed(bound.identity.user)
    # 10. It is bound to a Secret, so that it can be revoked.
    if rules.require_bound and not bound.secret_uid:
        raise RefusedError(Reason.UNBOUND)
    if not UID.fullmatch(bound.credential_uid):
        raise RefusedError(Reason.UNKNOWN_CREDENTIAL)
    passed("bound to a Secret" if bound.secret_uid else "bound to no Secret")
    # 11. The credential exists, and is not denied.
    check_current(bound, rules, now_unix)
    return bound


def check_current(claims: BoundClaims, rules: Rules, now_unix: float) -> None:
    """Check what can change during a review: expiry, and what is published. Raises RefusedError."""
    if int(now_unix) > claims.expires_unix + SKEW_SECONDS:
        raise RefusedError(Reason.EXPIRED)
    if rules.published is None:
        return
    denials = rules.published.denials
    if denials.is_closed(now_unix):
        raise RefusedError(Reason.UNKNOWN)
    objects = (claims.secret_uid, claims.service_account_uid)
    if denials.denies(token=claims.jti, objects=objects, namespace=claims.namespace):
        raise RefusedError(Reason.DENIED)
    match rules.published.find(claims.credential_uid, now_unix):
        case Presence.CLOSED:
            raise RefusedError(Reason.UNKNOWN)
        case Presence.UNKNOWN:
            raise RefusedError(Reason.UNKNOWN_CREDENTIAL)
        case Presence.EXISTS:
            return


def check_review(claims: BoundClaims, rules: Rules, review: Review) -> None:
    """Check the API server's result for a token with these claims. Raises RefusedError."""
    # 12. The TokenReview. Its user is compared too: the API server authenticates a token that
    # begins with a space as system:anonymous.
    if not review.authenticated or review.user != claims.identity.user:
        raise RefusedError(Reason.REVIEW_REFUSED)
    if rules.audience not in review.audiences:
        raise RefusedError(Reason.REVIEW_AUDIENCE)


def _name(host: str) -> str:
    """Return a Host header in the form of `gate.hosts`: lower case, no port, no brackets."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _bearer(request: GateRequest) -> str:
    # Envoy joins several values into one, without empty ones.
    values = list(filter(None, request.authorizations))
    if not values:
        raise RefusedError(Reason.NO_TOKEN)
    if len(values) > 1 or not re.fullmatch(BEARER_JWT, values[0]):
        raise RefusedError(Reason.UNREADABLE)
    return values[0].removeprefix("Bearer ")


def _check_audience(claims: dict[str, Any], rules: Rules) -> None:
    found = claims.get("aud")  # Kubernetes always writes a list; RFC 7519 allows a single string
    audiences = found if isinstance(found, list) else [found]
    if rules.audience not in audiences:
        raise RefusedError(Reason.AUDIENCE)
    if any(audience != rules.audience for audience in audiences):
        raise RefusedError(Reason.SEVERAL_AUDIENCES)


def _check_times(claims: dict[str, Any], rules: Rules, now_unix: float) -> int:
    ends, begins = int(claims.get("exp", 0)), int(claims.get("nbf", 0))
    if not ends:
        raise RefusedError(Reason.NO_EXPIRY)
    # Whole seconds, as Envoy counts them.
    if int(now_unix) > ends + SKEW_SECONDS:
        raise RefusedError(Reason.EXPIRED)
    if int(now_unix) < begins - SKEW_SECONDS:
        raise RefusedError(Reason.NOT_YET_VALID)
    if ends - int(claims.get("iat", begins)) > rules.longest_lifetime_seconds:
        raise RefusedError(Reason.LIVES_TOO_LONG)
    return int(ends - now_unix)
