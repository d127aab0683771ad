"""A header allowlist for Envoy, which has none: remove what matches the complement of a list.

The complement of a finite set of names is a regular language, and RE2 decides it in one pass over
the name. The regex is built from the tree of the names, so that nobody has to write it by hand.

The door's routes, compiled from the exposure.
"""

import re
from collections.abc import Iterable, Iterator

from daypass.config.exposure import (
    BEARER_JWT,
    CHECK_BODY_LIMIT_BYTES,
    MEDIA_TYPE,
    Exposure,
    Verdict,
    bracketed,
)
from daypass.render.envoy.protobuf_any import Json, duration, extension, full_match, protobuf_any
from daypass.render.envoy.settings import Timeouts, Upstream


def complement(names: Iterable[str]) -> str:
    """A pattern that matches, as a whole, every name that is not in `names`.

    Names consist of lower-case letters, digits and dashes. Names that begin with a colon (HTTP/2's
    pseudo-headers) are never matched: they are not headers.
    """
    return _below(sorted(set(names)), extra=":")


def other_than(text: str) -> str:
    """A pattern that matches, as a whole, every text but this one, whatever is in it."""
    pattern = ".+"
    for character in reversed(text):
        escaped = re.escape(character)
        pattern = f"(|[^{escaped}].*|{escaped}{pattern})"
    return f"(?s){pattern}"


def _below(rests: list[str], extra: str = "") -> str:
    firsts = sorted({rest[0] for rest in rests if rest})
    # A dash comes first in a class, where it cannot stand for a range.
    excluded = "".join(sorted({*firsts, *extra}, key=lambda c: (c != "-", c)))
    branches = [] if "" in rests or extra else [""]
    branches.append(f"[^{excluded}].*" if excluded else ".+")
    branches.extend(_branches(rests, firsts))
    return f"({'|'.join(branches)})"


def _branches(rests: list[str], firsts: list[str]) -> Iterator[str]:
    for first in firsts:
        yield first + _below([rest[1:] for rest in rests if rest.startswith(first)])


def keep_only(names: Iterable[str]) -> Json:
    """An HTTP filter that removes every request header and trailer that is not in `names`.

    Meant for the upstream side of a cluster: on the downstream side it would take headers away
    that Envoy's own router needs.
    """
    others = {"remove_on_match": {"key_matcher": {"safe_regex": full_match(complement(names))}}}
    trailers = {"remove_on_match": {"key_matcher": {"safe_regex": full_match(".*")}}}
    return extension(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [others], "request_trailers_mutations": [trailers]},
    )


UPSTREAM = "api-server"
CLIENT_ADDRESS = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"


def route_configuration(exposure: Exposure, upstream: Upstream, timeouts: Timeouts) -> Json:
    """Which request goes where; everything that is not on the exposure's list is answered here."""
    action = {
        "cluster": UPSTREAM,
        "prefix_rewrite": exposure.path_prefix.removeprefix(exposure.prefix),
        # The API server sees its own name, whatever the client called it.
        "host_rewrite_literal": bracketed(upstream.server_name),
        "timeout": duration(timeouts.answer_seconds),
    }
    return {
        "name": "door",
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [
            {
                "name": "door",
                "domains": [bracketed(host) for host in exposure.hosts],
                "routes": _routes(exposure, action),
            },
            {"name": "elsewhere", "domains": ["*"], "routes": _nothing_published()},
        ],
        "request_headers_to_add": [
            {
                # The API server's audit log shows the client as the trusted hops tell it.
                "header": {"key": "x-forwarded-for", "value": CLIENT_ADDRESS},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _routes(exposure: Exposure, action: Json) -> list[Json]:
    path = [_matches(":path", pattern) for pattern in exposure.path_patterns]
    get, post = _exact(":method", "GET"), _exact(":method", "POST")
    bearer = _matches("authorization", BEARER_JWT)
    anonymous = {"name": "authorization", "present_match": False}
    media_type = {**_matches("content-type", MEDIA_TYPE), "treat_missing_header_as_empty": True}
    return [
        _pass("token-request", exposure, [*path, post, bearer, media_type], action),
        {
            **_pass("check", exposure, [*path, get, anonymous, media_type], action),
            **_buffer(buffer={"max_request_bytes": CHECK_BODY_LIMIT_BYTES}),
        },
        {
            **_pass("check-bearer", exposure, [*path, get, bearer, media_type], action),
            **_buffer(buffer={"max_request_bytes": CHECK_BODY_LIMIT_BYTES}),
        },
        _refuse(Verdict.UNSUPPORTED_MEDIA_TYPE, [*path, post, bearer]),
        _refuse(Verdict.UNSUPPORTED_MEDIA_TYPE, [*path, get, bearer]),
        _refuse(Verdict.UNSUPPORTED_MEDIA_TYPE, [*path, get, anonymous]),
        _refuse(Verdict.UNAUTHORIZED, [*path, post]),
        _refuse(Verdict.UNAUTHORIZED, [*path, get]),
        _refuse(Verdict.METHOD_NOT_ALLOWED, path),
        *_nothing_published(),
    ]


def _nothing_published() -> list[Json]:
    # What has a path has one below "/"; CONNECT has none, and its end is not waited for.
    connect = _refuse(Verdict.NOT_PUBLISHED, [])
    return [
        {**connect, "match": {"connect_matcher": {}}, **_buffer(disabled=True)},
        _refuse(Verdict.NOT_PUBLISHED, []),
    ]


def tells_no_secret(exposure: Exposure) -> Json:
    """A header matcher for paths that may be logged: published ones, with or without the prefix."""
    bare = Exposure(prefix="", hosts=exposure.hosts).path_patterns[0]
    matcher = _matches(":path", f"({re.escape(exposure.prefix)})?{bare}")
    # A request that is no HTTP has no path; it is told as one whose path is not to be told.
    return {**matcher, "treat_missing_header_as_empty": True}


def _exact(name: str, value: str) -> Json:
    return {"name": name, "string_match": {"exact": value}}


def _matches(name: str, pattern: str) -> Json:
    # `:path` holds the query as well; a route's own path matchers leave it out of sight.
    # Envoy joins the values of a repeated header with a comma, which none of the patterns holds.
    # Envoy matches the whole text in any case. Told so, RE2 compares what a pattern begins with at
    # once, and looks for an end at the end alone: a quarter less work for all matchers.
    return {"name": name, "string_match": {"safe_regex": full_match(f"^(?:{pattern})$")}}


def _pass(name: str, exposure: Exposure, headers: list[Json], action: Json) -> Json:
    return {
        "name": name,
        "match": {"prefix": exposure.path_prefix, "headers": headers},
        "route": action,
    }


def _buffer(**fields: object) -> Json:
    per_route = protobuf_any("extensions.filters.http.buffer.v3.BufferPerRoute", **fields)
    return {"typed_per_filter_config": {"envoy.filters.http.buffer": per_route}}


def _refuse(verdict: Verdict, headers: list[Json]) -> Json:
    match: Json = {"prefix": "/"}
    if headers:
        match["headers"] = headers
    name = "refuse-" + verdict.name.lower().replace("_", "-")
    return {"name": name, "match": match, "direct_response": {"status": verdict.value}}
