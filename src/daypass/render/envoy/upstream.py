"""The clusters of the API server and of the guarded service, and listeners that speak TLS only.

Connections to the API server are verified by authority and name, and carry only the request headers
on a list.
"""

from daypass._core.net import is_address
from daypass.config.exposure import REQUEST_HEADERS, bracketed
from daypass.render.envoy.protobuf_any import (
    Json,
    connection_limits,
    duration,
    extension,
    protobuf_any,
)
from daypass.render.envoy.routes import UPSTREAM, keep_only
from daypass.render.envoy.settings import (
    Certificate,
    GateSettings,
    Protected,
    SocketAddress,
    Timeouts,
    Upstream,
)

PROTECTED = "protected"
AUTHORITY = "api-server.authority"
"""Name of the TLS secret. The dot keeps it apart from those of domains, whose names are labels."""

NO_ADDRESS_IS_INTERNAL: Json = {
    "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
}
"""An empty list would mean Envoy's default, which trusts loopback and private addresses."""


def cluster(
    upstream: Upstream, authority_source: Json, timeouts: Timeouts, *, checks_health: bool
) -> Json:
    """Return the API server's cluster.

    `authority_source`: where the secret AUTHORITY comes from. `checks_health`: whether Envoy checks
    the API server, so that a probe can report it.
    """
    return {
        "name": UPSTREAM,
        "type": _discovery(upstream, checks_health),
        "connect_timeout": duration(timeouts.connect_seconds),
        "dns_lookup_family": "ALL",
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "load_assignment": _load_assignment(UPSTREAM, upstream.address),
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
                # HTTP/2 if the API server offers it: a request's length is then a frame's, which
                # two parsers can't read differently.
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
        **({"health_checks": [_health_check(upstream)]} if checks_health else {}),
    }


def _discovery(upstream: Upstream, checks_health: bool) -> str:
    if is_address(upstream.address.host):
        return "STATIC"
    # LOGICAL_DNS takes whichever address of a name answers, but calls it healthy until it was
    # checked. STRICT_DNS takes turns; health checks then leave out addresses that don't answer.
    return "STRICT_DNS" if checks_health else "LOGICAL_DNS"


def _health_check(upstream: Upstream) -> Json:
    return {
        "timeout": "3s",
        "interval": "5s",
        # Without traffic the default is once a minute.
        "no_traffic_interval": "5s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {
            "path": "/readyz",
            "host": bracketed(upstream.server_name),
            # A cluster may refuse anonymous requests: any response below 500 is healthy.
            "expected_statuses": [{"start": 200, "end": 500}],
        },
    }


def protected_cluster(settings: GateSettings) -> Json:
    """Return the cluster of the guarded service."""
    address = settings.protected.address
    cluster: Json = {
        "name": PROTECTED,
        # LOGICAL_DNS takes whichever address of a name answers: localhost may also be ::1.
        "type": "STATIC" if is_address(address.host) else "LOGICAL_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": duration(settings.timeouts.connect_seconds),
        **connection_limits(settings.timeouts, **_protocol(settings.protected)),
        "load_assignment": _load_assignment(PROTECTED, address),
    }
    if settings.protected.authority_file:
        authority = {"trusted_ca": {"filename": settings.protected.authority_file}}
        trust = {"validation_context": {**authority, **certificate_names(address.host)}}
        cluster["transport_socket"] = verified_tls(address.host, trust)
    return cluster


def _protocol(protected: Protected) -> Json:
    """Return the upstream's protocol options; empty for HTTP/1.1."""
    keepalive = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
    http2 = {"http2_protocol_options": keepalive}
    if protected.authority_file:
        return {"auto_config": http2}
    return {"explicit_http_config": http2} if protected.is_http2 else {}


def _load_assignment(name: str, address: SocketAddress) -> Json:
    where = {"socket_address": {"address": address.host, "port_value": address.port}}
    return {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
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
    """Return a transport socket to a server that is verified by authority and name.

    `trust`: the validation context as a field of Envoy's CommonTlsContext, which must contain
    `certificate_names(name)`.
    """
    context = protobuf_any(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                # As a client, Envoy stops at 1.2 by default.
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            **trust,
        },
        # A resumed session would skip certificate verification, even after the certificate
        # expired or the expected name changed.
        max_session_keys=0,
    )
    if not is_address(name):
        context["sni"] = name
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def certificate_names(name: str) -> Json:
    """Return the required certificate name as a field of Envoy's CertificateValidationContext."""
    kind = "IP_ADDRESS" if is_address(name) else "DNS"
    return {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}]}


def _address(upstream: Upstream) -> Json:
    where = {"address": upstream.address.host, "port_value": upstream.address.port}
    return {"socket_address": where}


def tls_listener(
    name: str,
    listen: SocketAddress,
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
