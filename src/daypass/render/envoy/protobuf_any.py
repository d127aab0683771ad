"""Envoy's typed extension configs.

How many connections one Envoy has, and how the gate's clusters keep up with its clients.
"""

from typing import Any

from daypass.render.envoy.settings import Timeouts

Json = dict[str, Any]
"""A JSON object in the form that Envoy reads."""


def protobuf_any(message: str, **fields: Any) -> Json:
    """A `google.protobuf.Any` in JSON: `message` is the name below `envoy.`, fields as given."""
    return {"@type": f"type.googleapis.com/envoy.{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Json:
    """A named extension, such as an HTTP filter, with its typed config."""
    return {"name": name, "typed_config": protobuf_any(message, **fields)}


def duration(seconds: float) -> str:
    """A `google.protobuf.Duration` in JSON, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def full_match(pattern: str) -> Json:
    """A RegexMatcher; Envoy matches it against the whole text."""
    return {"regex": pattern}


MOST_CONNECTIONS = 8192
"""From clients, of all listeners together."""


def connection_limits(timeouts: Timeouts, **protocol: Json) -> Json:
    """Fields of a cluster that has room for a request of every client at once; Envoy's own limit
    is 1024. Connections that nobody needs any more end.

    `protocol`: which one is spoken there, as fields of HttpProtocolOptions; HTTP/1.1 without.
    """
    spoken = protocol or {"explicit_http_config": {"http_protocol_options": {}}}
    names = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "circuit_breakers": {"thresholds": [dict.fromkeys(names, MOST_CONNECTIONS)]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protobuf_any(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": duration(timeouts.idle_seconds)},
                **spoken,
            )
        },
    }
