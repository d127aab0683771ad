"""The gate's HTTP filters for the authorizer (`check: review`).

The authorizer gets only what `token_rules` accepts. Its own refusals are passed on unchanged.
Without a response from it, the gate refuses with 503. A response that names neither a user to pass
nor a reason to refuse is none: something else responds at its address.
"""

from __future__ import annotations

from collections.abc import Iterable

from daypass.render.envoy.replies import (
    cel_filter,
    code_filter,
    denial,
    has_details,
    refusal_reply,
    reply,
)
from daypass.render.envoy.xds import (
    RBAC,
    Json,
    action,
    duration,
    extension,
    first_of,
    has_header,
    is_not,
    protobuf_any,
)
from daypass.render.names import gate_prefix
from daypass.rules.claims import SERVICE_ACCOUNT_USER
from daypass.rules.decision import Rules
from daypass.rules.reasons import MESSAGES, REASON_HEADER, UNAVAILABLE, Reason

AUTHORIZER = "authorizer"
IDENTIFIED = "daypass-gate-identified"
NO_RBAC = protobuf_any("extensions.filters.http.rbac.v3.RBACPerRoute")
"""What a route sets for an RBAC filter that refuses nothing there."""
_FILTER = "envoy.filters.http.ext_authz"
_NOBODY = "daypass-nobody"
"""The policy by which a request without a user's name is refused."""
TIMEOUT_SECONDS = 2.0
"""The authorizer responds within half a second for each of two reviews, even if it can't decide."""
_CLIENT_HEADER = "x-envoy-external-address"
"""The client's address according to Envoy, which replaces a client's own header of this name."""


def asking_filter(
    gate_name: str,
    set_headers: tuple[str, ...],
    *,
    name: str = _FILTER,
    cluster: str = AUTHORIZER,
    uri: str = f"http://{AUTHORIZER}",
) -> Json:
    """Return an ext_authz filter.

    It sends the request's method, host, path, Authorization header and client address; no body. The
    path follows the prefix of the gate. `set_headers`: the identity headers that it takes from the
    authorizer's response.
    """
    returned = ["content-type", "www-authenticate", "retry-after", REASON_HEADER]
    return extension(
        name,
        "extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        http_service={
            "server_uri": {"uri": uri, "cluster": cluster, "timeout": duration(TIMEOUT_SECONDS)},
            "path_prefix": gate_prefix(gate_name),
            "authorization_response": {
                "allowed_upstream_headers": _exactly(set_headers),
                "allowed_client_headers": _exactly(returned),
            },
        },
        allowed_headers=_exactly(["authorization", _CLIENT_HEADER]),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
    )


def identified_filter(user_header: str) -> Json:
    """Return the filter after the authorizer: it refuses what passed without a user's name."""
    nobody = is_not(has_header(user_header, SERVICE_ACCOUNT_USER))
    passes = action("daypass-identified", "ALLOW")
    return extension(IDENTIFIED, RBAC, **first_of([(nobody, action(_NOBODY, "DENY"))], passes))


def without_authorizer() -> Json:
    """Return the `typed_per_filter_config` of a route that does not ask the authorizer."""
    message = "extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    return {_FILTER: protobuf_any(message, disabled=True), IDENTIFIED: NO_RBAC}


def authorizer_replies(rules: Rules, where: str = "true") -> list[Json]:
    """Return mappers that pass on the authorizer's refusals, and replace all else that fails.

    Envoy does not ask about a request without a route. Where the authorizer decides about models,
    it is refused as one for a model that does not exist: nobody learns which have routes.

    `where`: a CEL condition for requests that this authorizer gets; a gateway may have others.
    """
    nobody = has_details(denial(_NOBODY))
    not_asked = f"{nobody} && !has(xds.route_name)"
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
        *([refusal_reply(Reason.MODEL, rules.audience, not_asked)] if rules.authorize else ()),
        refusal_reply(Reason.UNKNOWN, rules.audience, nobody),
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
