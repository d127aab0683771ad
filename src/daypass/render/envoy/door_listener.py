"""The door's listeners: TLS and strict HTTP with limits for slow and greedy clients, and probes.

The probe listener has a port that no Service leads to. **Alive** is an Envoy that responds.
**Ready** is one that reaches the API server, by Envoy's own health checks over the same verified
TLS as all requests. So a rollout with a wrong authority, name or network policy stops at its first
pod. When the API server is down, every door fails the probe and keeps responding with 503.
"""

from daypass.config import Address
from daypass.config.exposure import refusals
from daypass.config.settings import Limits
from daypass.render.envoy.door_routes import (
    CLIENT_ADDRESS,
    FRONT_SCHEME,
    IS_LIMITED,
    LIMITED,
    OVER_PLAIN_HTTP,
    UPSTREAM,
    is_published_path,
    late_refusals,
    route_configuration,
)
from daypass.render.envoy.listener import (
    connection_manager,
    drain,
    early_mutations,
    json_log,
    tls_listener,
)
from daypass.render.envoy.replies import (
    TOO_LARGE,
    TOO_MANY,
    code_filter,
    denied_reply,
    plain_http_reply,
    status_replies,
)
from daypass.render.envoy.settings import DoorSettings
from daypass.render.envoy.xds import (
    Json,
    duration,
    extension,
    has_header,
    is_not,
    only_where,
    protobuf_any,
    set_header,
)

ALIVE, READY = "/alive", "/ready"
_LATE_PER_SECOND = 100
"""As many requests beyond the rates are read to their end, others are refused at once."""


def listener(settings: DoorSettings, certificate_sources: dict[str, Json]) -> Json:
    """Return the door's listener.

    `certificate_sources`: where each certificate comes from, by its name.
    """
    filters = [
        extension(
            "envoy.filters.network.connection_limit",
            "extensions.filters.network.connection_limit.v3.ConnectionLimit",
            stat_prefix="door",
            max_connections=settings.connections,
        ),
        _connection_manager(settings),
    ]
    return tls_listener(
        "door",
        settings.listen,
        settings.certificates,
        certificate_sources,
        filters,
        settings.timeouts,
    )


def _connection_manager(settings: DoorSettings) -> Json:
    timeouts = settings.timeouts
    return connection_manager(
        "door",
        route_configuration(settings),
        _http_filters(settings),
        timeouts,
        # Only the trusted hops report the client's address.
        xff_num_trusted_hops=settings.trusted_hops,
        # Traces are not sampled by request ID, so IDs pass unchanged.
        request_id_extension=_plain_request_ids(),
        always_set_request_id_in_response=True,
        common_http_protocol_options={
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": 64,
            "idle_timeout": duration(timeouts.idle_seconds),
            "max_connection_duration": "600s",
            "max_requests_per_connection": 10_000,
        },
        http_protocol_options={"allow_absolute_url": False},
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 64 * 1024,
            "initial_connection_window_size": 1024 * 1024,
        },
        max_request_headers_kb=16,
        # The scheme is https, whatever the client or a proxy in front says.
        scheme_header_transformation={"scheme_to_overwrite": "https"},
        request_timeout=duration(timeouts.request_seconds),
        # Each phase of a request has its own timeout (arriving, waiting, its response being read).
        # One more timer, reset at every step, would cost more than the path's patterns.
        stream_idle_timeout="0s",
        stream_flush_timeout=duration(timeouts.read_seconds),
        early_header_mutation_extensions=_early_mutations(settings),
        local_reply_config=_local_replies(settings),
        access_log=_access_log(settings),
        stream_error_on_invalid_http_message=False,
    )


def _local_replies(settings: DoorSettings) -> Json:
    every = refusals(settings.exposure)
    denied = {429: TOO_MANY, 413: TOO_LARGE}
    first = [denied_reply(denied[each.code], each) for each in every if each.code in denied]
    if settings.https_hosts is not None:
        first.append(plain_http_reply(OVER_PLAIN_HTTP))
    return status_replies(every, first)


def _early_mutations(settings: DoorSettings) -> list[Json]:
    # Headers that Envoy itself would obey are removed before it reads the request.
    mutations: list[Json] = [
        {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
        {"remove": LIMITED},
    ]
    if settings.https_hosts is not None:
        copied = set_header(FRONT_SCHEME, "%REQ(X-FORWARDED-PROTO)%")
        mutations += [{"remove": FRONT_SCHEME}, {"append": copied}]
    return early_mutations(*mutations)


def _plain_request_ids() -> Json:
    return {
        "typed_config": protobuf_any(
            "extensions.request_id.uuid.v3.UuidRequestIdConfig",
            pack_trace_reason=False,
            use_request_id_for_trace_sampling=False,
        )
    }


def _http_filters(settings: DoorSettings) -> list[Json]:
    filters = _rate_limits(settings.rate_limits) if settings.rate_limits else []
    limit = settings.exposure.body_limit_bytes
    # Most bodies have fewer digits in their length than the limit has.
    may_be_large = is_not(has_header("content-length", f"[0-9]{{1,{len(str(limit)) - 1}}}"))
    filters.append(drain(may_be_large, kept_bytes=limit))
    filters.append(
        # The whole body arrives before the request is forwarded: a slow client costs the door a
        # few KiB and the API server nothing, and the forwarded request has a length, no chunks.
        extension(
            "envoy.filters.http.buffer",
            "extensions.filters.http.buffer.v3.Buffer",
            max_request_bytes=limit,
        )
    )
    filters.append(late_refusals())
    filters.append(
        extension(
            "envoy.filters.http.router",
            "extensions.filters.http.router.v3.Router",
            suppress_envoy_headers=True,
            # Responses by code, and their latency.
            dynamic_stats=settings.metrics is not None,
        )
    )
    return filters


def _rate_limits(limits: Limits) -> list[Json]:
    source = {"key": "masked_remote_address"}
    by_source = {
        # An empty value gives each value seen its own bucket.
        "entries": [source],
        "token_bucket": bucket(limits.per_source_per_second),
    }
    return [
        rate_limit(
            "source",
            # Only the descriptors limit; the default bucket never runs empty.
            bucket(4_000_000_000),
            descriptors=[by_source],
            rate_limits=[
                {
                    "actions": [
                        {
                            "masked_remote_address": {
                                "v4_prefix_mask_len": 32,
                                "v6_prefix_mask_len": 64,
                            }
                        }
                    ]
                }
            ],
            max_dynamic_descriptors=10_000,
            always_consume_default_token_bucket=False,
        ),
        # What one source has too many of takes nothing out of what all share.
        only_where(is_not(IS_LIMITED), rate_limit("all", bucket(limits.requests_per_second))),
        only_where(IS_LIMITED, rate_limit("late", bucket(_LATE_PER_SECOND), enforced=100)),
    ]


def rate_limit(name: str, bucket: Json, enforced: int = 0, **fields: object) -> Json:
    """Return a filter that marks requests beyond a rate, or refuses them at once."""
    return extension(
        f"daypass.rate_limit.{name}",
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=f"rate_limit_{name}",
        token_bucket=bucket,
        filter_enabled=_percent(100),
        filter_enforced=_percent(enforced),
        request_headers_to_add_when_not_enforced=[set_header(LIMITED, "1")],
        **fields,
    )


def _percent(value: int) -> Json:
    return {"default_value": {"numerator": value, "denominator": "HUNDRED"}}


def bucket(per_second: int) -> Json:
    """Return a TokenBucket for so many requests a second."""
    return {"max_tokens": per_second, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _access_log(settings: DoorSettings) -> list[Json]:
    """Return loggers of one JSON line per request on stdout, with more details for refusals.

    Only published paths are logged, with or without their prefix: they contain two names and no
    token. Responses below 400 come from the API server under a published path, so the patterns are
    not evaluated again for them.
    """
    no_secret = {"header": is_published_path(settings.exposure)}
    hidden = {"header": {**no_secret["header"], "invert_match": True}}
    # An aborted request has no code, which counts as 0, and may be for any path. 201, a new token,
    # is compared first: each comparison costs as much as a pattern.
    good = _any(code_filter("EQ", 201), _all(code_filter("GE", 200), code_filter("LE", 399)))
    bad = (code_filter("NE", 201), _any(code_filter("LE", 199), code_filter("GE", 400)))
    return [
        _log(good, LOG_FIELDS),
        _log(_all(*bad, {"header_filter": no_secret}), {**LOG_FIELDS, **REFUSAL_FIELDS}),
        _log(_all(*bad, {"header_filter": hidden}), {**LOG_FIELDS, **REFUSAL_FIELDS, "path": None}),
    ]


def _all(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _any(*filters: Json) -> Json:
    return {"or_filter": {"filters": list(filters)}}


LOG_FIELDS: dict[str, str | None] = {
    "time": "%START_TIME%",
    "client": CLIENT_ADDRESS,
    "server_name": "%REQUESTED_SERVER_NAME%",
    "method": "%REQ(:METHOD):20%",
    "path": "%REQ(:PATH)%",
    "code": "%RESPONSE_CODE%",
    "duration_ms": "%DURATION%",
    "request_id": "%REQ(X-REQUEST-ID):64%",
    # The API server's own name for the request, also in its audit log. No client chooses it: the
    # door forwards no header Audit-ID.
    "audit_id": "%RESP(AUDIT-ID):64%",
    "user_agent": "%REQ(USER-AGENT):100%",
}
REFUSAL_FIELDS: dict[str, str | None] = {
    "host": "%REQ(:AUTHORITY):100%",
    "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "protocol": "%PROTOCOL%",
    "route": "%ROUTE_NAME%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
}


def _log(log_filter: Json, line: dict[str, str | None]) -> Json:
    fields = {name: value for name, value in line.items() if value is not None}
    return {"filter": log_filter, **json_log(fields)}


def probe_listener(listen: Address) -> Json:
    """Return the listener for kubelet: Envoy itself responds to two paths with 200 or 503."""
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="probe",
        server_name="daypass",
        route_config={"name": "probe"},
        request_timeout="5s",
        common_http_protocol_options={"idle_timeout": "10s"},
        http_filters=[
            _probe(ALIVE),
            _probe(READY, cluster_min_healthy_percentages={UPSTREAM: {"value": 1}}),
            extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
        ],
    )
    return {
        "name": "probe",
        "address": {"socket_address": {"address": listen.host, "port_value": listen.port}},
        "per_connection_buffer_limit_bytes": 16 * 1024,
        "filter_chains": [{"filters": [manager]}],
    }


def _probe(path: str, **conditions: Json) -> Json:
    return extension(
        f"daypass.probe{path.replace('/', '.')}",
        "extensions.filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": path}}],
        **conditions,
    )
