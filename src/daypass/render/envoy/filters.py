"""The gate's HTTP filters for the authorizer (`check: review` and `both`) and for revocation.

**Authorizer.** With `review` it alone decides. With `both` the native check comes first, and the
authorizer gets only what that allows. Its own refusals are passed on unchanged. Without a response
from it, the gate refuses with 503. A response that names neither a user to pass nor a reason to
refuse is none: something else responds at its address.

**Revocation.** Four verified claims are copied to filter state, which no client can write to and
which ends with the request, and are looked up in hash maps: the cost does not depend on the list's
length (RBAC would walk a list of policies from its start, for each request). The filter watches a
file of its own, so a new list applies to open connections at once.

Tokens that were issued longer ago than the longest lifetime are refused, too. They have expired or
have too long a lifetime; but Envoy's `max_lifetime` counts from now on, so a token of a week would
be refused for six days and pass on the seventh, after the entry of its Secret has expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from daypass._core.reasons import MESSAGES, REASON_HEADER, Reason
from daypass.config.exposure import SERVICE_ACCOUNT_USER
from daypass.render.envoy.matching import (
    USER_STATE,
    action,
    all_of,
    claim_text,
    first_of,
    has_claim,
    has_header,
    is_after,
    is_not,
    marking,
    only_where,
    state_input,
)
from daypass.render.envoy.protobuf_any import Json, duration, extension, protobuf_any
from daypass.render.envoy.replies import cel_filter, code_filter, refuse, reply

AUTHORIZER = "authorizer"
IDENTIFIED = "daypass.identified"
_FILTER = "envoy.filters.http.ext_authz"
UNAVAILABLE = 429
"""The authorizer's HTTP code in place of 503: Envoy takes a 503 for a failure of the authorizer and
drops its message and Retry-After. A mapper turns it back into 503.
"""
TIMEOUT_SECONDS = 2.0
"""The authorizer responds within half a second, even if it can't decide."""
_CLIENT_HEADER = "x-envoy-external-address"
"""The client's address according to Envoy, which replaces a client's own header of this name."""


def asking_filter(
    set_headers: tuple[str, ...],
    *,
    name: str = _FILTER,
    cluster: str = AUTHORIZER,
    uri: str = f"http://{AUTHORIZER}",
) -> Json:
    """Return an ext_authz filter.

    It sends the request's method, host, path, Authorization header and client address; no body.
    `set_headers`: the identity headers that it takes from the authorizer's response.
    """
    returned = ["content-type", "www-authenticate", "retry-after", REASON_HEADER]
    return extension(
        name,
        "extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        http_service={
            "server_uri": {"uri": uri, "cluster": cluster, "timeout": duration(TIMEOUT_SECONDS)},
            "authorization_response": {
                "allowed_upstream_headers": _exactly(set_headers),
                "allowed_client_headers": _exactly(returned),
            },
        },
        allowed_headers=_exactly(["authorization", _CLIENT_HEADER]),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
    )


def identified(user_header: str) -> Json:
    """Return what RBAC does after the authorizer: refuse what passed without a user's name."""
    nobody = is_not(has_header(user_header, SERVICE_ACCOUNT_USER))
    return first_of([(nobody, refuse(Reason.UNKNOWN))], action("daypass-identified", "ALLOW"))


def with_authorizer(user_header: str) -> Json:
    """Return the `typed_per_filter_config` of a route that passes on what the authorizer allows."""
    message = "extensions.filters.http.rbac.v3.RBACPerRoute"
    return {IDENTIFIED: protobuf_any(message, rbac=identified(user_header))}


def without_authorizer() -> Json:
    """Return the `typed_per_filter_config` of a route that does not ask the authorizer."""
    message = "extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    return {_FILTER: protobuf_any(message, disabled=True)}


def authorizer_replies(where: str = "true") -> list[Json]:
    """Return mappers that pass on the authorizer's refusals, and replace all else that fails.

    `where`: a CEL condition for requests that this authorizer gets; a gateway may have others.
    """
    unchanged = {
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        }
    }
    failed = f"response.code_details in ['ext_authz_denied', 'ext_authz_error'] && {where}"
    denied = cel_filter(f"'{REASON_HEADER}' in response.headers && {failed}")
    unavailable = {"and_filter": {"filters": [denied, code_filter("EQ", UNAVAILABLE)]}}
    return [
        {**unchanged, "filter": unavailable, "status_code": 503},
        {**unchanged, "filter": denied},
        {
            **reply(503, "ServiceUnavailable", MESSAGES[Reason.UNKNOWN], Reason.UNKNOWN),
            "filter": cel_filter(failed),
            "status_code": 503,
        },
    ]


def _exactly(names: Iterable[str]) -> Json:
    return {"patterns": [{"exact": name} for name in names]}


REVOKED = "revoked"

_CLAIMS = {
    "secrets": ("kubernetes.io", "secret", "uid"),
    "service_accounts": ("kubernetes.io", "serviceaccount", "uid"),
    "tokens": ("jti",),
    "namespaces": ("kubernetes.io", "namespace"),
}
_DENIED: Json = refuse(Reason.DENIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationSnapshot:
    """What the gate refuses: UIDs of Secrets and ServiceAccounts, `jti`s of tokens, and namespaces.

    - `watched_namespaces`: tokens of other namespaces are refused. None: all are watched.
    - `issued_after_unix`: tokens that were issued before are refused; 0: none are.
    - `closed`: every token is refused, since the list is out of date.
    - `closed_after_unix`: the same from then on, unless a new list arrives; 0: never.

    A list that is published in parts has its recent entries in the first part. `stable`: UIDs that
    are in other parts only. `compacting`: UIDs that are in both, while they move.
    """

    secrets: Set[str] = frozenset()
    service_accounts: Set[str] = frozenset()
    tokens: Set[str] = frozenset()
    namespaces: Set[str] = frozenset()
    watched_namespaces: Set[str] | None = None
    issued_after_unix: int = 0
    closed: bool = False
    closed_after_unix: int = 0
    stable: Set[str] = frozenset()
    compacting: Set[str] = frozenset()


def claims_filter(name: str = "daypass.claims") -> Json:
    """Return the filter that copies the looked-up claims and the user, once they are verified."""
    copied = {_key(name): keys for name, keys in _CLAIMS.items()} | {USER_STATE: ("sub",)}
    delegate = set_filter_state({state: claim_text(*keys) for state, keys in copied.items()})
    return only_where(has_claim(["iss"]), {**delegate, "name": name})


def set_filter_state(formats: Mapping[str, str], *, reroutes: bool = False) -> Json:
    """Return a filter that sets filter states, and may have the route chosen again.

    `formats`: their values, by name.
    """
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
            for state, text in formats.items()
        ],
        **({"clear_route_cache": True} if reroutes else {}),
    )


def revocation(revoked: RevocationSnapshot, name: str = REVOKED) -> Json:
    """Return Envoy's RBAC config for a list; `name`: of one of several lists.

    It refuses nothing: its result is a mark for later filters and routes.
    """
    passing = action("daypass-not-revoked", "ALLOW")
    # Requests without a token of the cluster pass on to the next filter.
    is_ours, unknown = has_claim(["iss"]), refuse(Reason.UNKNOWN)
    unseen = first_of([(is_ours, unknown)], passing)
    if revoked.closed:
        matcher = unseen
    elif revoked.watched_namespaces is None:
        matcher = passing
    else:
        matcher = _lookup("namespaces", revoked.watched_namespaces, unseen, found=passing)
    for claim_name in _CLAIMS:
        matcher = _lookup(claim_name, getattr(revoked, claim_name), matcher)
    if revoked.issued_after_unix:
        before = {"start": -(2.0**53), "end": float(revoked.issued_after_unix)}
        is_old = has_claim(["iat"], {"double_match": {"range": before}})
        matcher = first_of([(is_old, refuse(Reason.LIVES_TOO_LONG))], matcher)
    if revoked.closed_after_unix:
        late = all_of(is_ours, is_after(revoked.closed_after_unix))
        matcher = first_of([(late, unknown)], matcher)
    # Envoy needs a matcher here, not an action alone.
    whole = matcher.get("matcher", {"on_no_match": matcher})
    return marking(name, whole)


REVOKED_REASONS = (Reason.LIVES_TOO_LONG, Reason.DENIED, Reason.UNKNOWN)
"""Why the list refuses a token: it is on it, may outlive its entry, or the list is not current."""


def _lookup(name: str, values: Set[str], otherwise: Json, found: Json = _DENIED) -> Json:
    """Return a matcher for requests whose state is among `values`, and for all others."""
    if not values:  # Envoy rejects an empty map
        return otherwise
    tree = {
        "input": state_input(_key(name)),
        "exact_match_map": {"map": dict.fromkeys(sorted(values), found)},
    }
    return {"matcher": {"matcher_tree": tree, "on_no_match": otherwise}}


def _key(name: str) -> str:
    return f"daypass.{name}"
