"""The clusters of the API server and of the guarded service.

Connections to the API server are verified by authority and name, and carry only the request headers
on a list. Envoy has no header allowlist, so `_keep_only` removes the headers that match the
complement of the list. The complement of a finite set of names is a regular language: RE2 decides
it in one pass over the name. The pattern is built from the tree of the names.
"""

from collections.abc import Iterable

from daypass._core.net import bracketed, is_address
from daypass.config import Address
from daypass.config.exposure import REQUEST_HEADERS
from daypass.render.envoy.authorizer_filters import AUTHORIZER
from daypass.render.envoy.door_routes import UPSTREAM
from daypass.render.envoy.settings import DoorSettings, GateSettings, Protected, Timeouts, Upstream
from daypass.render.envoy.xds import Json, duration, extension, full_match, protobuf_any

PROTECTED = "protected"
WEB_SOCKETS = "protected-websockets"
"""The guarded service over HTTP/1.1 even if it offers HTTP/2, where few servers have WebSockets.
Their connections are never reused for other requests."""
AUTHORITY = "api-server.authority"
"""Name of the TLS secret. The dot keeps it apart from those of domains, whose names are labels."""


MOST_CONNECTIONS = 8192
"""From clients, at all listeners together: the guarded service and the authorizer get as many."""
MOST_WEB_SOCKETS = MOST_CONNECTIONS // 4
"""Of all clients, silent ones too. The rest is for requests, and for the door."""
_MOST_TO_API_SERVER = 1024
ADMIN = "admin"
"""The admin interface, to which the one route of the listener for Prometheus leads."""
MOST_SCRAPES = 8
"""At a time."""
_KEEPALIVE = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}


def _cluster(
    name: str, discovery: str, address: Json, most: int, timeouts: Timeouts, **protocol: object
) -> Json:
    """Return a cluster whose idle connections are closed.

    `most`: connections and requests at a time. `protocol`: the fields of HttpProtocolOptions that
    choose it; HTTP/1.1 if left out.
    """
    chosen = protocol or {"explicit_http_config": {"http_protocol_options": {}}}
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "name": name,
        "type": discovery,
        "connect_timeout": duration(timeouts.connect_seconds),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, most)]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protobuf_any(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": duration(timeouts.idle_seconds)},
                **chosen,
            )
        },
    }


def api_server_cluster(settings: DoorSettings, authority_source: Json) -> Json:
    """Return the API server's cluster. `authority_source`: where the secret AUTHORITY comes from.

    If there is a probe, Envoy checks the API server, so that the probe can report it.
    """
    upstream, checks_health = settings.upstream, settings.probe is not None
    cluster = _cluster(
        UPSTREAM,
        _discovery(upstream, checks_health),
        _socket(upstream.address),
        _MOST_TO_API_SERVER,
        settings.timeouts,
        # HTTP/2 if the API server offers it: a request's length is then a frame's, which two
        # parsers can't read differently.
        auto_config={"http2_protocol_options": {"max_concurrent_streams": 100, **_KEEPALIVE}},
        http_filters=[
            _keep_only(REQUEST_HEADERS),
            extension(
                "envoy.filters.http.upstream_codec",
                "extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            ),
        ],
    )
    cluster |= {
        "dns_lookup_family": "ALL",
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "transport_socket": _tls(upstream, authority_source),
    }
    return cluster | ({"health_checks": [_health_check(upstream)]} if checks_health else {})


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


def admin_cluster(admin_socket: str) -> Json:
    """Return the cluster of the admin interface at its Unix socket."""
    where = {"pipe": {"path": admin_socket}}
    return _cluster(ADMIN, "STATIC", where, MOST_SCRAPES, Timeouts())


def gate_clusters(settings: GateSettings) -> list[Json]:
    """Return the clusters of the guarded service and of the authorizer at its Unix socket."""
    protected = settings.protected
    clusters = [_protected_cluster(settings, PROTECTED, **_protocol(protected))]
    if not protected.is_http2:
        web_sockets = _protected_cluster(settings, WEB_SOCKETS)
        # Not of connections: beyond those, a handshake would wait for one.
        web_sockets["circuit_breakers"]["thresholds"][0]["max_requests"] = MOST_WEB_SOCKETS
        clusters.append(web_sockets)
    if settings.gate.asks_authorizer:
        where = {"pipe": {"path": settings.authorizer_socket}}
        clusters.append(_cluster(AUTHORIZER, "STATIC", where, MOST_CONNECTIONS, settings.timeouts))
    return clusters


def _protected_cluster(settings: GateSettings, name: str, **protocol: object) -> Json:
    protected, address = settings.protected, settings.protected.address
    cluster = _cluster(
        name,
        # LOGICAL_DNS takes whichever address of a name answers: localhost may also be ::1.
        "STATIC" if is_address(address.host) else "LOGICAL_DNS",
        _socket(address),
        MOST_CONNECTIONS,
        settings.timeouts,
        **protocol,
    )
    cluster["dns_lookup_family"] = "ALL"
    if protected.authority_file:
        authority = {"trusted_ca": {"filename": protected.authority_file}}
        trust = {"validation_context": {**authority, **certificate_names(address.host)}}
        cluster["transport_socket"] = verified_tls(address.host, trust)
    return cluster


def _protocol(protected: Protected) -> Json:
    """Return the upstream's protocol options; empty for HTTP/1.1."""
    http2 = {"http2_protocol_options": _KEEPALIVE}
    if protected.authority_file:
        return {"auto_config": http2}
    return {"explicit_http_config": http2} if protected.is_http2 else {}


def _socket(address: Address) -> Json:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


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


def _keep_only(names: Iterable[str]) -> Json:
    """Return an HTTP filter that removes all trailers, and request headers not in `names`.

    For the upstream side of a cluster: on the downstream side it would remove headers that Envoy's
    router needs.
    """
    others = {"remove_on_match": {"key_matcher": {"safe_regex": full_match(complement(names))}}}
    trailers = {"remove_on_match": {"key_matcher": {"safe_regex": full_match(".*")}}}
    return extension(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [others], "request_trailers_mutations": [trailers]},
    )


def complement(names: Iterable[str]) -> str:
    """Return a pattern that matches, as a whole, every name that is not in `names`.

    Names consist of lower-case letters, digits and dashes. Names that begin with a colon (HTTP/2's
    pseudo-headers) never match: they are not headers.
    """
    return _below(sorted(set(names)), extra=":")


def _below(rests: list[str], extra: str = "") -> str:
    firsts = sorted({rest[0] for rest in rests if rest})
    # A dash comes first in a class, where it can't stand for a range.
    excluded = "".join(sorted({*firsts, *extra}, key=lambda c: (c != "-", c)))
    branches = [] if "" in rests or extra else [""]
    branches.append(f"[^{excluded}].*" if excluded else ".+")
    branches.extend(
        first + _below([rest[1:] for rest in rests if rest.startswith(first)]) for first in firsts
    )
    return f"({'|'.join(branches)})"
