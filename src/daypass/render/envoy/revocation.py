"""The gate's list of the revoked: hashed lookups of UIDs and `jti` in Envoy's RBAC filter.

Four of the verified claims are put into filter state, which no client can write to and which ends
with the request, and are looked up there: one lookup each, however long the list is. (RBAC's own
list of policies is walked from its beginning, for each request.) The filter follows a file of its
own, so that open connections obey a new list at once.

Tokens that were issued longer ago than the longest lifetime are refused with them. They have ended,
or live for too long; but Envoy's `max_lifetime` counts from now on, so a token of a week would be
refused for six days and pass on the seventh: after the entry of its Secret has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from daypass.render.envoy.claims import claim_text
from daypass.render.envoy.matching import (
    action,
    all_of,
    first_of,
    has_claim,
    is_after,
    state_input,
)
from daypass.render.envoy.refusals import refusal_replies, refuse
from daypass.render.envoy.typed import Json, extension, typed
from daypass.spec.reasons import Reason

REVOKED = "revoked"

_CLAIMS = {
    "secrets": ("kubernetes.io", "secret", "uid"),
    "service_accounts": ("kubernetes.io", "serviceaccount", "uid"),
    "tokens": ("jti",),
    "namespaces": ("kubernetes.io", "namespace"),
}
_NOTHING: Mapping[str, tuple[str, ...]] = {}
_DENIED: Json = refuse(Reason.DENIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What is refused: UIDs of Secrets and ServiceAccounts, `jti`s of tokens, whole namespaces.

    `followed`: the namespaces that somebody looks at, and tokens of others are refused; None: all
    are looked at. `issued_after_unix`: tokens that were issued before are refused; with 0 nobody
    looks. `closed`: the rest as well, since nobody knows any more what else was revoked.
    `closed_after_unix`: the same from then on, unless another list comes before; with 0 never.

    Where the list is published in parts, the entries that change most stand by themselves.
    `settled`: UIDs that do not stand there; `settling`: those that do, and with the others as well.
    """

    secrets: Set[str] = frozenset()
    service_accounts: Set[str] = frozenset()
    tokens: Set[str] = frozenset()
    namespaces: Set[str] = frozenset()
    followed: Set[str] | None = None
    issued_after_unix: int = 0
    closed: bool = False
    closed_after_unix: int = 0
    settled: Set[str] = frozenset()
    settling: Set[str] = frozenset()


def claims_filter(also: Mapping[str, tuple[str, ...]] = _NOTHING) -> Json:
    """The filter that keeps what is looked up; it stands after the one that verifies the claims.

    `also`: more claims to keep, by the name of the state.
    """
    kept = {_key(name): keys for name, keys in _CLAIMS.items()} | dict(also)
    return set_filter_state({state: claim_text(*keys) for state, keys in kept.items()})


def set_filter_state(kept: Mapping[str, str]) -> Json:
    """A filter that keeps texts for the request's time; `kept`: formats by the state's name."""
    return extension(
        "envoy.filters.http.set_filter_state",
        "extensions.filters.http.set_filter_state.v3.Config",
        on_request_headers=[
            {
                "object_key": state,
                "factory_key": "envoy.string",
                "format_string": {
                    "text_format_source": {"inline_string": text},
                    "omit_empty_values": True,
                },
            }
            for state, text in kept.items()
        ],
    )


def revocation(revoked: Revoked) -> Json:
    """Envoy's RBAC config for a list; what no lookup finds comes to its last line."""
    passing = action("daypass-not-revoked", "ALLOW")
    # Whoever shows no token of the cluster is somebody else's to judge.
    is_ours, unknown = has_claim(["iss"]), refuse(Reason.UNKNOWN)
    unseen = first_of([(is_ours, unknown)], passing)
    if revoked.closed:
        matcher = unseen
    elif revoked.followed is None:
        matcher = passing
    else:
        matcher = _lookup("namespaces", revoked.followed, unseen, found=passing)
    for name in _CLAIMS:
        matcher = _lookup(name, getattr(revoked, name), matcher)
    if revoked.issued_after_unix:
        before = {"start": -(2.0**53), "end": float(revoked.issued_after_unix)}
        is_old = has_claim(["iat"], {"double_match": {"range": before}})
        matcher = first_of([(is_old, refuse(Reason.LIVES_TOO_LONG))], matcher)
    if revoked.closed_after_unix:
        late = all_of(is_ours, is_after(revoked.closed_after_unix))
        matcher = first_of([(late, unknown)], matcher)
    # Envoy takes a matcher here, and no action alone.
    whole = matcher.get("matcher", {"on_no_match": matcher})
    return typed("extensions.filters.http.rbac.v3.RBAC", matcher=whole)


def revocation_following_filter(source: Json) -> Json:
    """The filter as one that follows a file. Without the file every request is refused."""
    return {
        "name": REVOKED,
        "config_discovery": {
            "config_source": source,
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"],
        },
    }


def revocation_replies(audience: str) -> list[Json]:
    """What the refused are told, as mappers of local replies."""
    return refusal_replies((Reason.LIVES_TOO_LONG, Reason.DENIED, Reason.UNKNOWN), audience)


def _lookup(name: str, values: Set[str], otherwise: Json, found: Json = _DENIED) -> Json:
    """Refuse those whose value is among `values`, in front of what happens otherwise."""
    if not values:  # Envoy takes no empty map
        return otherwise
    tree = {
        "input": state_input(_key(name)),
        "exact_match_map": {"map": dict.fromkeys(sorted(values), found)},
    }
    return {"matcher": {"matcher_tree": tree, "on_no_match": otherwise}}


def _key(name: str) -> str:
    return f"daypass.{name}"
