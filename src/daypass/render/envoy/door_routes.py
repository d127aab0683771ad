"""The door's routes, compiled from the exposure."""

import re
from collections.abc import Iterator

from daypass._core.net import bracketed
from daypass.config.exposure import CHECK_BODY_LIMIT_BYTES, MEDIA_TYPE, Exposure
from daypass.render.envoy.listener import METADATA, TRUNCATED
from daypass.render.envoy.replies import PLAIN_HTTP, TOO_LARGE, TOO_MANY
from daypass.render.envoy.settings import DoorSettings
from daypass.render.envoy.xds import (
    RBAC,
    Json,
    action,
    duration,
    extension,
    first_of,
    full_match,
    has_header,
    has_metadata,
    protobuf_any,
    set_header,
)
from daypass.rules.claims import BEARER_JWT
from daypass.rules.reasons import REASON_HEADER

UPSTREAM = "api-server"
CLIENT_ADDRESS = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"

FRONT_SCHEME = "x-daypass-front-scheme"
"""The scheme that a proxy in front received a request over: a copy of its X-Forwarded-Proto, which
Envoy overwrites before it chooses a route. The API server never sees it."""

LIMITED = "x-daypass-limited"
"""Marks a request beyond the rates."""
IS_LIMITED = has_header(LIMITED, ".+")

OVER_PLAIN_HTTP: Json = {
    "name": FRONT_SCHEME,
    "string_match": {"exact": "http", "ignore_case": True},
}


def route_configuration(settings: DoorSettings) -> Json:
    """Return the door's routes; requests that are not on the exposure's list are refused here."""
    exposure, upstream = settings.exposure, settings.upstream
    action = {
        "cluster": UPSTREAM,
        "prefix_rewrite": exposure.path_prefix.removeprefix(exposure.prefix),
        # The API server sees its own name, whatever the client called it.
        "host_rewrite_literal": bracketed(upstream.server_name),
        "timeout": duration(settings.timeouts.answer_seconds),
    }
    return {
        "name": "door",
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [
            *_virtual_hosts(settings, _routes(exposure, action)),
            {"name": "elsewhere", "domains": ["*"], "routes": _nothing_published()},
        ],
        # The API server's audit log shows the client's address as the trusted hops report it.
        "request_headers_to_add": [set_header("x-forwarded-for", CLIENT_ADDRESS)],
    }


def _virtual_hosts(settings: DoorSettings, routes: list[Json]) -> Iterator[Json]:
    hosts = settings.exposure.hosts
    # Hosts whose TLS ends before the proxy in front: its X-Forwarded-Proto says nothing.
    outside = [bracketed(host) for host in hosts if host not in (settings.https_hosts or ())]
    https = [bracketed(host) for host in hosts if host in (settings.https_hosts or ())]
    if settings.https_hosts is None:
        yield {"name": "door", "domains": outside, "routes": routes}
        return
    refusal = _refuse(PLAIN_HTTP, 403, [OVER_PLAIN_HTTP])
    if https:
        yield {"name": "door", "domains": https, "routes": [refusal, *routes]}
    if outside:
        yield {"name": "outside", "domains": outside, "routes": routes}


def _routes(exposure: Exposure, action: Json) -> list[Json]:
    # `:path` contains the query; a route's own path matchers would ignore it.
    path = [header_match(":path", pattern) for pattern in exposure.path_patterns]
    get, post = _exact(":method", "GET"), _exact(":method", "POST")
    bearer = header_match("authorization", BEARER_JWT)
    anonymous = {"name": "authorization", "present_match": False}
    media_type = {**header_match("content-type", MEDIA_TYPE), "treat_missing_header_as_empty": True}
    return [
        _pass("token-request", exposure, [*path, post, bearer, media_type], action),
        {
            **_pass("check", exposure, [*path, get, anonymous, media_type], action),
            "typed_per_filter_config": _buffer(
                buffer={"max_request_bytes": CHECK_BODY_LIMIT_BYTES}
            ),
        },
        {
            **_pass("check-bearer", exposure, [*path, get, bearer, media_type], action),
            "typed_per_filter_config": _buffer(
                buffer={"max_request_bytes": CHECK_BODY_LIMIT_BYTES}
            ),
        },
        _refuse("unsupported-media-type", 415, [*path, post, bearer]),
        _refuse("unsupported-media-type", 415, [*path, get, bearer]),
        _refuse("unsupported-media-type", 415, [*path, get, anonymous]),
        _refuse("unauthorized", 401, [*path, post]),
        _refuse("unauthorized", 401, [*path, get]),
        _refuse("method-not-allowed", 405, path),
        *_nothing_published(),
    ]


def _nothing_published() -> list[Json]:
    # A request with a path has one below "/". CONNECT has no path, and its body may never end.
    refusal = _refuse("not-published", 404, [])
    filters = refusal["typed_per_filter_config"] | _buffer(disabled=True)
    connect = {"match": {"connect_matcher": {}}, "typed_per_filter_config": filters}
    return [{**refusal, **connect}, refusal]


def is_published_path(exposure: Exposure) -> Json:
    """Return a header matcher for published paths, with or without the prefix.

    Such a path contains two names and no token, so it may be logged.
    """
    bare = Exposure(prefix="", hosts=exposure.hosts).path_patterns[0]
    matcher = header_match(":path", f"({re.escape(exposure.prefix)})?{bare}")
    # Bytes that are not HTTP have no path, which must count as one that is not published.
    return {**matcher, "treat_missing_header_as_empty": True}


def _exact(name: str, value: str) -> Json:
    return {"name": name, "string_match": {"exact": value}}


def header_match(name: str, pattern: str) -> Json:
    """Return a HeaderMatcher for a whole value.

    Envoy keeps `authorization`, `connection`, `content-type` and `upgrade` once: values of repeated
    ones are joined by commas. Of other headers, one of several values is enough for a match.

    Envoy matches the whole value without anchors, too. With them, RE2 compares a pattern's literal
    start first and looks for an end at the end alone, which saves a quarter of the matchers' work.
    """
    return {"name": name, "string_match": {"safe_regex": full_match(f"^(?:{pattern})$")}}


def _pass(name: str, exposure: Exposure, headers: list[Json], action: Json) -> Json:
    return {
        "name": name,
        "match": {"prefix": exposure.path_prefix, "headers": headers},
        "route": action,
        "response_headers_to_remove": [REASON_HEADER],
    }


def _buffer(**fields: object) -> Json:
    per_route = protobuf_any("extensions.filters.http.buffer.v3.BufferPerRoute", **fields)
    return {"envoy.filters.http.buffer": per_route}


def _refuse(name: str, code: int, headers: list[Json]) -> Json:
    match: Json = {"prefix": "/"}
    if headers:
        match["headers"] = headers
    return {
        "name": f"refuse-{name}",
        "match": match,
        "direct_response": {"status": code},
        "typed_per_filter_config": {REFUSALS: _counted(name)},
    }


REFUSALS = "daypass.late_refusals"
"""Name of the filter that refuses late, and counts what routes refuse."""


def late_refusals() -> Json:
    """Return the filter that refuses, once its body has arrived, what earlier filters marked.

    The mark alone says that a body was too large: the rest of it looks like a whole one. Envoy
    counts requests by the policy that applies; to what passes, none does, which costs nothing.
    """
    is_limited = {"header": {"name": LIMITED, "present_match": True}}
    mark = {"filter": METADATA, "path": [{"key": TRUNCATED}], "value": {"present_match": True}}
    is_large = {"sourced_metadata": {"metadata_matcher": mark, "metadata_source": "DYNAMIC"}}
    policies = {
        TOO_MANY: _policy(is_limited),
        TOO_LARGE: _policy(is_large, {"not_rule": is_limited}),
    }
    rules = {"action": "DENY", "policies": policies}
    return extension(REFUSALS, RBAC, rules=rules, track_per_rule_stats=True)


def _policy(*permissions: Json) -> Json:
    return {
        "permissions": [{"and_rules": {"rules": [*permissions]}}],
        "principals": [{"any": True}],
    }


def _counted(name: str) -> Json:
    """Return what a route that refuses sets for that filter: all that it lets pass is counted."""
    marked = [
        (IS_LIMITED, action(TOO_MANY, "DENY")),
        (has_metadata(METADATA, [TRUNCATED]), action(TOO_LARGE, "DENY")),
    ]
    rules = {**first_of(marked, action(name, "ALLOW")), "track_per_rule_stats": True}
    return protobuf_any("extensions.filters.http.rbac.v3.RBACPerRoute", rbac=rules)
