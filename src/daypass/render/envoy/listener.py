"""The door's listener: TLS by name, HTTP read strictly, limits against slow and greedy clients."""

from daypass.render.envoy.replies import status_replies
from daypass.render.envoy.routes import CLIENT_ADDRESS, tells_no_secret
from daypass.render.envoy.settings import Certificate, DoorSettings, RateLimits
from daypass.render.envoy.typed import Json, extension
from daypass.spec.exposure import refusals


def listener(settings: DoorSettings, routes: Json, certificate_sources: dict[str, Json]) -> Json:
    """The listener. `routes`: where the route configuration comes from, as a field of Envoy's
    connection manager; `certificate_sources`: where each certificate comes from, by name.
    """
    return {
        "name": "door",
        "address": {
            "socket_address": {
                "address": settings.listen.host,
                "port_value": settings.listen.port,
            }
        },
        "per_connection_buffer_limit_bytes": 64 * 1024,
        "listener_filters": [
            extension(
                "envoy.filters.listener.tls_inspector",
                "extensions.filters.listener.tls_inspector.v3.TlsInspector",
            )
        ],
        "listener_filters_timeout": "5s",
        "filter_chains": [
            _filter_chain(settings, certificate, routes, certificate_sources[certificate.name])
            for certificate in settings.certificates
        ],
    }


def _filter_chain(
    settings: DoorSettings, certificate: Certificate, routes: Json, source: Json
) -> Json:
    match: Json = {"transport_protocol": "tls"}
    if certificate.server_names:
        match["server_names"] = list(certificate.server_names)
    return {
        "name": certificate.name,
        "filter_chain_match": match,
        "transport_socket_connect_timeout": "5s",
        "transport_socket": extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [
                    {"name": certificate.name, "sds_config": source}
                ],
            },
        ),
        "filters": [
            extension(
                "envoy.filters.network.connection_limit",
                "extensions.filters.network.connection_limit.v3.ConnectionLimit",
                stat_prefix="door",
                max_connections=settings.connections,
            ),
            _connection_manager(settings, routes),
        ],
    }


def _connection_manager(settings: DoorSettings, routes: Json) -> Json:
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="door",
        codec_type="AUTO",
        server_name="daypass",
        **routes,
        # The path is judged as it came. Nothing is decoded, merged or resolved before.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        # The client's address comes from the trusted hops alone, and no address is trusted more
        # than another: with an internal one, Envoy would obey x-envoy-* headers.
        use_remote_address=True,
        xff_num_trusted_hops=settings.trusted_hops,
        skip_xff_append=True,
        internal_address_config={},
        generate_request_id=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        common_http_protocol_options={
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": 64,
            "idle_timeout": "60s",
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
        request_headers_timeout="5s",
        request_timeout="10s",
        stream_idle_timeout="20s",
        drain_timeout="5s",
        delayed_close_timeout="1s",
        early_header_mutation_extensions=[_forget_claimed_origins()],
        local_reply_config=status_replies(refusals(settings.exposure)),
        http_filters=_http_filters(settings),
        access_log=_access_log(settings),
        stream_error_on_invalid_http_message=False,
    )


def _forget_claimed_origins() -> Json:
    """Headers that Envoy itself would obey are gone before it looks at the request."""
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
        ],
    )


def _http_filters(settings: DoorSettings) -> list[Json]:
    filters = _rate_limits(settings.rate_limits) if settings.rate_limits else []
    filters.append(
        # The whole body is here before the API server hears of the request: a slow client costs
        # the door a few KiB, and what travels on has a length and no chunks.
        extension(
            "envoy.filters.http.buffer",
            "extensions.filters.http.buffer.v3.Buffer",
            max_request_bytes=settings.exposure.body_limit_bytes,
        )
    )
    filters.append(
        extension(
            "envoy.filters.http.router",
            "extensions.filters.http.router.v3.Router",
            suppress_envoy_headers=True,
        )
    )
    return filters


def _rate_limits(limits: RateLimits) -> list[Json]:
    source = {"key": "masked_remote_address"}
    by_source = {
        # An empty value stands for each value seen, with a bucket of its own.
        "entries": [source],
        "token_bucket": _bucket(limits.per_source_per_second),
    }
    return [
        _rate_limit(
            "source",
            # Only the descriptors count here; the default bucket is never the one that is empty.
            _bucket(4_000_000_000),
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
        _rate_limit("all", _bucket(limits.requests_per_second)),
    ]


def _rate_limit(name: str, bucket: Json, **fields: object) -> Json:
    everything = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return extension(
        f"daypass.rate_limit.{name}",
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=f"rate_limit_{name}",
        token_bucket=bucket,
        filter_enabled=everything,
        filter_enforced=everything,
        **fields,
    )


def _bucket(per_second: int) -> Json:
    return {"max_tokens": per_second, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _access_log(settings: DoorSettings) -> list[Json]:
    """Lines of JSON on stdout. A path is written only where it is a published one, before or after
    its prefix was taken off: that it holds two names and no token is then certain.
    """
    published = {"header": tells_no_secret(settings.exposure)}
    return [
        _log({"header_filter": published}, path="%REQ(:PATH)%"),
        _log({"header_filter": {"header": {**published["header"], "invert_match": True}}}),
    ]


def _log(log_filter: Json, **fields: str) -> Json:
    line = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "client": CLIENT_ADDRESS,
        "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "host": "%REQ(:AUTHORITY):100%",
        "method": "%REQ(:METHOD):20%",
        "protocol": "%PROTOCOL%",
        "route": "%ROUTE_NAME%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
        "upstream_ms": "%RESPONSE_DURATION%",
        "request_id": "%REQ(X-REQUEST-ID):64%",
        "user_agent": "%REQ(USER-AGENT):100%",
        **fields,
    }
    return {
        "filter": log_filter,
        **extension(
            "envoy.access_loggers.stdout",
            "extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={"json_format": line},
        ),
    }


def dynamic_routes(source: Json) -> Json:
    """Routes that follow a source, as the connection manager's field."""
    return {"rds": {"route_config_name": "door", "config_source": source}}
