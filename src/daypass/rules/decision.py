"""The decision in numbered steps: from a request and what is known, to allowed or a reason.

`decide` is what `gate explain` shows step by step, and the oracle that all engines are tested
against. The authorizer runs the same checks in parts: `check_claims` when a request arrives,
`check_expiry_and_revocation` and `check_token_review` after its TokenReview, `check_model` after
its SubjectAccessReviews. All are pure: the caller passes the time, whether the signature and the
TokenReview are good, which models exist, and what the caller may use.

Sources: k8s.io/kubernetes/pkg/serviceaccount/claims.go (claims of a bound token),
k8s.io/api/authentication/v1 TokenReview (its caller has to check status.audiences), RFC 7519.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.net import bracketed
from daypass.rules.claims import (
    ALGORITHMS,
    BEARER_JWT,
    LONG_LIVED_ISSUER,
    LONGEST_TOKEN_CHARACTERS,
    SKEW_SECONDS,
    Bound,
    BoundClaims,
    CallerIdentity,
    bound_claims,
    has_registered_types,
)
from daypass.rules.models import (
    Access,
    ModelRule,
    NamesIn,
    UnknownModelsError,
    may_mean_models,
    needed_accesses,
)
from daypass.rules.patterns import (
    EVERY_HOST,
    LONGEST_HOST,
    HostPattern,
    Place,
    is_plain_path,
)
from daypass.rules.published import Presence, Published
from daypass.rules.reasons import Reason

_BEARER = re.compile(BEARER_JWT)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """A request. `path`: with its query. `authorizations`: the values of its Authorization headers,
    in order. `model_header`: whether it has one of MODEL_HEADERS.
    """

    host: str
    path: str = "/"
    authorizations: tuple[str, ...] = ()
    model_header: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Who may pass: the ServiceAccounts of these namespaces, and these, as NAMESPACE/NAME."""

    namespaces: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()

    def has(self, namespace: str, account: str) -> bool:
        """Return whether a ServiceAccount may pass."""
        return namespace in self.namespaces or f"{namespace}/{account}" in self.identities


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the gate requires of a request and its token.

    `audience` opens all that the gate guards, each of `audiences` its own places. `bound`: what a
    token may be bound to. `allow`: who may pass; None for everybody. `authorize`: which requests
    need access to a model. `published`: the credentials that exist, and denials by hand; None if
    they are not checked.
    """

    hosts: tuple[HostPattern, ...]
    issuer: str
    audience: str
    longest_lifetime_seconds: int
    audiences: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    bound: frozenset[Bound] = frozenset({Bound.SECRET})
    allow: Allow | None = None
    authorize: tuple[ModelRule, ...] = ()
    published: Published | None = None

    @property
    def reads_paths(self) -> bool:
        """Whether the path of a request matters, so that everybody has to read it alike."""
        return bool(self.audiences or self.authorize)

    @property
    def is_strict(self) -> bool:
        """Whether a Host header must have the one form that every proxy reads alike. At a gate of
        names alone, each spelling of a name leads to the same routes.
        """
        return self.reads_paths or any(
            len(each.forms) > 1 or not each.is_literal for each in self.hosts
        )

    @property
    def guards_every_host(self) -> bool:
        """Whether it guards every host, by any name."""
        return any(host.text == EVERY_HOST for host in self.hosts)

    def guards(self, host: str) -> bool:
        """Return whether the gate guards this host."""
        if self.is_strict:
            return len(host) <= LONGEST_HOST and any(each.matches(host) for each in self.hosts)
        # What follows the last colon is in place of a port, whatever it is: so Envoy has it
        # (source/common/http/header_utility.cc, getPortStart).
        name, colon, port = host.lower().rpartition(":")
        name = name if colon and "]" not in port else host.lower()
        return name in (bracketed(each.text) for each in self.hosts)

    def opens(self, audience: str, host: str, path: str) -> bool:
        """Return whether tokens for one of the gate's audiences open a host and a path."""
        return audience == self.audience or any(
            place.has(host, path) for place in self.audiences[audience]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReview:
    """The result of a TokenReview with the gate's audience."""

    authenticated: bool
    user: str = ""
    audiences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision. `found`: the result of each step that passed. `unknown`: the facts that could
    change it. `is_refused`: by a fact that is known. `identity`: set only if it is allowed.
    """

    reason: Reason
    found: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_refused: bool = False
    identity: CallerIdentity | None = None

    @property
    def is_allowed(self) -> bool:
        """Whether the request passes the gate."""
        return self.reason is Reason.ALLOWED


_NOT_CHECKED = "not checked"
UNKNOWN_SIGNATURE = "the signature (no keys were given)"
UNKNOWN_CREDENTIAL = "whether its credential exists, and is not denied"
UNKNOWN_POD = "whether its Pod exists (the gate asks with a TokenReview)"
UNKNOWN_MODELS = "which models host and path mean, and whether its caller may use them"
May: TypeAlias = Callable[[CallerIdentity, Access], bool | None]
"""Returns whether a caller has an access; None if that is unknown."""
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
    token_review: TokenReview | None = None,
    names_in: NamesIn | None = None,
    may: May = lambda *_: None,
) -> Decision:
    """Return whether a request passes the gate, the identity of its caller, and what is not known.

    Each fact may be unknown (None), and each that is known has to be good. `signed`: whether a key
    of the API server signed the token. `token_review`: its result. `names_in`: which models
    exist. `may`: whether the caller has an access.
    """
    found = list[str]()
    unknown = [UNKNOWN_SIGNATURE] if signed is None and token_review is None else []
    unknown += [UNKNOWN_CREDENTIAL] if rules.published is None else []
    try:
        claims = check_claims(
            request, rules, now_unix, signed=lambda _: signed, passed=found.append
        )
        is_there = "its credential exists, and nothing is denied"
        found.append(_NOT_CHECKED if rules.published is None else is_there)
        if token_review is not None:
            check_token_review(claims, token_review)
            found.append("TokenReview accepted, for this audience")
        else:
            unknown += [UNKNOWN_POD] if claims.bound is Bound.POD else []
            found.append("no TokenReview")
        unasked = _check_models(request, rules, names_in, partial(may, claims.identity), found)
    except RefusedError as refused:
        facts = tuple(unknown)
        return Decision(reason=refused.reason, found=tuple(found), unknown=facts, is_refused=True)
    is_known = UNKNOWN_SIGNATURE not in unknown and unasked in ([], [UNKNOWN_MODELS])
    return Decision(
        reason=Reason.ALLOWED if is_known else Reason.UNKNOWN,
        found=tuple(found),
        unknown=(*unknown, *unasked),
        identity=claims.identity if is_known else None,
    )


def _check_models(
    request: GateRequest,
    rules: Rules,
    names_in: NamesIn | None,
    may: Callable[[Access], bool | None],
    found: list[str],
) -> list[str]:
    """Check the models that a request may mean, and add the step to `found`. Return what of them is
    unknown. Raises RefusedError.
    """
    place = rules.authorize, request.host, request.path
    try:
        needed = None if names_in is None else needed_accesses(*place, names_in)
    except UnknownModelsError:
        names_in = needed = None
    if needed is None:
        unknown = [UNKNOWN_MODELS] if names_in is None and may_mean_models(*place) else []
        found.append(_NOT_CHECKED if unknown else "it needs no model")
        return unknown
    answers = {access: may(access) for access in needed}
    if None in answers.values() and False not in answers.values():
        unasked = sorted(access for access, answer in answers.items() if answer is None)
        return [f"whether its caller may {each.verb} {each.model}" for each in unasked]
    check_model(needed, answers.get)
    models = sorted(f"{each.model.namespace}/{each.model.name}" for each in needed)
    found.append(f"its caller may use {' and '.join(models)}")
    return []


def check_claims(
    request: GateRequest,
    rules: Rules,
    now_unix: float,
    *,
    signed: Signed,
    passed: Callable[[str], None] = lambda _: None,
) -> BoundClaims:
    """Check everything that needs neither TokenReview nor models; `passed` gets each step. Raises
    RefusedError, and what `signed` raises.
    """
    # 1. The gate guards this host.
    if not rules.guards(request.host):
        raise RefusedError(Reason.NOT_GUARDED)
    passed("the gate guards this host")
    # 2. Where the path matters: it has one reading, and no header chooses a model past it.
    if rules.reads_paths and (request.model_header or not is_plain_path(request.path)):
        raise RefusedError(Reason.AMBIGUOUS)
    passed("all read its path alike" if rules.reads_paths else "its path does not matter")
    # 3. One Authorization header, in the one form that every parser reads alike.
    token = _bearer(request)
    passed("one Authorization header, with a bearer token and nothing else")
    # 4. A JSON Web Token.
    if len(token) > LONGEST_TOKEN_CHARACTERS:
        raise RefusedError(Reason.MALFORMED)
    try:
        header, claims = decode_unverified(token)
    except MalformedTokenError:
        raise RefusedError(Reason.MALFORMED) from None
    if not has_registered_types(header, claims):
        raise RefusedError(Reason.MALFORMED)
    passed("a JSON Web Token")
    # 5. The cluster issued it.
    if claims.get("iss") == LONG_LIVED_ISSUER:
        raise RefusedError(Reason.LONG_LIVED)
    if claims.get("iss") != rules.issuer:
        raise RefusedError(Reason.FOREIGN_ISSUER)
    passed(f"issued by {rules.issuer}")
    # 6. The algorithm is one that an API server signs with: never `none`, never a shared secret.
    if header.get("alg") not in ALGORITHMS:
        raise RefusedError(Reason.ALGORITHM)
    passed(f"signed with {header['alg']}")
    # 7. The signature, if it was checked.
    is_signed = signed(token)
    if is_signed is False:
        raise RefusedError(Reason.SIGNATURE)
    passed("signed by a key of the API server" if is_signed else _NOT_CHECKED)
    # 8. An audience of the gate, and no other, which opens this host and path.
    audience = _check_audience(claims, rules)
    if not rules.opens(audience, request.host, request.path):
        raise RefusedError(Reason.AUDIENCE_OPENING)
    passed(f"made for {audience} alone")
    # 9. Valid now, with bounded skew, and for no longer than the longest lifetime.
    passed(f"valid for {_check_times(claims, rules, now_unix)} more seconds")
    # 10. A ServiceAccount.
    bound = bound_claims(claims, audience)
    if bound is None:
        raise RefusedError(Reason.SUBJECT)
    passed(bound.identity.user)
    # 11. One that may pass this gate.
    if rules.allow is not None and not rules.allow.has(bound.namespace, bound.account):
        raise RefusedError(Reason.NOT_ALLOWED)
    passed("every ServiceAccount may pass" if rules.allow is None else "it may pass")
    # 12. It is bound to what the gate accepts, so that it can be revoked.
    if bound.bound not in rules.bound:
        raise RefusedError(Reason.UNBOUND)
    if bound.bound is not Bound.POD and not bound.credential:
        raise RefusedError(Reason.UNKNOWN_CREDENTIAL)
    passed("bound to nothing" if bound.bound is Bound.NONE else f"bound to a {bound.bound}")
    # 13. The credential exists, is this ServiceAccount's own, and is not denied.
    check_expiry_and_revocation(bound, rules, now_unix)
    return bound


def check_expiry_and_revocation(claims: BoundClaims, rules: Rules, now_unix: float) -> None:
    """Check what can change during a review: expiry, and what is published. Raises RefusedError."""
    if int(now_unix) > claims.expires_unix + SKEW_SECONDS:
        raise RefusedError(Reason.EXPIRED)
    if rules.published is None:
        return
    denials = rules.published.denials
    if denials.is_closed(now_unix):
        raise RefusedError(Reason.UNKNOWN)
    objects = (claims.bound_uid, claims.service_account_uid)
    if denials.denies(token=claims.jti, objects=objects, namespace=claims.namespace):
        raise RefusedError(Reason.DENIED)
    if claims.bound is Bound.POD:  # only TokenReview knows whether it exists
        return
    presence = rules.published.find(claims.credential, now_unix)
    if presence is Presence.CLOSED:
        raise RefusedError(Reason.UNKNOWN)
    if presence is Presence.ABSENT:
        raise RefusedError(Reason.UNKNOWN_CREDENTIAL)


def check_token_review(claims: BoundClaims, review: TokenReview) -> None:
    """Check the API server's result for a token with these claims. Raises RefusedError."""
    # 14. The TokenReview. Its user is compared too: the API server authenticates a token that
    # begins with a space as system:anonymous.
    if not review.authenticated or review.user != claims.identity.user:
        raise RefusedError(Reason.REVIEW_REFUSED)
    if claims.audience not in review.audiences:
        raise RefusedError(Reason.REVIEW_AUDIENCE)


def check_model(needed: Iterable[Access], may: Callable[[Access], bool | None]) -> None:
    """Check the accesses that a request needs, of `needed_accesses`. `may`: whether its caller
    has one; None: unknown. Raises RefusedError.
    """
    # 15. The model exists, and the caller may use it: every one that host and path may mean.
    answers = [may(access) and access.exists for access in needed]
    if not answers or False in answers:
        raise RefusedError(Reason.MODEL)
    if not all(answers):
        raise RefusedError(Reason.UNKNOWN)


def _bearer(request: GateRequest) -> str:
    # Envoy joins several values into one, without empty ones.
    values = list(filter(None, request.authorizations))
    if not values:
        raise RefusedError(Reason.NO_TOKEN)
    if len(values) > 1 or not _BEARER.fullmatch(values[0]):
        raise RefusedError(Reason.UNREADABLE)
    return values[0].removeprefix("Bearer ")


def _check_audience(claims: dict[str, Any], rules: Rules) -> str:
    found = claims.get("aud")  # Kubernetes always writes a list; RFC 7519 allows a single string
    audiences = set(found if isinstance(found, list) else [found])
    if audiences.isdisjoint((rules.audience, *rules.audiences)):
        raise RefusedError(Reason.AUDIENCE)
    if len(audiences) > 1:
        raise RefusedError(Reason.SEVERAL_AUDIENCES)
    return str(audiences.pop())


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
