"""The door's routes, compiled from the exposure."""

from daypass.render.envoy.typed import Json, full_match, typed
from daypass.spec.exposure import BEARER_JWT, MEDIA_TYPE, Exposure, Verdict

UPSTREAM = "api-server"
CLIENT_ADDRESS = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"


def route_configuration(exposure: Exposure, upstream_name: str) -> Json:
    """Which request goes where; everything that is not on the exposure's list is answered here.

    `upstream_name`: the Host that the API server gets to see, whatever the client called it.
    """
    return {
        "name": "door",
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [
            {
                "name": "door",
                "domains": list(exposure.hosts),
                "routes": _routes(exposure, upstream_name),
            }
        ],
        # Without a Host of ours there is no virtual host, and Envoy answers 404 by itself.
        "request_headers_to_add": [
            {
                # The API server's audit log shows the client as the trusted hops tell it.
                "header": {"key": "x-forwarded-for", "value": CLIENT_ADDRESS},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _routes(exposure: Exposure, upstream_name: str) -> list[Json]:
    path = [_matches(":path", pattern) for pattern in exposure.path_patterns]
    get, post = _exact(":method", "GET"), _exact(":method", "POST")
    bearer = _matches("authorization", BEARER_JWT)
    anonymous = {"name": "authorization", "present_match": False}
    media_type = {**_matches("content-type", MEDIA_TYPE), "treat_missing_header_as_empty": True}
    return [
        _pass(exposure, upstream_name, "token-request", [*path, post, bearer, media_type]),
        # A GET has no body: one byte is the least that the buffer filter takes as a limit.
        _pass(exposure, upstream_name, "check", [*path, get, anonymous, media_type], 1),
        _pass(exposure, upstream_name, "check-bearer", [*path, get, bearer, media_type], 1),
        _refuse(Verdict.UNSUPPORTED_MEDIA_TYPE, [*path, post, bearer]),
        _refuse(Verdict.UNSUPPORTED_MEDIA_TYPE, [*path, get, bearer]),
        _refuse(Verdict.UNSUPPORTED_MEDIA_TYPE, [*path, get, anonymous]),
        _refuse(Verdict.UNAUTHORIZED, [*path, post]),
        _refuse(Verdict.UNAUTHORIZED, [*path, get]),
        _refuse(Verdict.METHOD_NOT_ALLOWED, path),
        _refuse(Verdict.NOT_PUBLISHED, []),
    ]


def tells_no_secret(exposure: Exposure) -> Json:
    """A header matcher for paths that may be logged: published ones, with or without the prefix."""
    bare = Exposure(prefix="", hosts=exposure.hosts).path_patterns[0]
    return _matches(":path", f"({exposure.path_patterns[0]}|{bare})")


def _exact(name: str, value: str) -> Json:
    return {"name": name, "string_match": {"exact": value}}


def _matches(name: str, pattern: str) -> Json:
    # `:path` holds the query as well; a route's own path matchers leave it out of sight.
    # Envoy joins the values of a repeated header with a comma, which none of the patterns holds.
    return {"name": name, "string_match": {"safe_regex": full_match(pattern)}}


def _pass(
    exposure: Exposure,
    upstream_name: str,
    name: str,
    headers: list[Json],
    body_limit_bytes: int | None = None,
) -> Json:
    route: Json = {
        "name": name,
        "match": {"prefix": exposure.path_prefix, "headers": headers},
        "route": {
            "cluster": UPSTREAM,
            "prefix_rewrite": exposure.path_prefix.removeprefix(exposure.prefix),
            "host_rewrite_literal": upstream_name,
            "timeout": "15s",
            # Only what has certainly not reached the API server is sent again.
            "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 1},
        },
    }
    if body_limit_bytes is not None:
        route["typed_per_filter_config"] = {
            "envoy.filters.http.buffer": typed(
                "extensions.filters.http.buffer.v3.BufferPerRoute",
                buffer={"max_request_bytes": body_limit_bytes},
            )
        }
    return route


def _refuse(verdict: Verdict, headers: list[Json]) -> Json:
    match: Json = {"prefix": "/"}
    if headers:
        match["headers"] = headers
    name = "refuse-" + verdict.name.lower().replace("_", "-")
    return {"name": name, "match": match, "direct_response": {"status": verdict.value}}
