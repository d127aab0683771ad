"""Envoy's config files for door and gate, and its statistics for Prometheus.

These have a port of their own, whose one route leads to `/stats/prometheus` of the admin
interface's Unix socket: no other path, no query, no other method and no body gets there. Which
series exist is a fixed list, and nothing of a request gets into a name or a label of them.
"""

import json
import posixpath

from daypass.config import Address
from daypass.render.envoy.door_listener import bucket, listener, probe_listener, rate_limit
from daypass.render.envoy.gate_listener import gate_listener, keys_config
from daypass.render.envoy.listener import connection_manager, early_mutations
from daypass.render.envoy.published import denials_config, published_filters, shard_config
from daypass.render.envoy.settings import DoorSettings, GateSettings, Timeouts
from daypass.render.envoy.upstream import (
    ADMIN,
    AUTHORITY,
    MOST_CONNECTIONS,
    MOST_SCRAPES,
    admin_cluster,
    api_server_cluster,
    gate_clusters,
)
from daypass.render.envoy.xds import (
    JWT_AUTHENTICATION,
    Json,
    discovered_filter,
    duration,
    extension,
    full_match,
    protobuf_any,
)
from daypass.rules.published import DENIALS, Published, shard_name

HEAP_LIMIT_BYTES = 256 * 1024 * 1024

KEYS_FILE = "keys.json"
PUBLISHED_FOLDER = "published"
"""A folder of their own for the shards of the set and the denials, which change often: Envoy reads
everything else again whenever anything in its folder changes."""


def envoy_files(
    settings: DoorSettings, folder: str, *, admin_socket: str, gate: GateSettings | None = None
) -> dict[str, Json]:
    """Return the files, by name, of an Envoy with a fixed config.

    Start it with `envoy.json`, in `folder`. Envoy watches certificates. A gate also needs
    `keys_file` and `published_files`: Envoy loads them when they are replaced by a rename. One that
    it rejects leaves the old state in force.
    """
    secrets = _secrets(settings, gate)
    sources = {name: _follow(f"{folder}/secret-{name}.json", folder) for name in secrets}
    listeners = [listener(settings, sources)]
    clusters = [api_server_cluster(settings, sources[AUTHORITY])]
    if gate is not None:
        keys_source = _follow(f"{folder}/{KEYS_FILE}", folder)
        jwt = discovered_filter("keys", keys_source, JWT_AUTHENTICATION)
        published = published_filters(
            lambda name: _follow(f"{folder}/{published_file(name)}"), shards=gate.shards
        )
        listeners.append(gate_listener(gate, jwt, published, sources))
        clusters.extend(gate_clusters(gate))
    if settings.probe is not None:
        listeners.append(probe_listener(settings.probe))
    if settings.metrics is not None:
        listeners.append(metrics_listener(settings.metrics))
        clusters.append(admin_cluster(admin_socket))
    return {
        "envoy.json": {
            **_process(admin_socket, settings),
            "static_resources": {"listeners": listeners, "clusters": clusters},
        },
        **{f"secret-{name}.json": content for name, content in secrets.items()},
    }


def keys_file(gate: GateSettings, keys: str | None) -> Json:
    """Return the content of KEYS_FILE for the text of a JSON Web Key Set; None before it is known.

    It applies to open connections, too.
    """
    return _extension_config("keys", keys_config(gate, keys))


def published_file(name: str) -> str:
    """Return the file of a filter's config: `published/daypass-gate-credentials-00.json`."""
    return f"{PUBLISHED_FOLDER}/{name}.json"


def published_files(published: Published, known: Published | None = None) -> dict[str, Json]:
    """Return the files, by name, with what a gate looks up: a shard of the set each, and denials.

    They apply to open connections, too. `known`: leave out what is the same in this.
    """
    configs = {
        shard_name(number): shard_config(shard)
        for number, shard in enumerate(published.shards)
        if known is None or shard != known.shards[number]
    }
    if known is None or published.denials != known.denials:
        configs[DENIALS] = denials_config(published.denials)
    return {published_file(name): _extension_config(name, configs[name]) for name in configs}


def _extension_config(name: str, typed_config: Json) -> Json:
    config = {"name": name, "typed_config": typed_config}
    return _resources("config.core.v3.TypedExtensionConfig", config)


def to_json(value: Json) -> str:
    """Return Envoy's config as text: sorted, indented, the same bytes for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def _process(admin_socket: str, settings: DoorSettings) -> Json:
    # Histograms change only when Envoy flushes; `daypass status` looks for two seconds.
    statistics = {"stats_config": stats_config(), "stats_flush_interval": "1s"}
    return {
        **({} if settings.metrics is None else statistics),
        "node": {"id": "daypass-door", "cluster": "daypass"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "daypass",
                    "static_layer": {
                        # The default is 100. The pattern for the longest audience has 2,285.
                        "re2.max_program_size.error_level": 3000,
                        "re2.max_program_size.warn_level": 3000,
                    },
                }
            ]
        },
        "overload_manager": _overload_manager(),
    }


def _overload_manager() -> Json:
    heap = "envoy.resource_monitors.fixed_heap"
    connections = "envoy.resource_monitors.global_downstream_max_connections"

    def action(name: str, at: float) -> Json:
        return {
            "name": f"envoy.overload_actions.{name}",
            "triggers": [{"name": heap, "threshold": {"value": at}}],
        }

    return {
        "refresh_interval": "1s",
        "resource_monitors": [
            {
                "name": heap,
                "typed_config": protobuf_any(
                    "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    max_heap_size_bytes=HEAP_LIMIT_BYTES,
                ),
            },
            {
                "name": connections,
                "typed_config": protobuf_any(
                    "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=MOST_CONNECTIONS,
                ),
            },
        ],
        "actions": [
            action("shrink_heap", 0.8),
            action("disable_http_keepalive", 0.9),
            action("stop_accepting_requests", 0.95),
            action("stop_accepting_connections", 0.98),
        ],
    }


def _secrets(settings: DoorSettings, gate: GateSettings | None) -> dict[str, Json]:
    certificates = [*settings.certificates, *(gate.certificates if gate is not None else ())]
    secrets: dict[str, Json] = {
        certificate.name: {
            "tls_certificate": {
                "certificate_chain": {"filename": certificate.certificate_file},
                "private_key": {"filename": certificate.key_file},
                "watched_directory": _folder_of(certificate.certificate_file),
            },
        }
        for certificate in certificates
    }
    authority = settings.upstream.authority_file
    secrets[AUTHORITY] = {
        "validation_context": {
            "trusted_ca": {"filename": authority},
            "watched_directory": _folder_of(authority),
        },
    }
    message = "extensions.transport_sockets.tls.v3.Secret"
    return {name: _resources(message, {"name": name, **s}) for name, s in secrets.items()}


def _folder_of(file: str) -> Json:
    return {"path": posixpath.dirname(file)}


def _follow(path: str, folder: str | None = None) -> Json:
    """Return a source that Envoy reads again when the file is replaced or, with a `folder`, when
    anything in that is.
    """
    watched = {} if folder is None else {"watched_directory": {"path": folder}}
    return {"path_config_source": {"path": path, **watched}, "resource_api_version": "V3"}


def _resources(message: str, resource: Json) -> Json:
    return {"resources": [{**protobuf_any(message), **resource}]}


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
