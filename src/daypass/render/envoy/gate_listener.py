"""The gate on Envoy of one machine: its listener, routes and responses.

`token_rules` decides. What it accepts gets the caller's identity from the verified claims, and is
forwarded by one of two routes: that of WebSockets, or that of all other requests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from daypass._core.net import bracketed
from daypass.render.envoy.authorizer_filters import (
    NO_RBAC,
    asking_filter,
    authorizer_replies,
    identified_filter,
    without_authorizer,
)
from daypass.render.envoy.door_routes import CLIENT_ADDRESS, header_match
from daypass.render.envoy.listener import (
    DRAINED,
    connection_manager,
    early_mutations,
    json_log,
    stream_bound,
    tls_listener,
)
from daypass.render.envoy.replies import (
    has_details,
    literal,
    other_reply,
    reply,
    reply_where,
    status_format,
)
from daypass.render.envoy.settings import GateSettings
from daypass.render.envoy.token_rules import (
    REFUSING,
    any_pattern,
    authentication,
    deciding_filters,
    refusal_replies,
)
from daypass.render.envoy.upstream import PROTECTED, WEB_SOCKETS
from daypass.render.envoy.xds import (
    GROUPS,
    JTI_STATE,
    USER,
    USER_STATE,
    Json,
    duration,
    extension,
    set_header,
    state_text,
)
from daypass.rules.patterns import EVERY_HOST
from daypass.rules.reasons import CODES, MESSAGES, REASON_HEADER, Reason, next_step

_ELSEWHERE = "not-guarded"
_SILENT_SECONDS = 3600
"""How long a WebSocket may carry nothing, such as one that follows the logs of a job. Envoy's
default for streams is five minutes."""


def keys_config(settings: GateSettings, keys: str | None) -> Json:
    """Return the config of the JWT filter. `keys`: the text of the API server's JSON Web Key Set;
    None before it is known.
    """
    # The route removes the token.
    return authentication(settings.rules, keys, keeps_header=True)


def _gate_routes(settings: GateSettings) -> Json:
    """Return the routes: they forward for the gate's hosts; requests for others are refused."""
    hosts = tuple(host for host in settings.rules.hosts if host.text != EVERY_HOST)
    if replace(settings.rules, hosts=hosts).is_strict:
        exact = header_match(":authority", any_pattern(host.exact_regex for host in hosts))
        forward = list(_forwarding(settings, [exact]))
        named: list[Json] = []
    else:
        forward = []
        names = [bracketed(host.text) for host in hosts]
        named = [{"name": "gate", "domains": names, "routes": list(_forwarding(settings))}]
    others = [*forward, _not_guarded(settings)]
    return {
        "name": "gate",
        "ignore_port_in_host_matching": True,
        # No proxy in front is trusted: a client's claim about its address is replaced.
        "request_headers_to_add": [set_header("x-forwarded-for", CLIENT_ADDRESS)],
        "virtual_hosts": [*named, {"name": "elsewhere", "domains": ["*"], "routes": others}],
    }


def _forwarding(settings: GateSettings, headers: Iterable[Json] = ()) -> Iterator[Json]:
    """Yield the routes that forward requests with these headers."""
    yield from _web_sockets(settings, headers)
    yield _forward(settings, "pass", headers)


_WEB_SOCKET = (
    {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}},
    {"name": ":method", "string_match": {"exact": "GET"}},
    # It is forwarded. A proxy behind would drop other headers that it names, such as the user's.
    header_match("connection", "(?i)(keep-alive, *)?upgrade"),
    # These two may come twice, and only one of them be good: that is for the service to judge.
    {"name": "sec-websocket-version", "string_match": {"exact": "13"}},
    header_match("sec-websocket-key", "[A-Za-z0-9+/]{22}=="),
    {"name": "content-length", "present_match": False},
    {"name": "transfer-encoding", "present_match": False},
)
"""What a client sends to open a WebSocket (RFC 6455, 4.1), which has no body.

Other upgrades match no route that allows one: what a server behind refuses, its client could follow
by requests that the gate never sees.
"""


def _web_sockets(settings: GateSettings, headers: Iterable[Json]) -> Iterator[Json]:
    """Yield the route of WebSockets, which need HTTP/1.1 on both sides of the gate."""
    if settings.protected.is_http2:
        return
    # Most requests fail the first of these: a pattern of hosts costs more.
    route = _forward(settings, "pass-websocket", [*_WEB_SOCKET, *headers])
    route["route"] |= {
        "cluster": WEB_SOCKETS,
        "idle_timeout": duration(_SILENT_SECONDS),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    yield route


def _forward(settings: GateSettings, name: str, headers: Iterable[Json]) -> Json:
    """Return a route for requests with these headers."""
    gate = settings.gate
    added = {gate.headers.user: USER, gate.headers.groups: GROUPS}
    return {
        "name": name,
        "match": {"prefix": "/", **({"headers": list(headers)} if headers else {})},
        "route": {"cluster": PROTECTED, "timeout": "0s"},
        "request_headers_to_add": [set_header(name, value) for name, value in added.items()],
        "request_headers_to_remove": [] if gate.forward_token else ["authorization"],
        "response_headers_to_remove": [REASON_HEADER],
    }


def _not_guarded(settings: GateSettings) -> Json:
    """Return a route that refuses whatever its token is."""
    return {
        "name": _ELSEWHERE,
        "match": {"prefix": "/"},
        "direct_response": {"status": CODES[Reason.NOT_GUARDED]},
        "typed_per_filter_config": {
            **DRAINED,
            REFUSING: NO_RBAC,
            **(without_authorizer() if settings.gate.asks_authorizer else {}),
        },
    }


_NOT_GUARDED = (404, "NotFound", MESSAGES[Reason.NOT_GUARDED], Reason.NOT_GUARDED)
_OVERFLOW = "upstream_reset_before_response_started{overflow}"
"""Envoy's response code details beyond the most requests to a cluster, such as WEB_SOCKETS."""
_BUSY = ("TooManyRequests", "too many requests at the gate, try again later")
_UPGRADE = (
    "the gate of one machine lets no upgrade through but a WebSocket (RFC 6455), "
    "to a service at http:// or https://"
)


def _no_web_socket_reply() -> Json:
    """Return a mapper for a service's 2xx or 3xx to a WebSocket, of which the headers are kept."""
    message = "what the gate guards answered, but did not open a WebSocket"
    where = has_details("websocket_handshake_unsuccessful")
    return {
        **reply_where(where, 502, "BadGateway", message, "no-websocket"),
        "headers_to_add": [set_header(REASON_HEADER, "no-websocket")],
    }


def _gate_replies(settings: GateSettings) -> Json:
    """Return the gate's own responses, each a Kubernetes Status; none is a redirect."""
    audience = settings.gate.audience
    with_hint = f"%LOCAL_REPLY_BODY% ({literal(next_step(Reason.NO_TOKEN, audience))})"
    upgrade = has_details("upgrade_failed")
    mappers = [
        *(authorizer_replies(settings.rules) if settings.gate.asks_authorizer else ()),
        reply_where(f"{upgrade} && xds.route_name == '{_ELSEWHERE}'", *_NOT_GUARDED),
        reply_where(upgrade, 403, "Forbidden", _UPGRADE, "upgrade"),
        _no_web_socket_reply(),
        reply_where(has_details(_OVERFLOW), 429, *_BUSY, "too-many-requests"),
        *refusal_replies(settings.rules),
        reply(401, "Unauthorized", with_hint, Reason.MALFORMED),
        reply(403, "Forbidden", with_hint, "refused"),
        reply(*_NOT_GUARDED),
        reply(429, *_BUSY, "too-many-requests"),
        reply(503, "ServiceUnavailable", "the gate cannot reach what it guards", "unreachable"),
        reply(504, "Timeout", "what the gate guards did not answer in time", "timeout"),
        other_reply(),
    ]
    return {
        "mappers": mappers,
        "body_format": status_format("%RESPONSE_CODE%", "", "%LOCAL_REPLY_BODY%"),
    }


def gate_listener(
    settings: GateSettings,
    keys: Json,
    published: list[Json],
    certificate_sources: dict[str, Json],
) -> Json:
    """Return the gate's listener.

    `keys`: the JWT filter. `published`: the filters that look up what is published.
    """
    headers = settings.gate.headers
    identity = headers.user, headers.groups
    asked = asking_filter(settings.name, identity), identified_filter(headers.user)
    filters = [
        *deciding_filters(settings.rules, verified=keys, published=published),
        *(asked if settings.gate.asks_authorizer else ()),
        extension(
            "envoy.filters.http.router",
            "extensions.filters.http.router.v3.Router",
            # The listener's own statistics count every response already.
            dynamic_stats=False,
        ),
    ]
    manager = connection_manager(
        "gate",
        _gate_routes(settings),
        filters,
        settings.timeouts,
        common_http_protocol_options={
            # `kubeflow_userid` and `kubeflow-userid` are the same name to some servers.
            "headers_with_underscores_action": "DROP_HEADER",
            "idle_timeout": duration(settings.timeouts.idle_seconds),
            **stream_bound(settings.gate),
        },
        http2_protocol_options={"max_concurrent_streams": 100},
        max_request_headers_kb=60,
        local_reply_config=_gate_replies(settings),
        # Headers that only the gate sets are removed before any filter.
        early_header_mutation_extensions=early_mutations(
            *({"remove": name} for name in (*identity, REASON_HEADER))
        ),
        access_log=[json_log(LOG_FIELDS)],
        access_log_options={"flush_log_on_tunnel_successfully_established": True},
    )
    return tls_listener(
        "gate",
        settings.listen,
        settings.certificates,
        certificate_sources,
        [manager],
        settings.timeouts,
    )


LOG_FIELDS = {
    "time": "%START_TIME%",
    "reason": f"%RESP({REASON_HEADER})%",
    "client": CLIENT_ADDRESS,
    "host": "%REQ(:AUTHORITY):100%",
    "method": "%REQ(:METHOD):20%",
    "code": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "user": state_text(USER_STATE),
    "jti": state_text(JTI_STATE),
    "request_id": "%REQ(X-REQUEST-ID):64%",
}
"""The gate's log has one JSON line per request, with the caller from the verified claims.

A WebSocket has two with the same request ID: when it opens, and when it ends. The claims come from
filter state: from metadata, a line would cost twice as much. The path is left out: the services
behind may have secrets in URLs. The documentation has this format for other gateways.
"""
