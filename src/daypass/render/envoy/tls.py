"""A listener that speaks TLS and nothing else, and shows each name its own certificate."""

from daypass.render.envoy.settings import Address, Certificate, Timeouts
from daypass.render.envoy.typed import Json, duration, extension

NO_ADDRESS_IS_INTERNAL: Json = {
    "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
}
"""An empty list would mean Envoy's default, in which loopback and private addresses are trusted."""


def tls_listener(
    name: str,
    listen: Address,
    certificates: tuple[Certificate, ...],
    certificate_sources: dict[str, Json],
    filters: list[Json],
    timeouts: Timeouts,
) -> Json:
    """A listener with the same network filters behind each certificate.

    `certificate_sources`: where each certificate comes from, by its name.
    """
    return {
        "name": name,
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
