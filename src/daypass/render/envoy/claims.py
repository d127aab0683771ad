"""Where Envoy keeps the claims that it has verified, for matchers and for texts.

It is where Istio keeps them as well, so that its policies read what the gate has verified.
"""

from collections.abc import Iterable

from daypass.config.exposure import SERVICE_ACCOUNT_USER
from daypass.render.envoy.protobuf_any import Json, full_match

JWT_FILTER = "envoy.filters.http.jwt_authn"
"""The metadata's name; the same for every filter of this kind."""

PAYLOAD = "payload"
"""The claims of a short-lived token of the cluster."""

USER_STATE = "daypass.user"
JTI_STATE = "daypass.tokens"
NAMESPACE_STATE = "daypass.namespaces"
"""Claims that are kept in filter state as well: in a log it costs a tenth of what metadata does, no
client can write to it, and it ends with the request."""

SOME_TEXT: Json = {"string_match": {"safe_regex": full_match("(?s).+")}}
"""A matcher's value: a text that is not empty. A claim of another type is no text."""
A_NAMESPACE: Json = {"string_match": {"safe_regex": full_match("[a-z0-9-]+")}}
A_USER: Json = {"string_match": {"safe_regex": full_match(SERVICE_ACCOUNT_USER)}}
AN_EXACT_TIME: Json = {"double_match": {"range": {"start": 0.0, "end": 2.0**53}}}
"""Envoy's `max_lifetime` overflows with times beyond 2**63."""


def claim_path(*keys: str, within: str = PAYLOAD) -> list[Json]:
    """The way to a claim: a list of keys, so the dot in `kubernetes.io` divides nothing."""
    return [{"key": key} for key in (within, *keys)]


def claim(keys: Iterable[str], value: Json | None = None, within: str = PAYLOAD) -> Json:
    """A MetadataMatcher for a claim; without `value` it only has to be there."""
    return {
        "filter": JWT_FILTER,
        "path": claim_path(*keys, within=within),
        "value": value or {"present_match": True},
    }


def claim_text(*keys: str) -> str:
    """A claim in one of Envoy's formats."""
    return f"%DYNAMIC_METADATA({JWT_FILTER}:{':'.join((PAYLOAD, *keys))})%"


def state_text(state: str) -> str:
    """What is kept in filter state, in one of Envoy's formats."""
    return f"%FILTER_STATE({state}:PLAIN)%"


USER = state_text(USER_STATE)
GROUPS = ",".join(
    (
        "system:serviceaccounts",
        f"system:serviceaccounts:{state_text(NAMESPACE_STATE)}",
        "system:authenticated",
    )
)
"""What TokenReview gives a ServiceAccount; Envoy has verified where the namespace comes from."""
