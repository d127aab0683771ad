"""The statistics of door and gate for Prometheus, at a port of their own.

Its one route leads to `/stats/prometheus` of the admin interface's Unix socket: no other path, no
query, no other method and no body gets there. Which series exist is a fixed list, and nothing of a
request gets into a name or a label of them.
"""

from daypass.config import Address
from daypass.render.envoy.door_listener import bucket, rate_limit
from daypass.render.envoy.listener import connection_manager, early_mutations
from daypass.render.envoy.protobuf_any import Json, duration, extension, full_match
from daypass.render.envoy.settings import Timeouts
from daypass.render.envoy.upstream import ADMIN, MOST_SCRAPES

METRICS = "metrics"
"""Name of the listener and of the port."""
PATH = "/metrics"
_MOST_PER_SECOND = 10
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
    rf"{_UPSTREAMS}upstream_rq_(?:[0-9]{{3}}|active|time|timeout|rx_reset|pending_overflow)",
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


def metrics_listener(listen: Address) -> Json:
    """Return the listener for Prometheus. It takes a request a connection, and few of them."""
    routes = {"name": METRICS, "virtual_hosts": [_virtual_host()]}
    manager = connection_manager(
        METRICS,
        routes,
        [
            rate_limit(METRICS, bucket(_MOST_PER_SECOND), enforced=100),
            extension(
                "envoy.filters.http.buffer",
                "extensions.filters.http.buffer.v3.Buffer",
                max_request_bytes=1,
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
        http_protocol_options={"allow_absolute_url": False},
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
        max_connections=MOST_SCRAPES,
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
    exact = {":method": "GET", ":path": PATH}
    headers = [{"name": name, "string_match": {"exact": it}} for name, it in exact.items()]
    scrape = {
        "name": METRICS,
        "match": {"path": PATH, "headers": headers},
        "route": {"cluster": ADMIN, "prefix_rewrite": "/stats/prometheus", "timeout": "5s"},
    }
    nothing = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    return {"name": METRICS, "domains": ["*"], "routes": [scrape, nothing]}
