"""The building blocks of Envoy's API (xDS) in JSON: typed extensions, formats, generic matchers.

Claims are kept where Istio keeps them, so that its policies can read what the gate has verified.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from daypass.rules.published import UID

Json = dict[str, Any]
"""A JSON object in the form that Envoy reads."""


def protobuf_any(message: str, **fields: Any) -> Json:
    """Return a `google.protobuf.Any`; `message` is its name below `envoy.`."""
    return {"@type": f"type.googleapis.com/envoy.{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Json:
    """Return a named extension, such as an HTTP filter, with its typed config."""
    return {"name": name, "typed_config": protobuf_any(message, **fields)}


def duration(seconds: float) -> str:
    """Return a `google.protobuf.Duration`, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def full_match(pattern: str) -> Json:
    """Return a RegexMatcher; Envoy matches it against the whole text."""
    return {"regex": pattern}


JWT_AUTHENTICATION = "extensions.filters.http.jwt_authn.v3.JwtAuthentication"
RBAC = "extensions.filters.http.rbac.v3.RBAC"


def discovered_filter(name: str, source: Json, message: str, **more: object) -> Json:
    """Return an HTTP filter that gets its config, a `message`, from a source.

    A new config applies to open connections, too. `more`: fields for the time until it arrives.
    """
    types = [f"type.googleapis.com/envoy.{message}"]
    return {
        "name": name,
        "config_discovery": {"config_source": source, **more, "type_urls": types},
    }


def set_header(name: str, value: str, *, keeps_existing: bool = False) -> Json:
    """Return a HeaderValueOption that replaces a header, or keeps it; `value` is a format."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "ADD_IF_ABSENT" if keeps_existing else "OVERWRITE_IF_EXISTS_OR_ADD",
    }


_JWT_FILTER = "envoy.filters.http.jwt_authn"
"""Name of the metadata; the same for every JWT filter."""

PAYLOAD = "payload"
"""Metadata key: the claims of a short-lived token of the cluster."""

SECRET, ACCOUNT = ("kubernetes.io", "secret"), ("kubernetes.io", "serviceaccount")
"""Claims: the Secret that the token is bound to, and its ServiceAccount, each with a UID."""

POD, NODE = ("kubernetes.io", "pod"), ("kubernetes.io", "node")
"""Claims: the Pod that a token is bound to, and the node of the Pod or of the token itself."""

USER_STATE = "daypass.user"
JTI_STATE = "daypass.jti"
NAMESPACE_STATE = "daypass.namespace"
"""Claims that are copied to filter state: no client can write to it, it ends with the request, and
logging it costs a tenth of metadata."""
AUDIENCE_STATE = "daypass.audience"
"""The claim `aud` as Envoy prints it; only where there is a table of audiences."""
NOW_STATE, NOW = "daypass.now", "%EMIT_TIME(%s)%"
"""When the claims are copied, in seconds since 1970."""


def exactly(text: str) -> Json:
    """Return a matcher's value: this string."""
    return {"string_match": {"exact": text}}


def like(pattern: str) -> Json:
    """Return a matcher's value: a string that matches this pattern as a whole."""
    return {"string_match": {"safe_regex": full_match(pattern)}}


def one_of(texts: Sequence[str]) -> Json:
    """Return a matcher's value: one of these strings, of which there is at least one."""
    if len(texts) == 1:
        return exactly(texts[0])
    return {"or_match": {"value_matchers": [exactly(text) for text in texts]}}


def is_or_has(*texts: str) -> Json:
    """Return a matcher's value: one of these strings, or a list with one of them."""
    is_it = one_of(texts)
    return {"or_match": {"value_matchers": [is_it, {"list_match": {"one_of": is_it}}]}}


A_UID = like(UID.pattern)
"""The form of Kubernetes' UIDs."""
AN_EXACT_TIME: Json = {"double_match": {"range": {"start": 0.0, "end": 2.0**53}}}
"""Envoy's `max_lifetime` overflows with times beyond 2**63."""


_PRESENT: Json = {"present_match": True}


def claim_text(*keys: str) -> str:
    """Return a claim as an operator of Envoy's formats."""
    return f"%DYNAMIC_METADATA({_JWT_FILTER}:{':'.join((PAYLOAD, *keys))})%"


def state_text(state: str) -> str:
    """Return a filter state's value as an operator of Envoy's formats."""
    return f"%FILTER_STATE({state}:PLAIN)%"


def set_filter_state(name: str, formats: Mapping[str, str], *, skip_if_empty: bool = False) -> Json:
    """Return a filter that sets filter states.

    `formats`: their values, by name. `skip_if_empty`: leave out those that have none.
    """
    return extension(
        name,
        "extensions.filters.http.set_filter_state.v3.Config",
        on_request_headers=[
            {
                "object_key": state,
                "factory_key": "envoy.string",
                "format_string": {
                    "text_format_source": {"inline_string": text},
                    "omit_empty_values": True,
                },
                **({"skip_if_empty": True} if skip_if_empty else {}),
            }
            for state, text in formats.items()
        ],
    )


USER = state_text(USER_STATE)
_GROUP = "system:serviceaccounts"
GROUPS = f"{_GROUP},{_GROUP}:{state_text(NAMESPACE_STATE)},system:authenticated"
"""The groups that TokenReview returns for a ServiceAccount; the namespace is a verified claim."""


def other_than(text: str) -> str:
    """Return a pattern that matches, as a whole, every text but this one, whatever is in it."""
    pattern = ".+"
    for character in reversed(text):
        escaped = re.escape(character)
        pattern = f"(|[^{escaped}].*|{escaped}{pattern})"
    return f"(?s){pattern}"


def action(policy: str, verb: str) -> Json:
    """Return RBAC's result: ALLOW or DENY. Envoy's details of a refusal name the `policy`."""
    config = protobuf_any("config.rbac.v3.Action", name=policy, action=verb)
    return {"action": {"name": policy, "typed_config": config}}


_RBAC_FILTER = "envoy.filters.http.rbac"
"""Name of the metadata; the same for every RBAC filter."""


def marking(name: str, result: Json) -> Json:
    """Return the config of an RBAC filter that refuses nothing: its result is metadata, a mark.

    `result`: a matcher, or an action.
    """
    # Envoy needs a matcher here, not an action alone.
    matcher = result.get("matcher", {"on_no_match": result})
    return protobuf_any(RBAC, shadow_matcher=matcher, shadow_rules_stat_prefix=f"{name}_")


def mark_entry(name: str, policy: str = "") -> tuple[str, str]:
    """Return the key and the value of a mark, in the metadata of `envoy.filters.http.rbac`."""
    key, value = ("effective_policy_id", policy) if policy else ("engine_result", "allowed")
    return f"{name}_shadow_{key}", value


def has_mark(name: str, policy: str = "") -> str:
    """Return `is_marked` as a CEL condition."""
    key, value = mark_entry(name, policy)
    return f"metadata.filter_metadata['{_RBAC_FILTER}']['{key}'] == '{value}'"


def is_marked(name: str, policy: str = "") -> Json:
    """Return a predicate: the request has a mark that lets it pass, or one with this policy."""
    key, value = mark_entry(name, policy)
    return has_metadata(_RBAC_FILTER, [key], exactly(value))


def first_of(cases: Iterable[tuple[Json, Json]], otherwise: Json) -> Json:
    """Return a matcher for the first case that applies; `cases`: predicates and their results."""
    matchers = [{"predicate": predicate, "on_match": then} for predicate, then in cases]
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": otherwise}}


def lookup(state: str, found: Mapping[str, Json], otherwise: Json) -> Json:
    """Return a matcher for the value of a filter state: what is found there, or `otherwise`."""
    if not found:  # Envoy rejects an empty map
        return otherwise
    tree = {"input": state_input(state), "exact_match_map": {"map": dict(found)}}
    return {"matcher": {"matcher_tree": tree, "on_no_match": otherwise}}


def among(state: str, values: Iterable[str], found: Json, otherwise: Json) -> Json:
    """Return a matcher for requests whose filter state is one of these values, and for others."""
    return lookup(state, dict.fromkeys(sorted(values), found), otherwise)


def all_of(*predicates: Json) -> Json:
    """Return a predicate that holds if all of these do."""
    if len(predicates) == 1:
        return predicates[0]
    return {"and_matcher": {"predicate": list(predicates)}}


def any_of(*predicates: Json) -> Json:
    """Return a predicate that holds if at least one of these does."""
    if len(predicates) == 1:
        return predicates[0]
    return {"or_matcher": {"predicate": list(predicates)}}


def is_not(predicate: Json) -> Json:
    """Return the negation of a predicate."""
    return {"not_matcher": predicate}


def has_claim(keys: Iterable[str], value: Json = _PRESENT, within: str = PAYLOAD) -> Json:
    """Return a predicate on a verified claim; without `value` any value matches."""
    return has_metadata(_JWT_FILTER, (within, *keys), value)


def has_metadata(namespace: str, keys: Iterable[str], value: Json = _PRESENT) -> Json:
    """Return a predicate on a value in the metadata of a filter."""
    source = extension(
        "envoy.matching.inputs.dynamic_metadata",
        "extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
        filter=namespace,
        # A list of keys, so the dot in `kubernetes.io` is no separator.
        path=[{"key": key} for key in keys],
    )
    matcher = extension(
        "envoy.matching.matchers.metadata_matcher",
        "extensions.matching.input_matchers.metadata.v3.Metadata",
        value=value,
    )
    return {"single_predicate": {"input": source, "custom_match": matcher}}


def has_header(name: str, pattern: str) -> Json:
    """Return a predicate on a request header: all of its values, joined by commas, as a whole."""
    source = extension(
        "envoy.matching.inputs.request_headers",
        "type.matcher.v3.HttpRequestHeaderMatchInput",
        header_name=name,
    )
    return {"single_predicate": {"input": source, "value_match": _whole(pattern)}}


def state_input(key: str) -> Json:
    """Return a matcher input: a filter state's value, which no client can write to."""
    return extension(
        "envoy.matching.inputs.filter_state",
        "extensions.matching.common_inputs.network.v3.FilterStateInput",
        key=key,
    )


def has_state(key: str, pattern: str) -> Json:
    """Return a predicate: the filter state has a value, which matches a pattern as a whole."""
    return {"single_predicate": {"input": state_input(key), "value_match": _whole(pattern)}}


def is_before(unix: int) -> Json:
    """Return a predicate: NOW_STATE is earlier than this, by Envoy's clock.

    CEL knows only when a request began, and a client may send its first line long before the rest.
    """
    return has_state(NOW_STATE, below(f"{unix:010}"))


def below(number: str) -> str:
    """Return a pattern that matches, as a whole, each smaller number with as many digits."""
    pattern = "[^0-9]"  # nothing is smaller than the number itself
    for digit in reversed(number):
        smaller = f"[0-{int(digit) - 1}].*|" if digit != "0" else ""
        pattern = f"({smaller}{digit}{pattern})"
    return pattern


_SKIP: Json = {
    "action": extension("skip", "extensions.filters.common.matcher.action.v3.SkipFilter")
}


def only_where(predicate: Json, delegate: Json) -> Json:
    """Return an HTTP filter that is skipped unless the predicate holds."""
    return _with_matcher(delegate["name"], _skipped_unless(predicate), delegate)


def only_on_route(predicate: Json) -> Json:
    """Return what a route sets for a filter of `only_where`, to use another predicate."""
    message = "extensions.common.matching.v3.ExtensionWithMatcherPerRoute"
    return protobuf_any(message, xds_matcher=_skipped_unless(predicate))


def _skipped_unless(predicate: Json) -> Json:
    return {"matcher_list": {"matchers": [{"predicate": is_not(predicate), "on_match": _SKIP}]}}


def composite(name: str, matcher: Json) -> Json:
    """Return an HTTP filter that does what a matcher chooses by `execute`, or nothing."""
    chosen = extension("composite", "extensions.filters.http.composite.v3.Composite")
    return _with_matcher(name, matcher, chosen)


def _with_matcher(name: str, matcher: Json, delegate: Json) -> Json:
    message = "extensions.common.matching.v3.ExtensionWithMatcher"
    return extension(name, message, xds_matcher=matcher, extension_config=delegate)


def execute(delegate: Json) -> Json:
    """Return a matcher's result for `composite`: this HTTP filter, which may be discovered."""
    key = "dynamic_config" if "config_discovery" in delegate else "typed_config"
    message = "extensions.filters.http.composite.v3.ExecuteFilterAction"
    return {"action": extension("composite-action", message, **{key: delegate})}


def _whole(pattern: str) -> Json:
    # The generic matchers' own StringMatcher must name the engine.
    return {"safe_regex": {"google_re2": {}, **full_match(pattern)}}
