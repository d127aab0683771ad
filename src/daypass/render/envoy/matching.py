"""Envoy's generic matchers (xds.type.matcher.v3), for its RBAC filter and for delegates."""

from collections.abc import Iterable

from daypass._core.clock import utc
from daypass.render.envoy.claims import JWT_FILTER, PAYLOAD, claim_path
from daypass.render.envoy.protobuf_any import Json, extension, full_match, protobuf_any

_PRESENT: Json = {"present_match": True}


def action(policy: str, verb: str) -> Json:
    """How RBAC ends: `verb` is ALLOW or DENY, `policy` is what the details of a refusal name."""
    config = protobuf_any("config.rbac.v3.Action", name=policy, action=verb)
    return {"action": {"name": policy, "typed_config": config}}


def first_of(cases: Iterable[tuple[Json, Json]], otherwise: Json) -> Json:
    """The first whose predicate holds; `cases`: predicates, and what is to happen then."""
    matchers = [{"predicate": predicate, "on_match": then} for predicate, then in cases]
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": otherwise}}


def all_of(*predicates: Json) -> Json:
    """Every one of them."""
    if len(predicates) == 1:
        return predicates[0]
    return {"and_matcher": {"predicate": list(predicates)}}


def any_of(*predicates: Json) -> Json:
    """One of them at least."""
    return {"or_matcher": {"predicate": list(predicates)}}


def is_not(predicate: Json) -> Json:
    """The opposite."""
    return {"not_matcher": predicate}


def has_claim(keys: Iterable[str], value: Json = _PRESENT, within: str = PAYLOAD) -> Json:
    """A verified claim; without `value` it only has to be there."""
    source = extension(
        "envoy.matching.inputs.dynamic_metadata",
        "extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
        filter=JWT_FILTER,
        path=claim_path(*keys, within=within),
    )
    matcher = extension(
        "envoy.matching.matchers.metadata_matcher",
        "extensions.matching.input_matchers.metadata.v3.Metadata",
        value=value,
    )
    return {"single_predicate": {"input": source, "custom_match": matcher}}


def has_header(name: str, pattern: str) -> Json:
    """A header of the request, all of its values joined by commas, as a whole."""
    source = extension(
        "envoy.matching.inputs.request_headers",
        "type.matcher.v3.HttpRequestHeaderMatchInput",
        header_name=name,
    )
    return {"single_predicate": {"input": source, "value_match": _whole(pattern)}}


def state_input(key: str) -> Json:
    """A text in the request's filter state, which no client can write to."""
    return extension(
        "envoy.matching.inputs.filter_state",
        "extensions.matching.common_inputs.network.v3.FilterStateInput",
        key=key,
    )


def has_state(key: str) -> Json:
    """A text in the filter state that is not empty."""
    return {"single_predicate": {"input": state_input(key), "value_match": _whole(".+")}}


def is_after(unix: int) -> Json:
    """A request that begins at this time or later, by Envoy's own clock."""
    # CEL as Envoy takes it, parsed: request.time >= timestamp('...')
    time = {"select_expr": {"operand": {"ident_expr": {"name": "request"}}, "field": "time"}}
    moment = {"const_expr": {"string_value": f"{utc(unix):%Y-%m-%dT%H:%M:%SZ}"}}
    limit = {"call_expr": {"function": "timestamp", "args": [moment]}}
    expression = {"call_expr": {"function": "_>=_", "args": [time, limit]}}
    prefix = "type.googleapis.com/xds.type.matcher.v3"
    return {
        "single_predicate": {
            "input": {
                "name": "envoy.matching.inputs.cel_data_input",
                "typed_config": {"@type": f"{prefix}.HttpAttributesCelMatchInput"},
            },
            "custom_match": {
                "name": "envoy.matching.matchers.cel_matcher",
                "typed_config": {
                    "@type": f"{prefix}.CelMatcher",
                    "expr_match": {"cel_expr_parsed": {"expr": expression}},
                },
            },
        }
    }


def only_where(predicate: Json, delegate: Json) -> Json:
    """An HTTP filter that is passed over where the predicate does not hold."""
    skip = extension("skip", "extensions.filters.common.matcher.action.v3.SkipFilter")
    matcher = {
        "matcher_list": {
            "matchers": [{"predicate": is_not(predicate), "on_match": {"action": skip}}]
        }
    }
    return {
        "name": delegate["name"],
        "typed_config": protobuf_any(
            "extensions.common.matching.v3.ExtensionWithMatcher",
            xds_matcher=matcher,
            extension_config=delegate,
        ),
    }


def _whole(pattern: str) -> Json:
    # The generic matchers' own StringMatcher wants to be told the engine.
    return {"safe_regex": {"google_re2": {}, **full_match(pattern)}}
