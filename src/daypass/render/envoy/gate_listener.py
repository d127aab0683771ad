"""The gate's listener and the way on to what it guards."""

from daypass.render.envoy.claims import JTI_STATE, USER_STATE, state_text
from daypass.render.envoy.crowd import many_connections
from daypass.render.envoy.gate import PROTECTED, forget_claimed_identity, gate_replies
from daypass.render.envoy.review import authorizer_cluster, authorizer_filter
from daypass.render.envoy.revocation import claims_filter
from daypass.render.envoy.routes import CLIENT_ADDRESS
from daypass.render.envoy.settings import GateSettings, Protected
from daypass.render.envoy.tls import NO_ADDRESS_IS_INTERNAL, tls_listener
from daypass.render.envoy.typed import Json, duration, extension
from daypass.render.envoy.upstream import certificate_names, is_address, verified_tls


def gate_listener(
    settings: GateSettings,
    routes: Json,
    keys: Json,
    revoked: Json,
    certificate_sources: dict[str, Json],
) -> Json:
    """The listener. `routes`: where the decision's routes come from, as a field of the connection
    manager; `keys`: the JWT filter; `revoked`: the one that refuses what was revoked.
    """
    manager = _connection_manager(settings, routes, keys, revoked)
    return tls_listener(
        "gate",
        settings.listen,
        settings.certificates,
        certificate_sources,
        [manager],
        settings.timeouts,
    )


def _connection_manager(settings: GateSettings, routes: Json, keys: Json, revoked: Json) -> Json:
    timeouts = settings.timeouts
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gate",
        codec_type="AUTO",
        server_name="daypass",
        **routes,
        # Nothing is decided by the path, so it stays as it is.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        use_remote_address=True,
        skip_xff_append=True,
        internal_address_config=NO_ADDRESS_IS_INTERNAL,
        generate_request_id=True,
        preserve_external_request_id=True,
        common_http_protocol_options={
            # `kubeflow_userid` and `kubeflow-userid` are one name to some servers.
            "headers_with_underscores_action": "DROP_HEADER",
            "idle_timeout": duration(timeouts.idle_seconds),
        },
        http2_protocol_options={"max_concurrent_streams": 100},
        max_request_headers_kb=60,
        request_headers_timeout=duration(timeouts.request_headers_seconds),
        drain_timeout="5s",
        delayed_close_timeout=duration(timeouts.close_seconds),
        local_reply_config=gate_replies(settings),
        early_header_mutation_extensions=[forget_claimed_identity(settings)],
        http_filters=[
            *((keys, claims_filter({USER_STATE: ("sub",)}), revoked) if settings.is_native else ()),
            *((authorizer_filter(settings),) if settings.is_reviewed else ()),
            extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
        ],
        access_log=[_access_log(settings)],
    )


def _access_log(settings: GateSettings) -> Json:
    """One line of JSON a request: who called, by the claims that were verified. They are taken
    from filter state: from metadata a line would cost twice what the request's routes do.

    The path is left out: what the services behind take for a secret in a URL, nobody here knows.
    """
    line = {
        "time": "%START_TIME%",
        "gate": "%ROUTE_NAME%",
        "client": CLIENT_ADDRESS,
        "host": "%REQ(:AUTHORITY):100%",
        "method": "%REQ(:METHOD):20%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "user": state_text(USER_STATE) if settings.is_native else f"%REQ({settings.user_header})%",
        "jti": state_text(JTI_STATE),
        "request_id": "%REQ(X-REQUEST-ID):64%",
    }
    return extension(
        "envoy.access_loggers.stdout",
        "extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": line},
    )


def gate_clusters(settings: GateSettings) -> list[Json]:
    """Where the gate sends requests, and where it asks."""
    asked = [authorizer_cluster(settings)] if settings.is_reviewed else []
    return [protected_cluster(settings), *asked]


def protected_cluster(settings: GateSettings) -> Json:
    """What the gate stands in front of, as a cluster."""
    address = settings.protected.address
    where = {"socket_address": {"address": address.host, "port_value": address.port}}
    cluster: Json = {
        "name": PROTECTED,
        # Of several addresses of a name those that answer: localhost may be ::1 as well.
        "type": "STATIC" if is_address(address.host) else "LOGICAL_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": duration(settings.timeouts.connect_seconds),
        **many_connections(settings.timeouts, **_protocol(settings.protected)),
        "load_assignment": {
            "cluster_name": PROTECTED,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
    }
    if settings.protected.authority_file:
        authority = {"trusted_ca": {"filename": settings.protected.authority_file}}
        trust = {"validation_context": {**authority, **certificate_names(address.host)}}
        cluster["transport_socket"] = verified_tls(address.host, trust)
    return cluster


def _protocol(protected: Protected) -> Json:
    """Which protocol the upstream is spoken to in; empty for HTTP/1.1."""
    alive = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
    http2 = {"http2_protocol_options": alive}
    if protected.authority_file:
        return {"auto_config": http2}
    return {"explicit_http_config": http2} if protected.is_http2 else {}
