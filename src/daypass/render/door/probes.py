"""How Kubernetes learns whether a door lives, and whether its way to the API server is open.

Both are answered on a port of their own, which no Service leads to and the NetworkPolicy closes to
all but the node. **Alive** is an Envoy that answers. **Ready** is one that reaches the API server:
Envoy asks it for `/readyz` every few seconds over the same verified TLS as all requests, and any
answer below 500 will do, since a cluster may refuse that to the anonymous.

So a rollout with a wrong authority, name or network policy stops at its first pod while the old
ones serve on, and a node without a way to the API server gets no requests. When the API server
itself is down, all doors fail the probe, but Kubernetes cannot take them out of the Service without
it: they go on answering 503 by themselves. Where only the doors are cut off, the front answers.
"""

from daypass.render.envoy.routes import UPSTREAM
from daypass.render.envoy.settings import Upstream
from daypass.render.envoy.typed import Json, extension
from daypass.spec.exposure import bracketed

PROBE_PORT = 8081
ALIVE, READY = "/alive", "/ready"


def api_server_check(upstream: Upstream) -> Json:
    """Envoy's active health check of the API server."""
    return {
        "timeout": "3s",
        "interval": "5s",
        # Also where nobody comes: the default is once a minute.
        "no_traffic_interval": "5s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {
            "path": "/readyz",
            "host": bracketed(upstream.server_name),
            "expected_statuses": [{"start": 200, "end": 500}],
        },
    }


def probe_listener(address: str) -> Json:
    """The listener for kubelet: two paths that Envoy itself answers with 200 or 503."""
    return {
        "name": "probe",
        "address": {"socket_address": {"address": address, "port_value": PROBE_PORT}},
        "per_connection_buffer_limit_bytes": 16 * 1024,
        "filter_chains": [
            {
                "filters": [
                    extension(
                        "envoy.filters.network.http_connection_manager",
                        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        stat_prefix="probe",
                        server_name="daypass",
                        route_config={"name": "probe"},
                        request_timeout="5s",
                        common_http_protocol_options={"idle_timeout": "10s"},
                        http_filters=[
                            _answer(ALIVE),
                            _answer(
                                READY, cluster_min_healthy_percentages={UPSTREAM: {"value": 1}}
                            ),
                            extension(
                                "envoy.filters.http.router",
                                "extensions.filters.http.router.v3.Router",
                            ),
                        ],
                    )
                ]
            }
        ],
    }


def _answer(path: str, **conditions: Json) -> Json:
    return extension(
        f"daypass.probe{path.replace('/', '.')}",
        "extensions.filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": path}}],
        **conditions,
    )
