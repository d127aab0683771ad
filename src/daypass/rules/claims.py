"""The claims of a token: what the cluster writes into its own, and what the rules read of them.

Sources: k8s.io/kubernetes/pkg/serviceaccount/claims.go (bound tokens), RFC 7515 and RFC 7519.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daypass.rules.published import credential_of, is_credential

_BASE64URL = "[A-Za-z0-9_-]"
_LAST = f"{_BASE64URL}(?:[AQgw]|{_BASE64URL}[AEIMQUYcgkosw048]|{_BASE64URL}{{3}})"
_SIGNATURE = f"(?:{_BASE64URL}{{8}})*(?:{_BASE64URL}{{4}})?{_LAST}"
BEARER_JWT = rf"Bearer {_BASE64URL}+\.{_BASE64URL}+\.{_SIGNATURE}"
"""Exactly one scheme, one space, one JWT. The API server accepts the scheme in any case and ignores
what follows the token; two spaces or a tab make the request anonymous there. It and a proxy must
never read the header differently, so only the form that all read alike passes.

The bits that are left over at the end of the signature are zero. Decoders ignore them: a token
would have up to 16 forms, each with a place in every cache."""

LONGEST_TOKEN_CHARACTERS = 8 * 1024
"""The API server's are shorter, since names have at most 253 characters. To verify a forged token
takes longer, the longer it is."""

SERVICE_ACCOUNT_USER = r"system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+"
"""`sub` of a ServiceAccount's token. The API server has checked the lengths."""
_USER = re.compile(SERVICE_ACCOUNT_USER)

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
"""The algorithms of kube-apiserver (pkg/serviceaccount/jwt.go); none is symmetric."""

LONG_LIVED_ISSUER = "kubernetes/serviceaccount"
"""`iss` of the token in a Secret of type kubernetes.io/service-account-token."""

SKEW_SECONDS = 10
"""How far the clocks of the API server and of the gate may differ."""


class Bound(StrEnum):
    """What a token is bound to: it is valid as long as that exists."""

    SECRET = "Secret"  # noqa: S105 - a kind
    """The Secret of a long-lived token, or the anchor of a federated identity."""
    POD = "Pod"
    """The Pod that it was projected into."""
    NONE = "none"
    """Nothing other than its ServiceAccount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity:
    """The caller's identity for the services behind the gate."""

    user: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundClaims:
    """The claims of a token that passed `check_claims`, for the checks that follow.

    UIDs and `jti` are "" if the token has none. `bound`: None if it is bound to a Node, or cannot
    be read. `bound_uid`: of the Secret or Pod that it is bound to. `credential`: what has to be in
    the published set; "" if a UID of it is missing or malformed, and for a Pod's token, which
    needs none: TokenReview decides.
    """

    identity: CallerIdentity
    expires_unix: int
    audience: str
    namespace: str
    account: str
    bound: Bound | None
    bound_uid: str
    service_account_uid: str
    jti: str
    credential: str


def has_registered_types(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Return whether registered claims have their types (RFC 7515, RFC 7519), as Envoy requires."""
    texts = [header.get("alg"), header.get("kid", "")]
    texts += [claims.get(name, "") for name in ("iss", "sub", "jti")]
    audiences = claims.get("aud", [])
    texts += audiences if isinstance(audiences, list) else [audiences]
    times = [claims.get(name, 0) for name in ("exp", "nbf", "iat")]
    return all(isinstance(text, str) for text in texts) and all(
        isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 2**64
        for time in times
    )


def bound_claims(claims: dict[str, Any], audience: str) -> BoundClaims | None:
    """Return the claims of a ServiceAccount's token with an expiry; None for other subjects."""
    subject, kubernetes = claims.get("sub"), claims.get("kubernetes.io")
    if subject is None or not _USER.fullmatch(subject):
        return None
    _, _, namespace, account = subject.split(":")
    if not isinstance(kubernetes, dict) or kubernetes.get("namespace") != namespace:
        return None
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    bound, account_uid = bound_to(kubernetes), _uid(kubernetes.get("serviceaccount"))
    bound_uid = "" if bound is None else _uid(kubernetes.get(bound.lower()))
    pair = credential_of(account_uid if bound is Bound.NONE else bound_uid, account_uid)
    return BoundClaims(
        identity=CallerIdentity(user=subject, groups=(*groups, "system:authenticated")),
        expires_unix=int(claims["exp"]),
        audience=audience,
        namespace=namespace,
        account=account,
        bound=bound,
        bound_uid=bound_uid,
        service_account_uid=account_uid,
        jti=claims.get("jti", ""),
        credential=pair if bound in (Bound.SECRET, Bound.NONE) and is_credential(pair) else "",
    )


def bound_to(kubernetes: dict[str, Any]) -> Bound | None:
    """Return what a token is bound to, by its claim `kubernetes.io`; None for a Node."""
    if "secret" in kubernetes:
        return Bound.SECRET if _uid(kubernetes["secret"]) else None
    if "pod" in kubernetes:  # whose node is a claim, too
        return Bound.POD
    return None if "node" in kubernetes else Bound.NONE


def _uid(bound: object) -> str:
    uid = bound.get("uid") if isinstance(bound, dict) else None
    return uid if isinstance(uid, str) else ""
