"""The statistics of door and gate for Prometheus, at a port of their own.

Its one route leads to `/stats/prometheus` of the admin interface's Unix socket: no other path, no
query, no other method and no body gets there. Which series exist is a fixed list, and nothing of a
request gets into a name or a label of them.
"""

from daypass.config import Address
from daypass.render.envoy.listener import connection_manager, early_mutations
from daypass.render.envoy.protobuf_any import Json, duration, extension, full_match
from daypass.render.envoy.settings import Timeouts

METRICS = "metrics"
"""Name of the listener and of the port."""
PATH = "/metrics"
_ADMIN = "admin"
_MOST_CONNECTIONS, _MOST_PER_SECOND = 8, 10
_TIMEOUTS = Timeouts(request_headers_seconds=2, idle_seconds=5)

_BUCKETS_MILLISECONDS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Of latencies; Envoy's own are 20, up to an hour."""
_OURS = r"(?:door|gate)"
_UPSTREAMS = r"cluster\.(?:api-server|protected|protected-websockets|authorizer)\."
_SERIES = (
    rf"http\.{_OURS}\.downstream_rq_(?:[1-5]xx|total|active|time|timeout|header_timeout|rx_reset)",
    rf"http\.{_OURS}\.downstream_cx_(?:total|active|protocol_error)",
    rf"http\.{_OURS}\.rbac\..*policy\..*",
    r"http\.gate\.ext_authz\.(?:ok|denied|error)",
    r".*\.http_local_rate_limit\.(?:rate_limited|enforced)",
    r"connection_limit\.door\.limited_connections",
    rf"{_UPSTREAMS}upstream_rq_(?:[0-9]{{3}}|total|active|time|timeout|rx_reset|pending_overflow)",
    rf"{_UPSTREAMS}upstream_cx_(?:active|connect_fail|connect_timeout|overflow)",
    # The probes read these, too.
    rf"{_UPSTREAMS}membership_(?:total|healthy|degraded)",
    rf"{_UPSTREAMS}ssl\.(?:connection_error|fail_verify_error|fail_verify_san)",
    rf"listener\.{_OURS}\.ssl\.connection_error",
    r".*\.ssl\.certificate\..*\.expiration_unix_time_seconds",
    r"overload\..*\.pressure",
    r"server\.(?:live|uptime|memory_allocated)",
    # Texts, which Prometheus does not get: EnvoyInstance reads them.
    r".*\.version_text",
)
_TAGS = (
    {"tag_name": "envoy.listener", "regex": rf"^listener\.(({_OURS})\.)"},
    {"tag_name": "envoy.tls_certificate", "regex": r"\.ssl\.certificate\.((.+)\.)expiration_"},
    *(
        {"tag_name": f"envoy.{name}"}
        for name in (
            *("cluster_name", "http_conn_manager_prefix", "response_code", "response_code_class"),
            *("rbac_policy_name", "rbac_http_prefix", "local_http_ratelimit_prefix"),
            "connection_limit_prefix",
        )
    ),
)


def stats_config() -> Json:
    """Return which statistics exist, and which parts of their names are labels."""
    buckets = {"match": {"suffix": "rq_time"}, "buckets": [*_BUCKETS_MILLISECONDS]}
    patterns = [{"safe_regex": full_match(each)} for each in _SERIES]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        "use_all_default_tags": False,
        "stats_tags": [*_TAGS],
        "histogram_bucket_settings": [buckets],
    }


def admin_cluster(admin_socket: str) -> Json:
    """Return the cluster of the admin interface, for the one route that leads there."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": admin_socket}}}}
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "name": _ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": _ADMIN,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, _MOST_CONNECTIONS)]},
    }


def metrics_listener(listen: Address) -> Json:
    """Return the listener for Prometheus. It takes a request a connection, and few of them."""
    routes = {"name": METRICS, "virtual_hosts": [_virtual_host()]}
    rate = {
        "max_tokens": _MOST_PER_SECOND,
        "tokens_per_fill": _MOST_PER_SECOND,
        "fill_interval": "1s",
    }
    every = {"default_value": {"numerator": 100}}
    manager = connection_manager(
        METRICS,
        {"route_config": routes},
        [
            extension(
                "daypass.rate_limit.metrics",
                "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                stat_prefix="rate_limit_metrics",
                token_bucket=rate,
                filter_enabled=every,
                filter_enforced=every,
            ),
            extension(
                "envoy.filters.http.router",
                "extensions.filters.http.router.v3.Router",
                suppress_envoy_headers=True,
                dynamic_stats=False,
            ),
        ],
        _TIMEOUTS,
        common_http_protocol_options={
            "idle_timeout": duration(_TIMEOUTS.idle_seconds),
            "max_connection_duration": "20s",
            "max_requests_per_connection": 1,
            "max_headers_count": 64,
        },
        http2_protocol_options={"max_concurrent_streams": 1},
        max_request_headers_kb=8,
        request_timeout="5s",
        stream_idle_timeout="5s",
        early_header_mutation_extensions=early_mutations(
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}
        ),
    )
    limit = extension(
        "envoy.filters.network.connection_limit",
        "extensions.filters.network.connection_limit.v3.ConnectionLimit",
        stat_prefix=METRICS,
        max_connections=_MOST_CONNECTIONS,
    )
    return {
        "name": METRICS,
        "address": {"socket_address": {"address": listen.host, "port_value": listen.port}},
        "per_connection_buffer_limit_bytes": 16 * 1024,
        # What overloads the door must be seen.
        "bypass_overload_manager": True,
        "filter_chains": [{"filters": [limit, manager]}],
    }


def _virtual_host() -> Json:
    # Of a route's own matchers, none sees the query.
    exact = [(":method", "GET"), (":path", PATH)]
    headers: list[Json] = [{"name": k, "string_match": {"exact": v}} for k, v in exact]
    headers += [
        {"name": name, "present_match": False} for name in ("content-length", "transfer-encoding")
    ]
    scrape = {
        "name": METRICS,
        "match": {"path": PATH, "headers": headers},
        "route": {"cluster": _ADMIN, "prefix_rewrite": "/stats/prometheus", "timeout": "5s"},
    }
    nothing = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    return {"name": METRICS, "domains": ["*"], "routes": [scrape, nothing]}
