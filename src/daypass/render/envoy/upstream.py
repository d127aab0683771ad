"""The way from the door to the API server: verified by authority and name, stripped to a list.

A listener that speaks TLS and nothing else, and shows each name its own certificate.
"""

from daypass._core.net import is_address
from daypass.config.exposure import REQUEST_HEADERS
from daypass.render.envoy.protobuf_any import Json, duration, extension, protobuf_any
from daypass.render.envoy.routes import UPSTREAM, keep_only
from daypass.render.envoy.settings import Certificate, SocketAddress, Timeouts, Upstream

AUTHORITY = "api-server.authority"
"""The dot keeps it apart from the domains, whose names are labels."""


def cluster(upstream: Upstream, authority_source: Json, timeouts: Timeouts) -> Json:
    """The API server as a cluster. `authority_source`: where the secret AUTHORITY comes from."""
    return {
        "name": UPSTREAM,
        # Of several addresses of a name those that answer: STRICT_DNS would take turns, whatever.
        "type": "STATIC" if is_address(upstream.address.host) else "LOGICAL_DNS",
        "connect_timeout": duration(timeouts.connect_seconds),
        "dns_lookup_family": "ALL",
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "load_assignment": {
            "cluster_name": UPSTREAM,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024}
            ]
        },
        "transport_socket": _tls(upstream, authority_source),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protobuf_any(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": duration(timeouts.idle_seconds)},
                # HTTP/2 where the API server offers it: a request's length is then a frame's, and
                # there is nothing that two parsers could read differently.
                auto_config={
                    "http2_protocol_options": {
                        "max_concurrent_streams": 100,
                        "connection_keepalive": {"interval": "30s", "timeout": "5s"},
                    }
                },
                http_filters=[
                    keep_only(REQUEST_HEADERS),
                    extension(
                        "envoy.filters.http.upstream_codec",
                        "extensions.filters.http.upstream_codec.v3.UpstreamCodec",
                    ),
                ],
            )
        },
    }


def _tls(upstream: Upstream, authority_source: Json) -> Json:
    trust = {
        "combined_validation_context": {
            "default_validation_context": certificate_names(upstream.server_name),
            "validation_context_sds_secret_config": {
                "name": AUTHORITY,
                "sds_config": authority_source,
            },
        },
    }
    return verified_tls(upstream.server_name, trust)


def verified_tls(name: str, trust: Json) -> Json:
    """A transport socket to a server that is known by authority and name.

    `trust`: the validation context as a field of Envoy's CommonTlsContext, which has to hold
    `certificate_names(name)`.
    """
    context = protobuf_any(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                # As a client Envoy stops at 1.2 where it is not told otherwise.
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            **trust,
        },
        # A resumed session would be trusted without a look at the certificate, be it of another
        # name or expired by now.
        max_session_keys=0,
    )
    if not is_address(name):
        context["sni"] = name
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def certificate_names(name: str) -> Json:
    """What a certificate has to name, as a field of Envoy's CertificateValidationContext."""
    kind = "IP_ADDRESS" if is_address(name) else "DNS"
    return {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}]}


def _address(upstream: Upstream) -> Json:
    where = {"address": upstream.address.host, "port_value": upstream.address.port}
    return {"socket_address": where}


NO_ADDRESS_IS_INTERNAL: Json = {
    "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
}
"""An empty list would mean Envoy's default, in which loopback and private addresses are trusted."""


def tls_listener(
    name: str,
    listen: SocketAddress,
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
