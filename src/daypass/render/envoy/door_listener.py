"""The door's listener: TLS by name, HTTP read strictly, limits against slow and greedy clients."""

from daypass.config.exposure import refusals
from daypass.render.envoy.protobuf_any import Json, duration, extension, protobuf_any
from daypass.render.envoy.replies import code_filter, status_replies
from daypass.render.envoy.routes import CLIENT_ADDRESS, tells_no_secret
from daypass.render.envoy.settings import DoorSettings, RateLimits
from daypass.render.envoy.upstream import NO_ADDRESS_IS_INTERNAL, tls_listener


def listener(settings: DoorSettings, routes: Json, certificate_sources: dict[str, Json]) -> Json:
    """The listener. `routes`: where the route configuration comes from, as a field of Envoy's
    connection manager; `certificate_sources`: where each certificate comes from, by name.
    """
    filters = [
        extension(
            "envoy.filters.network.connection_limit",
            "extensions.filters.network.connection_limit.v3.ConnectionLimit",
            stat_prefix="door",
            max_connections=settings.connections,
        ),
        _connection_manager(settings, routes),
    ]
    return tls_listener(
        "door",
        settings.listen,
        settings.certificates,
        certificate_sources,
        filters,
        settings.timeouts,
    )


def _connection_manager(settings: DoorSettings, routes: Json) -> Json:
    timeouts = settings.timeouts
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
        internal_address_config=NO_ADDRESS_IS_INTERNAL,
        # Nobody samples traces by a request's id, so none is changed to say that it is sampled.
        request_id_extension=_plain_request_ids(),
        generate_request_id=True,
        preserve_external_request_id=True,
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
        # The scheme is what it is, not what the client or a front calls it.
        scheme_header_transformation={"scheme_to_overwrite": "https"},
        request_headers_timeout=duration(timeouts.request_headers_seconds),
        request_timeout=duration(timeouts.request_seconds),
        # Each state of a request has an end of its own: arriving, being answered, its answer being
        # read. One more timer, set anew at every step, would cost more than the path's patterns.
        stream_idle_timeout="0s",
        stream_flush_timeout=duration(timeouts.read_seconds),
        drain_timeout="5s",
        delayed_close_timeout=duration(timeouts.close_seconds),
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
            # The listener's own statistics count every answer already.
            dynamic_stats=False,
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
    """Lines of JSON on stdout, one a request; what was refused is told in more detail.

    A path is written only where it is a published one, before or after its prefix was taken off:
    that it holds two names and no token is then certain. The door itself answers nothing below
    400, so whatever is below came from the API server under a published path, and the patterns
    need not be asked again.
    """
    no_secret = {"header": tells_no_secret(settings.exposure)}
    hidden = {"header": {**no_secret["header"], "invert_match": True}}
    # A request that was broken off has no code, which counts as 0, and may be for any path. The
    # code of a token that was made is asked for first: each comparison costs as much as a pattern.
    good = _any(code_filter("EQ", 201), _all(code_filter("GE", 200), code_filter("LE", 399)))
    bad = (code_filter("NE", 201), _any(code_filter("LE", 199), code_filter("GE", 400)))
    return [
        _log(good, _GOOD),
        _log(_all(*bad, {"header_filter": no_secret}), {**_GOOD, **_BAD}),
        _log(_all(*bad, {"header_filter": hidden}), {**_GOOD, **_BAD, "path": None}),
    ]


def _all(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _any(*filters: Json) -> Json:
    return {"or_filter": {"filters": list(filters)}}


_GOOD: dict[str, str | None] = {
    "time": "%START_TIME%",
    "client": CLIENT_ADDRESS,
    "server_name": "%REQUESTED_SERVER_NAME%",
    "method": "%REQ(:METHOD):20%",
    "path": "%REQ(:PATH)%",
    "code": "%RESPONSE_CODE%",
    "duration_ms": "%DURATION%",
    "request_id": "%REQ(X-REQUEST-ID):64%",
    "user_agent": "%REQ(USER-AGENT):100%",
}
_BAD: dict[str, str | None] = {
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
    return {
        "filter": log_filter,
        **extension(
            "envoy.access_loggers.stdout",
            "extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={"json_format": fields},
        ),
    }


def dynamic_routes(name: str, source: Json) -> Json:
    """Routes that follow a source, as the connection manager's field."""
    return {"rds": {"route_config_name": name, "config_source": source}}
