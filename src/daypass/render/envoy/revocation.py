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

from collections.abc import Set
from dataclasses import dataclass

from daypass.render.envoy.claims import JWT_FILTER, claim_path, claim_text
from daypass.render.envoy.replies import reply
from daypass.render.envoy.typed import Json, extension, typed

REVOKED = "revoked"
DENIED_MESSAGE = "this token was revoked"
LIVES_TOO_LONG_MESSAGE = "this token lives longer than the gate takes"
CLOSED_MESSAGE = "the API server could not be asked about this token"

_CLAIMS = {
    "secrets": ("kubernetes.io", "secret", "uid"),
    "service_accounts": ("kubernetes.io", "serviceaccount", "uid"),
    "tokens": ("jti",),
    "namespaces": ("kubernetes.io", "namespace"),
}
# On a gateway that others configure as well, these names are told apart from theirs.
_LIVES_TOO_LONG, _DENIED, _CLOSED, _OPEN = (
    f"daypass-{name}" for name in ("lives-too-long", "denied", "closed", "open")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What is refused: UIDs of Secrets and ServiceAccounts, `jti`s of tokens, whole namespaces.

    `issued_after_unix`: tokens that were issued before are refused; with 0 nobody looks. `closed`:
    the rest as well, since nobody knows any more what else was revoked.
    """

    secrets: Set[str] = frozenset()
    service_accounts: Set[str] = frozenset()
    tokens: Set[str] = frozenset()
    namespaces: Set[str] = frozenset()
    issued_after_unix: int = 0
    closed: bool = False


def claims_filter() -> Json:
    """The filter that keeps what is looked up; it stands after the one that verifies the claims."""
    return extension(
        "envoy.filters.http.set_filter_state",
        "extensions.filters.http.set_filter_state.v3.Config",
        on_request_headers=[
            {
                "object_key": _key(name),
                "factory_key": "envoy.string",
                "format_string": {
                    "text_format_source": {"inline_string": claim_text(*keys)},
                    "omit_empty_values": True,
                },
            }
            for name, keys in _CLAIMS.items()
        ],
    )


def revocation(revoked: Revoked) -> Json:
    """Envoy's RBAC config for a list; what no lookup finds comes to its last line."""
    matcher = _action(_CLOSED, "DENY") if revoked.closed else _action(_OPEN, "ALLOW")
    for name in _CLAIMS:
        matcher = _lookup(name, getattr(revoked, name), _DENIED, matcher)
    if revoked.issued_after_unix:
        matcher = _refuse_issued_before(revoked.issued_after_unix, matcher)
    # Envoy takes a matcher here, and no action alone.
    whole = matcher.get("matcher", {"on_no_match": matcher})
    return typed("extensions.filters.http.rbac.v3.RBAC", matcher=whole)


def _refuse_issued_before(unix: int, otherwise: Json) -> Json:
    value = {"double_match": {"range": {"start": -(2.0**53), "end": float(unix)}}}
    predicate = {
        "input": extension(
            "envoy.matching.inputs.dynamic_metadata",
            "extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
            filter=JWT_FILTER,
            path=claim_path("iat"),
        ),
        "custom_match": extension(
            "envoy.matching.matchers.metadata_matcher",
            "extensions.matching.input_matchers.metadata.v3.Metadata",
            value=value,
        ),
    }
    refused = {
        "predicate": {"single_predicate": predicate},
        "on_match": _action(_LIVES_TOO_LONG, "DENY"),
    }
    return {"matcher": {"matcher_list": {"matchers": [refused]}, "on_no_match": otherwise}}


def revocation_following_filter(source: Json) -> Json:
    """The filter as one that follows a file. Without the file every request is refused."""
    return {
        "name": REVOKED,
        "config_discovery": {
            "config_source": source,
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"],
        },
    }


def revocation_replies(hint: str) -> list[Json]:
    """What the refused are told, as mappers of local replies; `hint` is a format."""
    return [
        _reply(_LIVES_TOO_LONG, 401, "Unauthorized", f"{LIVES_TOO_LONG_MESSAGE} ({hint})"),
        _reply(_DENIED, 401, "Unauthorized", f"{DENIED_MESSAGE} ({hint})"),
        _reply(_CLOSED, 503, "ServiceUnavailable", CLOSED_MESSAGE),
    ]


def _reply(policy: str, code: int, reason: str, message_format: str) -> Json:
    # RBAC answers with 403 whatever the reason; which one it was is in the details alone.
    refused = extension(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"response.code_details == 'rbac_access_denied_matched_policy[{policy}]'",
    )
    return {
        **reply(code, reason, message_format),
        "filter": {"extension_filter": refused},
        "status_code": code,
    }


def _lookup(name: str, values: Set[str], policy: str, otherwise: Json) -> Json:
    """Refuse those whose value is among `values`, in front of what happens otherwise."""
    if not values:  # Envoy takes no empty map
        return otherwise
    tree = {
        "input": extension(
            "envoy.matching.inputs.filter_state",
            "extensions.matching.common_inputs.network.v3.FilterStateInput",
            key=_key(name),
        ),
        "exact_match_map": {"map": dict.fromkeys(sorted(values), _action(policy, "DENY"))},
    }
    return {"matcher": {"matcher_tree": tree, "on_no_match": otherwise}}


def _key(name: str) -> str:
    return f"daypass.{name}"


def _action(policy: str, action: str) -> Json:
    config = typed("config.rbac.v3.Action", name=policy, action=action)
    return {"action": {"name": policy, "typed_config": config}}
