"""The gate on Envoy: its listener, and the decision.

Envoy's `jwt_authn` filter verifies signature, issuer, audience and times. What it can't check (is
the token bound, is it the long-lived one, do two parsers read the header alike) are routes that
match the verified claims, each refusal with its own message. Only one route forwards, and it
requires everything at once: whatever is missing, the request is refused.
"""

import json
from collections.abc import Iterator

from daypass._core.net import bracketed
from daypass._core.reasons import CODES, MESSAGES, REASON_HEADER, Reason
from daypass.config.exposure import BEARER_JWT
from daypass.render.envoy.filters import (
    IDENTIFIED,
    authorizer_filter,
    authorizer_replies,
    claims_filter,
    revocation_replies,
    with_authorizer,
    without_authorizer,
)
from daypass.render.envoy.listener import (
    connection_manager,
    early_mutations,
    json_log,
    tls_listener,
)
from daypass.render.envoy.matching import (
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
    exactly,
    has_item,
    has_other_item,
    state_text,
)
from daypass.render.envoy.protobuf_any import (
    JWT_AUTHENTICATION,
    RBAC,
    Json,
    duration,
    extension,
    protobuf_any,
    set_header,
)
from daypass.render.envoy.replies import (
    details_reply,
    gate_hint,
    other_reply,
    refusal_reply,
    reply,
    status_format,
)
from daypass.render.envoy.routes import CLIENT_ADDRESS, header_match
from daypass.render.envoy.settings import GateSettings
from daypass.render.envoy.upstream import PROTECTED

LONG_LIVED_ISSUER = "kubernetes/serviceaccount"
"""`iss` of the token in a Secret of type kubernetes.io/service-account-token."""
_CLOCK_SKEW_SECONDS = 10
NO_KEYS = json.dumps(
    {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "alg": "ES256",
                "kid": "nobody",
                "x": "ervQaI2Y-7vUvT4RJpEZ3YBCEHCmfAL7dowBIJK4Df0",
                "y": "ZtzefLvzOw2TUFyLDRTdOUoR0PvA5LhNLsB2XdIecj8",
            }
        ]
    }
)
"""The key set before there are keys: every token is refused. Envoy rejects an empty set, so it has
one key whose private half nobody knows: `x` is the SHA-256 of "daypass: nobody's key 0"."""
_LONG = "long"
"""Metadata key: the claims of a long-lived token."""


def jwt_provider(
    issuer: str,
    keys: str,
    claims: str,
    *,
    forward: bool,
    audience: str = "",
    longest_lifetime_seconds: int | None = None,
    failed: str = "",
) -> Json:
    """Return Envoy's JwtProvider for the tokens of an issuer.

    `keys`: the text of the API server's JSON Web Key Set. `forward`: whether the header stays.
    `claims`, `failed`: metadata keys for the claims, and for why a token is not verified.
    `longest_lifetime_seconds`: None for tokens that may lack an expiry.
    """
    provider: Json = {
        "local_jwks": {"inline_string": keys},
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": forward,
        "clock_skew_seconds": _CLOCK_SKEW_SECONDS,
        "issuer": issuer,
        **({"audiences": [audience]} if audience else {}),
        "payload_in_metadata": claims,
        **({"failed_status_in_metadata": failed} if failed else {}),
    }
    if longest_lifetime_seconds is not None:
        provider |= {
            "require_expiration": True,
            "max_lifetime": f"{longest_lifetime_seconds}s",
            "jwt_cache_config": {"jwt_cache_size": 4096},
        }
    return provider


def authentication(settings: GateSettings, keys: str) -> Json:
    """Return Envoy's JwtAuthentication. `keys`: the text of the API server's JSON Web Key Set."""
    # The routes match the header again; the one that forwards removes it.
    short = jwt_provider(
        settings.issuer,
        keys,
        PAYLOAD,
        forward=True,
        audience=settings.gate.audience,
        longest_lifetime_seconds=settings.longest_lifetime_seconds,
    )
    # Verified only to recognize it: a route refuses it.
    long = jwt_provider(LONG_LIVED_ISSUER, keys, _LONG, forward=True)
    either = [{"provider_name": "short"}, {"provider_name": "long"}]
    # Without claims, the route that was chosen before this filter refuses.
    reroute = {"clear_route_cache": True}
    return protobuf_any(
        JWT_AUTHENTICATION,
        providers={"short": short | reroute, "long": long | reroute},
        rules=[{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": either}}}],
    )


def gate_routes(settings: GateSettings) -> Json:
    """Return the decision as a table of routes over the verified claims.

    With `check: review` the authorizer decides, and one route forwards.
    """
    return {
        "name": "gate",
        "ignore_port_in_host_matching": True,
        # No proxy in front is trusted: a client's claim about its address is replaced.
        "request_headers_to_add": [set_header("x-forwarded-for", CLIENT_ADDRESS)],
        "virtual_hosts": [
            {
                "name": "gate",
                "domains": [bracketed(host) for host in settings.hosts],
                "routes": _routes(settings),
            }
        ],
    }


def _routes(settings: GateSettings) -> list[Json]:
    if not settings.gate.is_native:
        return [_pass_reviewed(settings)]
    refused = [
        *_refusals(settings),
        _refuse_route("refused", 403, MESSAGES[Reason.SUBJECT], Reason.SUBJECT),
    ]
    first, passing = _unverified(), _pass(settings)
    if settings.gate.is_reviewed:
        passing["typed_per_filter_config"] = with_authorizer(settings.gate.headers.user)
        for route in (first, *refused):
            route["typed_per_filter_config"] = without_authorizer()
    return [first, passing, *refused]


_UNVERIFIED = "this token was not verified"
_BUSY = ("TooManyRequests", "too many requests at the gate, try again later")
_JWT_MESSAGES = {
    "Jwt is missing": Reason.NO_TOKEN,
    "Jwt issuer is not configured": Reason.FOREIGN_ISSUER,
    "Jwt header [alg] is not supported": Reason.ALGORITHM,
    "Jwt is expired": Reason.EXPIRED,
    "Jwt not yet valid": Reason.NOT_YET_VALID,
    "Jwt verification fails": Reason.SIGNATURE,
    "Jwks doesn't have key to match kid or alg from Jwt": Reason.SIGNATURE,
    "Audiences in Jwt are not allowed": Reason.AUDIENCE,
}
"""The JWT filter's messages (jwt_verify_lib's status.cc) in its response code details. All others
are of malformed tokens.
"""
_UPGRADE = "the gate of one machine changes no protocols: it lets no WebSocket through"


def _gate_replies(settings: GateSettings) -> Json:
    """Return the gate's own responses, each a Kubernetes Status; none is a redirect."""
    hint = gate_hint(settings.gate.audience)
    with_hint = f"%LOCAL_REPLY_BODY% ({hint})"
    mappers = [
        *(authorizer_replies() if settings.gate.is_reviewed else ()),
        *revocation_replies(settings.gate.audience),
        details_reply("upgrade_failed", 403, "Forbidden", _UPGRADE, "upgrade"),
        *(_jwt_reply(message, reason, settings) for message, reason in _JWT_MESSAGES.items()),
        _jwt_reply("", Reason.MALFORMED, settings),
        reply(401, "Unauthorized", with_hint, Reason.MALFORMED),
        reply(403, "Forbidden", with_hint, "refused"),
        reply(404, "NotFound", MESSAGES[Reason.NOT_GUARDED], Reason.NOT_GUARDED),
        reply(429, *_BUSY, "too-many-requests"),
        reply(503, "ServiceUnavailable", "the gate cannot reach what it guards", "unreachable"),
        reply(504, "Timeout", "what the gate guards did not answer in time", "timeout"),
        other_reply(),
    ]
    return {
        "mappers": mappers,
        "body_format": status_format("%RESPONSE_CODE%", "", "%LOCAL_REPLY_BODY%"),
    }


def _jwt_reply(message: str, reason: Reason, settings: GateSettings) -> Json:
    """Return a mapper for a message of the JWT filter; "" for all of them."""
    details = "jwt_authn_access_denied{" + (f"{message.replace(' ', '_')}}}" if message else "")
    return refusal_reply(reason, settings.gate.audience, details, is_prefix=not message)


def _unverified() -> Json:
    """Return the route of every request until its token is verified.

    It costs almost nothing, while others read the header byte by byte; and if the JWT filter is
    missing, nothing passes.
    """
    neither = [_not(claim(["iss"], within=within)) for within in (PAYLOAD, _LONG)]
    return _refuse_route("unverified", 401, _UNVERIFIED, "unverified", dynamic_metadata=neither)


def _refusals(settings: GateSettings) -> Iterator[Json]:
    unreadable = {**header_match("authorization", BEARER_JWT), "invert_match": True}
    ours, others = _audience_matchers(settings)
    yield _refuse(Reason.UNREADABLE, headers=[unreadable])
    yield _refuse(Reason.LONG_LIVED, dynamic_metadata=[claim(["iss"], within=_LONG)])
    yield _refuse(Reason.AUDIENCE, dynamic_metadata=[_not(ours)])
    yield _refuse(Reason.SEVERAL_AUDIENCES, dynamic_metadata=[others])
    yield _refuse(Reason.LIVES_TOO_LONG, dynamic_metadata=[_not(claim(["exp"], AN_EXACT_TIME))])
    for is_account in (
        claim(["sub"], A_USER),
        claim(["kubernetes.io", "namespace"], A_NAMESPACE),
    ):
        yield _refuse(Reason.SUBJECT, dynamic_metadata=[_not(is_account)])
    if settings.gate.require_bound:
        bound = _not(claim(["kubernetes.io", "secret", "uid"], SOME_TEXT))
        yield _refuse(Reason.UNBOUND, dynamic_metadata=[bound])


def _audience_matchers(settings: GateSettings) -> tuple[Json, Json]:
    """Return matchers for the gate's audience, and for any other."""
    audience = settings.gate.audience
    return claim(["aud"], has_item(audience)), claim(["aud"], has_other_item(audience))


def _pass(settings: GateSettings) -> Json:
    ours, others = _audience_matchers(settings)
    claims = [
        claim(["iss"], exactly(settings.issuer)),
        ours,
        _not(others),
        _not(claim(["iss"], within=_LONG)),
        claim(["exp"], AN_EXACT_TIME),
        claim(["sub"], A_USER),
        claim(["kubernetes.io", "namespace"], A_NAMESPACE),
    ]
    if settings.gate.require_bound:
        claims.append(claim(["kubernetes.io", "secret", "uid"], SOME_TEXT))
    removed = [] if settings.gate.forward_token else ["authorization"]
    return {
        "name": "pass",
        "match": {
            "prefix": "/",
            "headers": [header_match("authorization", BEARER_JWT)],
            "dynamic_metadata": claims,
        },
        "route": {"cluster": PROTECTED, "timeout": "0s"},
        "request_headers_to_remove": removed,
        "request_headers_to_add": [
            set_header(settings.gate.headers.user, USER),
            set_header(settings.gate.headers.groups, GROUPS),
        ],
        "response_headers_to_remove": [REASON_HEADER],
    }


def _pass_reviewed(settings: GateSettings) -> Json:
    return {
        "name": "pass",
        "match": {"prefix": "/"},
        "route": {"cluster": PROTECTED, "timeout": "0s"},
        "typed_per_filter_config": with_authorizer(settings.gate.headers.user),
        "request_headers_to_remove": [] if settings.gate.forward_token else ["authorization"],
        "response_headers_to_remove": [REASON_HEADER],
    }


def _refuse(reason: Reason, **match: object) -> Json:
    return _refuse_route(reason, CODES.get(reason, 401), MESSAGES[reason], reason, **match)


def _refuse_route(name: str, code: int, message: str, reason: str, **match: object) -> Json:
    return {
        "name": f"refuse-{name}",
        "match": {"prefix": "/", **match},
        "direct_response": {"status": code, "body": {"inline_string": message}},
        "response_headers_to_add": [set_header(REASON_HEADER, str(reason))],
    }


def _not(matcher: Json) -> Json:
    """Return the negation of a MetadataMatcher; a missing value then matches."""
    return {**matcher, "invert": True}


def gate_listener(
    settings: GateSettings,
    routes: Json,
    keys: Json,
    revoked: Json,
    certificate_sources: dict[str, Json],
) -> Json:
    """Return the gate's listener.

    `routes`: where the decision's routes come from, as a field of the connection manager. `keys`:
    the JWT filter. `revoked`: the revocation filter.
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
    gate = settings.gate
    native = (keys, claims_filter(), revoked)
    filters = [
        *(native if gate.is_native else ()),
        *((authorizer_filter(settings), extension(IDENTIFIED, RBAC)) if gate.is_reviewed else ()),
        extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
    ]
    return connection_manager(
        "gate",
        routes,
        filters,
        settings.timeouts,
        common_http_protocol_options={
            # `kubeflow_userid` and `kubeflow-userid` are the same name to some servers.
            "headers_with_underscores_action": "DROP_HEADER",
            "idle_timeout": duration(settings.timeouts.idle_seconds),
        },
        http2_protocol_options={"max_concurrent_streams": 100},
        max_request_headers_kb=60,
        local_reply_config=_gate_replies(settings),
        # Headers that only the gate sets are removed before any filter.
        early_header_mutation_extensions=early_mutations(
            *({"remove": name} for name in (gate.headers.user, gate.headers.groups, REASON_HEADER))
        ),
        access_log=[_access_log(settings)],
    )


def _access_log(settings: GateSettings) -> Json:
    """Return a logger of one JSON line per request, with the caller from the verified claims.

    The claims come from filter state: from metadata, a line would cost twice as much as the routes.
    The path is left out: the services behind may have secrets in URLs.
    """
    gate = settings.gate
    line = {
        "time": "%START_TIME%",
        "gate": "%ROUTE_NAME%",
        "client": CLIENT_ADDRESS,
        "host": "%REQ(:AUTHORITY):100%",
        "method": "%REQ(:METHOD):20%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "user": state_text(USER_STATE) if gate.is_native else f"%REQ({gate.headers.user})%",
        "jti": state_text(JTI_STATE),
        "request_id": "%REQ(X-REQUEST-ID):64%",
    }
    return json_log(line)
