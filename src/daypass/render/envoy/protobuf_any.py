"""The building blocks of Envoy's JSON: typed extensions, durations, patterns, cluster limits."""

from typing import Any

from daypass.render.envoy.settings import Timeouts

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


MOST_CONNECTIONS = 8192
"""From clients, at all listeners together."""


def connection_limits(timeouts: Timeouts, **protocol: Json) -> Json:
    """Return the fields of a cluster with room for a request of every client at once (Envoy's
    default is 1024), whose idle connections are closed.

    `protocol`: the fields of HttpProtocolOptions that choose it; HTTP/1.1 if left out.
    """
    chosen = protocol or {"explicit_http_config": {"http_protocol_options": {}}}
    names = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "circuit_breakers": {"thresholds": [dict.fromkeys(names, MOST_CONNECTIONS)]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protobuf_any(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": duration(timeouts.idle_seconds)},
                **chosen,
            )
        },
    }


def set_header(name: str, value: str, *, keeps_existing: bool = False) -> Json:
    """Return a HeaderValueOption that replaces a header, or keeps it; `value` is a format."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "ADD_IF_ABSENT" if keeps_existing else "OVERWRITE_IF_EXISTS_OR_ADD",
    }
