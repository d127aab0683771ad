"""How many connections one Envoy has, and how the gate's clusters keep up with its clients."""

from daypass.render.envoy.settings import Timeouts
from daypass.render.envoy.typed import Json, duration, typed

MOST_CONNECTIONS = 8192
"""From clients, of all listeners together."""


def many_connections(timeouts: Timeouts, **protocol: Json) -> Json:
    """Fields of a cluster that has room for a request of every client at once; Envoy's own limit
    is 1024. Connections that nobody needs any more end.

    `protocol`: which one is spoken there, as fields of HttpProtocolOptions; HTTP/1.1 without.
    """
    spoken = protocol or {"explicit_http_config": {"http_protocol_options": {}}}
    names = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "circuit_breakers": {"thresholds": [dict.fromkeys(names, MOST_CONNECTIONS)]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": duration(timeouts.idle_seconds)},
                **spoken,
            )
        },
    }
