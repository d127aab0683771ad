"""What the listeners of door and gate share: TLS only, and HTTP that is forwarded as received."""

from daypass.config import Address, Gate
from daypass.render.envoy.protobuf_any import Json, duration, extension
from daypass.render.envoy.settings import Certificate, Timeouts

_NO_ADDRESS_IS_INTERNAL: Json = {
    "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
}
"""An empty list would mean Envoy's default, which trusts loopback and private addresses."""


def tls_listener(
    name: str,
    listen: Address,
    certificates: tuple[Certificate, ...],
    certificate_sources: dict[str, Json],
    filters: list[Json],
    timeouts: Timeouts,
) -> Json:
    """Return a listener with the same network filters behind each certificate.

    `certificate_sources`: where each certificate comes from, by its name.
    """
    return {
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": listen.host, "port_value": listen.port}},
        "per_connection_buffer_limit_bytes": 64 * 1024,
        "listener_filters": [
            extension(
                "envoy.filters.listener.tls_inspector",
                "extensions.filters.listener.tls_inspector.v3.TlsInspector",
            )
        ],
        "listener_filters_timeout": duration(timeouts.handshake_seconds),
        "filter_chains": [
            _filter_chain(c, certificate_sources[c.name], filters, timeouts) for c in certificates
        ],
    }


def _filter_chain(
    certificate: Certificate, source: Json, filters: list[Json], timeouts: Timeouts
) -> Json:
    match: Json = {"transport_protocol": "tls"}
    if certificate.server_names:
        match["server_names"] = list(certificate.server_names)
    return {
        "name": certificate.name,
        "filter_chain_match": match,
        "transport_socket_connect_timeout": duration(timeouts.handshake_seconds),
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
        "filters": filters,
    }


def connection_manager(
    name: str, routes: Json, filters: list[Json], timeouts: Timeouts, **fields: object
) -> Json:
    """Return the network filter that reads HTTP.

    `filters`: the HTTP filters before the router, or with it. `fields`: more of its fields.
    """
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="AUTO",
        server_name="daypass",
        route_config=routes,
        # The path is matched and forwarded as received: nothing is decoded, merged or resolved.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        # No address is internal: from internal ones Envoy would obey x-envoy-* headers.
        use_remote_address=True,
        skip_xff_append=True,
        internal_address_config=_NO_ADDRESS_IS_INTERNAL,
        generate_request_id=True,
        preserve_external_request_id=True,
        request_headers_timeout=duration(timeouts.request_headers_seconds),
        drain_timeout="5s",
        delayed_close_timeout=duration(timeouts.close_seconds),
        http_filters=filters,
        **fields,
    )


def stream_bound(gate: Gate) -> Json:
    """Return the field of HttpProtocolOptions that ends a request of a gate, if it may not last for
    ever: a stream or a WebSocket is cut, what has no response yet gets a 504.
    """
    seconds = gate.longest_stream_seconds
    return {} if seconds is None else {"max_stream_duration": duration(seconds)}


def early_mutations(*mutations: Json) -> list[Json]:
    """Return the connection manager's changes of headers before Envoy itself reads them."""
    return [
        extension(
            "envoy.http.early_header_mutation.header_mutation",
            "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=list(mutations),
        )
    ]


def json_log(fields: dict[str, str]) -> Json:
    """Return a logger of one JSON line per request on stdout."""
    return extension(
        "envoy.access_loggers.stdout",
        "extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": fields},
    )
