"""`check: review` and `both` on Envoy: the authorizer is asked, and decides.

With `review` it alone decides, and one route leads on. With `both` the native check comes first, so
that the authorizer is asked only about what that lets through. What the authorizer does not answer
is refused with 503; its refusals are passed on as they are.

The gate's list of the revoked: hashed lookups of UIDs and `jti` in Envoy's RBAC filter.

Four of the verified claims are put into filter state, which no client can write to and which ends
with the request, and are looked up there: one lookup each, however long the list is. (RBAC's own
list of policies is walked from its beginning, for each request.) The filter follows a file of its
own, so that open connections obey a new list at once.

Tokens that were issued longer ago than the longest lifetime are refused with them. They have ended,
or live for too long; but Envoy's `max_lifetime` counts from now on, so a token of a week would be
refused for six days and pass on the seventh: after the entry of its Secret has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from daypass._core.reasons import MESSAGES, Reason
from daypass.render.envoy.claims import claim_text
from daypass.render.envoy.matching import (
    action,
    all_of,
    first_of,
    has_claim,
    is_after,
    state_input,
)
from daypass.render.envoy.protobuf_any import (
    Json,
    connection_limits,
    duration,
    extension,
    protobuf_any,
)
from daypass.render.envoy.replies import code_filter, refusal_replies, refuse, reply
from daypass.render.envoy.settings import GateSettings

AUTHORIZER = "authorizer"
FILTER = "envoy.filters.http.ext_authz"
UNAVAILABLE = 429
"""What the authorizer says over HTTP in place of 503, which Envoy would take for a failure of the
authorizer's own, dropping its words and Retry-After; a mapper makes a 503 of it again.
"""
TIMEOUT_SECONDS = 2.0
"""The authorizer answers within half a second, also where it does not know."""
CLIENT_HEADER = "x-envoy-external-address"
"""Who the client is, as Envoy knows it; what a client itself says under this name is replaced."""


def authorizer_filter(settings: GateSettings) -> Json:
    """The filter that asks the authorizer of this machine."""
    return asking_filter((settings.user_header, settings.groups_header))


def asking_filter(
    set_headers: tuple[str, ...],
    *,
    name: str = FILTER,
    cluster: str = AUTHORIZER,
    uri: str = f"http://{AUTHORIZER}",
) -> Json:
    """A filter that asks. Of the request it sends the method, the host, the path, the
    Authorization header and where it comes from; no body. `set_headers`: what the authorizer says
    about who calls.
    """
    told = ["content-type", "www-authenticate", "retry-after"]
    return extension(
        name,
        "extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        http_service={
            "server_uri": {"uri": uri, "cluster": cluster, "timeout": duration(TIMEOUT_SECONDS)},
            "authorization_response": {
                "allowed_upstream_headers": _exactly(set_headers),
                "allowed_client_headers": _exactly(told),
            },
        },
        allowed_headers=_exactly(["authorization", CLIENT_HEADER]),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
    )


def without_authorizer() -> Json:
    """`typed_per_filter_config` of a route that refuses by itself."""
    message = "extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    return {FILTER: protobuf_any(message, disabled=True)}


def authorizer_replies(where: str = "true") -> list[Json]:
    """Mappers of local replies: what the authorizer said, and what is said in its place.

    `where`: in CEL, which requests the authorizer is asked about; others have authorizers, too.
    """
    said = {
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        }
    }
    denied, failed = _details("ext_authz_denied", where), _details("ext_authz_error", where)
    return [
        {**said, "filter": _both(denied, code_filter("EQ", UNAVAILABLE)), "status_code": 503},
        {**said, "filter": denied},
        {**reply(503, "ServiceUnavailable", MESSAGES[Reason.UNKNOWN]), "filter": failed},
    ]


def authorizer_cluster(settings: GateSettings) -> Json:
    """The authorizer, at its Unix socket."""
    where = {"pipe": {"path": settings.authorizer_socket}}
    return {
        "name": AUTHORIZER,
        "type": "STATIC",
        "connect_timeout": duration(settings.timeouts.connect_seconds),
        **connection_limits(settings.timeouts),
        "load_assignment": {
            "cluster_name": AUTHORIZER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
    }


def _exactly(names: Iterable[str]) -> Json:
    return {"patterns": [{"exact": name} for name in names]}


def _both(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _details(details: str, where: str) -> Json:
    asked = extension(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"response.code_details == '{details}' && {where}",
    )
    return {"extension_filter": asked}


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
class RevocationSnapshot:
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


def revocation(revoked: RevocationSnapshot) -> Json:
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
    return protobuf_any("extensions.filters.http.rbac.v3.RBAC", matcher=whole)


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
