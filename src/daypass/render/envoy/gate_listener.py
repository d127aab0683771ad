"""The gate on Envoy: `jwt_authn` reads the token, routes decide upon what it found.

Envoy verifies the signature, issuer, audience and times. What it cannot say (is the token bound, is
it the long-lived one, did two parsers read the header alike) are routes upon the verified claims,
each refusal with a message of its own. Only one route leads on, and it asks for everything at once:
whatever is missing, a request ends in a refusal.

The gate's listener and the way on to what it guards.
"""

from collections.abc import Iterator

from daypass._core.net import is_address
from daypass.config.exposure import BEARER_JWT, bracketed
from daypass.render.envoy.claims import (
    A_NAMESPACE,
    A_USER,
    AN_EXACT_TIME,
    GROUPS,
    JTI_STATE,
    PAYLOAD,
    SOME_TEXT,
    USER,
    USER_STATE,
    claim,
    state_text,
)
from daypass.render.envoy.filters import (
    authorizer_cluster,
    authorizer_filter,
    authorizer_replies,
    claims_filter,
    revocation_replies,
    without_authorizer,
)
from daypass.render.envoy.protobuf_any import (
    Json,
    connection_limits,
    duration,
    extension,
    full_match,
    protobuf_any,
)
from daypass.render.envoy.replies import details_reply, gate_hint, reply, status_format
from daypass.render.envoy.routes import CLIENT_ADDRESS, other_than
from daypass.render.envoy.settings import GateSettings, Protected
from daypass.render.envoy.upstream import (
    NO_ADDRESS_IS_INTERNAL,
    certificate_names,
    tls_listener,
    verified_tls,
)

PROTECTED = "protected"
LONG_LIVED_ISSUER = "kubernetes/serviceaccount"
"""`iss` of the token in a Secret of type kubernetes.io/service-account-token."""
CLOCK_SKEW_SECONDS = 10
_LONG = "long"
"""The claims of a long-lived token."""


def authentication(settings: GateSettings, keys: str) -> Json:
    """Envoy's JwtAuthentication. `keys`: the API server's JSON Web Key Set, as text."""
    common: Json = {
        "local_jwks": {"inline_string": keys},
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        # The routes read the header again, and take it off if the services are not to see it.
        "forward": True,
        # Before it there are no claims, and the route that was chosen then leads nowhere.
        "clear_route_cache": True,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
    }
    short = {
        **common,
        "issuer": settings.issuer,
        "audiences": [settings.audience],
        "payload_in_metadata": PAYLOAD,
        "require_expiration": True,
        "max_lifetime": f"{settings.longest_lifetime_seconds}s",
        "jwt_cache_config": {"jwt_cache_size": 4096},
    }
    # Only to know it: a route refuses it.
    long = {**common, "issuer": LONG_LIVED_ISSUER, "payload_in_metadata": _LONG}
    either = [{"provider_name": "short"}, {"provider_name": "long"}]
    return protobuf_any(
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"short": short, "long": long},
        rules=[{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": either}}}],
    )


def gate_routes(settings: GateSettings) -> Json:
    """The decision, as a table of routes over the verified claims; with `check: review` the
    authorizer has it, and whatever it lets through goes on.
    """
    return {
        "name": "gate",
        "ignore_port_in_host_matching": True,
        # No proxy in front is trusted: what a client says of its address does not travel on.
        "request_headers_to_add": [_set("x-forwarded-for", CLIENT_ADDRESS)],
        "virtual_hosts": [
            {
                "name": "gate",
                "domains": [bracketed(host) for host in settings.hosts],
                "routes": _routes(settings),
            }
        ],
    }


def _routes(settings: GateSettings) -> list[Json]:
    if not settings.is_native:
        return [_pass_reviewed(settings)]
    refused = [*_refusals(settings), _refuse("refused", 403, _OTHER)]
    first = _unverified()
    if settings.is_reviewed:
        for route in (first, *refused):
            route["typed_per_filter_config"] = without_authorizer()
    return [first, _pass(settings), *refused]


_LIVES_TOO_LONG = "this token lives longer than the gate takes"
_UNVERIFIED = "this token was not verified"
_LONG_LIVED = "this is a long-lived token, which opens only the door: trade it there"
_AUDIENCE = "this token is made for another audience"
_UNBOUND = (
    "this token hangs on no Secret, so it could not be revoked: ask for one with boundObjectRef"
)
_SEVERAL = "this token is made for more than this gate: ask for one with this audience alone"
_OTHER = "this token is not one of a ServiceAccount"
_UPGRADE = "the gate of one machine changes no protocols: it lets no WebSocket through"
_UNREADABLE = (
    "exactly one 'Authorization: Bearer <token>' header is needed: one space, a JSON Web Token, "
    "nothing after it"
)


def gate_replies(settings: GateSettings) -> Json:
    """The gate's own answers as Kubernetes Status; never a redirect."""
    hint = gate_hint(settings.audience)
    said = f"%LOCAL_REPLY_BODY% ({hint})"
    refused = [
        *(authorizer_replies() if settings.is_reviewed else ()),
        *revocation_replies(settings.audience),
        details_reply("upgrade_failed", 403, "Forbidden", _UPGRADE),
        reply(401, "Unauthorized", said),
        reply(403, "Forbidden", said),
        reply(404, "NotFound", "the gate does not guard this host"),
        reply(429, "TooManyRequests", "too many requests at the gate, try again later"),
        reply(503, "ServiceUnavailable", "the gate cannot reach what it guards"),
        reply(504, "Timeout", "what the gate guards did not answer in time"),
    ]
    return {
        "mappers": refused,
        "body_format": status_format("%RESPONSE_CODE%", "", "%LOCAL_REPLY_BODY%"),
    }


def _unverified() -> Json:
    """The route of every request until its token is verified. It costs next to nothing, where
    others read the header byte by byte; and where nobody verifies, nothing passes.
    """
    neither = [_not(claim(["iss"], within=within)) for within in (PAYLOAD, _LONG)]
    return _refuse("unverified", 401, _UNVERIFIED, dynamic_metadata=neither)


def _refusals(settings: GateSettings) -> Iterator[Json]:
    """What is told to those that do not pass."""

    def refuse(name: str, code: int, message: str, **match: object) -> Json:
        return _refuse(name, code, message, **match)

    readable = {**_header("authorization", BEARER_JWT), "invert_match": True}
    yield refuse("unreadable", 401, _UNREADABLE, headers=[readable])
    yield refuse("long-lived", 401, _LONG_LIVED, dynamic_metadata=[claim(["iss"], within=_LONG)])
    audience = _not(_for_the_gate(settings))
    yield refuse("audience", 403, _AUDIENCE, dynamic_metadata=[audience])
    several = _other_audience(settings)
    yield refuse("several-audiences", 403, _SEVERAL, dynamic_metadata=[several])
    endless = _not(claim(["exp"], AN_EXACT_TIME))
    yield refuse("lives-too-long", 401, _LIVES_TOO_LONG, dynamic_metadata=[endless])
    for is_account in (
        claim(["sub"], A_USER),
        claim(["kubernetes.io", "namespace"], A_NAMESPACE),
    ):
        yield refuse("subject", 403, _OTHER, dynamic_metadata=[_not(is_account)])
    if settings.require_bound:
        bound = _not(claim(["kubernetes.io", "secret", "uid"], SOME_TEXT))
        yield refuse("unbound", 403, _UNBOUND, dynamic_metadata=[bound])


def _for_the_gate(settings: GateSettings) -> Json:
    # Kubernetes writes a list, also of one; Envoy's own check takes a text as well.
    exact = {"string_match": {"exact": settings.audience}}
    return claim(["aud"], {"list_match": {"one_of": exact}})


def _other_audience(settings: GateSettings) -> Json:
    others = {"string_match": {"safe_regex": full_match(other_than(settings.audience))}}
    return claim(["aud"], {"list_match": {"one_of": others}})


def _pass(settings: GateSettings) -> Json:
    issuer = {"string_match": {"exact": settings.issuer}}
    claims = [
        claim(["iss"], issuer),
        _for_the_gate(settings),
        _not(_other_audience(settings)),
        _not(claim(["iss"], within=_LONG)),
        claim(["exp"], AN_EXACT_TIME),
        claim(["sub"], A_USER),
        claim(["kubernetes.io", "namespace"], A_NAMESPACE),
    ]
    if settings.require_bound:
        claims.append(claim(["kubernetes.io", "secret", "uid"], SOME_TEXT))
    removed = [] if settings.forward_token else ["authorization"]
    return {
        "name": "pass",
        "match": {
            "prefix": "/",
            "headers": [_header("authorization", BEARER_JWT)],
            "dynamic_metadata": claims,
        },
        "route": {"cluster": PROTECTED, "timeout": "0s"},
        "request_headers_to_remove": removed,
        "request_headers_to_add": [
            _set(settings.user_header, USER),
            _set(settings.groups_header, GROUPS),
        ],
    }


def _pass_reviewed(settings: GateSettings) -> Json:
    return {
        "name": "pass",
        "match": {"prefix": "/"},
        "route": {"cluster": PROTECTED, "timeout": "0s"},
        "request_headers_to_remove": [] if settings.forward_token else ["authorization"],
    }


def _refuse(name: str, code: int, message: str, **match: object) -> Json:
    return {
        "name": f"refuse-{name}",
        "match": {"prefix": "/", **match},
        "direct_response": {
            "status": code,
            "body": {"inline_string": message},
        },
    }


def _not(matcher: Json) -> Json:
    """A MetadataMatcher turned around; what is not there is then a match."""
    return {**matcher, "invert": True}


def _header(name: str, pattern: str) -> Json:
    # The anchors change nothing but RE2's work, which compares what a pattern begins with at once.
    return {"name": name, "string_match": {"safe_regex": full_match(f"^(?:{pattern})$")}}


def _set(name: str, value: str) -> Json:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def key_following_filter(source: Json) -> Json:
    """The JWT filter as one that follows a file: open connections get new keys at once."""
    return {
        "name": "keys",
        "config_discovery": {
            "config_source": source,
            "type_urls": [
                "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
            ],
        },
    }


def forget_claimed_identity(settings: GateSettings) -> Json:
    """A mutation that removes identity headers which a client sent, before any filter runs."""
    names = (settings.user_header, settings.groups_header)
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": name} for name in names],
    )


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
        **connection_limits(settings.timeouts, **_protocol(settings.protected)),
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
