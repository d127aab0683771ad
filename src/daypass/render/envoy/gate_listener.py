"""The gate on Envoy: its listener, and the decision.

Envoy's `jwt_authn` filter verifies signature, issuer, audience and times. What it can't check (is
the token bound, is it the long-lived one, do two parsers read the header alike) are routes that
match the verified claims, each refusal with its own message. Only one route forwards, and it
requires everything at once: whatever is missing, the request is refused.
"""

import json
from collections.abc import Iterator

from daypass._core.net import bracketed
from daypass.render.envoy.credentials import MARKS, claims_filters
from daypass.render.envoy.draining import NOT_DRAINED, draining_filters
from daypass.render.envoy.filters import (
    IDENTIFIED,
    asking_filter,
    authorizer_replies,
    set_filter_state,
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
    A_UID,
    A_USER,
    ACCOUNT,
    AN_EXACT_TIME,
    GROUPS,
    JTI_STATE,
    PAYLOAD,
    SECRET,
    SOME_TEXT,
    USER,
    USER_STATE,
    claim,
    exactly,
    has_item,
    has_other_item,
    mark,
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
    denial,
    has_details,
    literal,
    next_step,
    other_reply,
    policy_of,
    refusal_reply,
    reply,
    reply_where,
    status_format,
)
from daypass.render.envoy.routes import CLIENT_ADDRESS, header_match
from daypass.render.envoy.settings import GateSettings
from daypass.render.envoy.upstream import PROTECTED
from daypass.rules.claims import BEARER_JWT, LONG_LIVED_ISSUER, SKEW_SECONDS
from daypass.rules.reasons import CODES, MESSAGES, REASON_HEADER, Reason

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
_FAILED, _FAILED_LONG = "failed", "failed-long"
"""Metadata keys: why a token is no valid short-lived or long-lived one (`message`)."""


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
        "clock_skew_seconds": SKEW_SECONDS,
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
    """Return Envoy's JwtAuthentication. `keys`: the text of the API server's JSON Web Key Set.

    It refuses nothing: the claims, or why a token is not verified, are metadata for the routes.
    """
    # The routes match the header again; the one that forwards removes it.
    short = jwt_provider(
        settings.issuer,
        keys,
        PAYLOAD,
        forward=True,
        audience=settings.gate.audience,
        longest_lifetime_seconds=settings.longest_lifetime_seconds,
        failed=_FAILED,
    )
    # Verified only to recognize it: a route refuses it.
    long = jwt_provider(LONG_LIVED_ISSUER, keys, _LONG, forward=True, failed=_FAILED_LONG)
    either = [{"provider_name": "short"}, {"provider_name": "long"}]
    requires = {"requires_any": {"requirements": [*either, {"allow_missing_or_failed": {}}]}}
    return protobuf_any(
        JWT_AUTHENTICATION,
        providers={"short": short, "long": long},
        rules=[{"match": {"prefix": "/"}, "requires": requires}],
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
    asks = with_authorizer(settings.gate.headers.user) if settings.gate.is_reviewed else {}
    if not settings.gate.is_native:
        return [_forward(settings, {}, asks)]
    refused = [*_refusals(settings), _refuse(Reason.SUBJECT)]
    first, passing = _without_token(), _pass(settings, {**NOT_DRAINED, **asks})
    if asks:
        for route in (first, *refused):
            route["typed_per_filter_config"] = without_authorizer()
    return [first, passing, *refused]


_BUSY = ("TooManyRequests", "too many requests at the gate, try again later")
JWT_MESSAGES = {
    "Jwt is expired": Reason.EXPIRED,
    "Jwt not yet valid": Reason.NOT_YET_VALID,
    "Audiences in Jwt are not allowed": Reason.AUDIENCE,
    "Jwt verification fails": Reason.SIGNATURE,
    "Jwks doesn't have key to match kid or alg from Jwt": Reason.SIGNATURE,
}
"""The JWT filter's messages for tokens of an issuer that it knows (jwt_verify_lib's status.cc)."""
_JWT_MESSAGES = {
    "Jwt header [alg] is not supported": Reason.ALGORITHM,
    **JWT_MESSAGES,
    # Last: what the filter finds as a token of one issuer, it reports as foreign to the other.
    "Jwt issuer is not configured": Reason.FOREIGN_ISSUER,
}
"""All other messages are of malformed tokens."""
_UPGRADE = "the gate of one machine changes no protocols: it lets no WebSocket through"


def _gate_replies(settings: GateSettings) -> Json:
    """Return the gate's own responses, each a Kubernetes Status; none is a redirect."""
    audience = settings.gate.audience
    with_hint = f"%LOCAL_REPLY_BODY% ({literal(next_step(Reason.NO_TOKEN, audience))})"
    mappers = [
        *(authorizer_replies() if settings.gate.is_reviewed else ()),
        reply_where(has_details("upgrade_failed"), 403, "Forbidden", _UPGRADE, "upgrade"),
        *(
            refusal_reply(reason, audience, _is_refused(reason))
            for reason in Reason
            if reason not in (Reason.ALLOWED, Reason.NOT_GUARDED)
        ),
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


def _is_refused(reason: Reason) -> str:
    """Return a CEL condition; a body that was not read to its end changes the code of a refusal."""
    return f"xds.route_name == 'refuse-{reason}' || {has_details(denial(policy_of(reason)))}"


def _without_token() -> Json:
    """Return the route of requests without a token, and of every one until its token is verified.

    It costs almost nothing, while others read the header byte by byte; and if the JWT filter is
    missing, nothing passes.
    """
    no_result = [_not(claim(["message"], within=within)) for within in (_FAILED, _FAILED_LONG)]
    return _refuse(Reason.NO_TOKEN, dynamic_metadata=[*_NO_CLAIMS, *no_result])


def _refusals(settings: GateSettings) -> Iterator[Json]:
    unreadable = {**header_match("authorization", BEARER_JWT), "invert_match": True}
    ours, others = _audience_matchers(settings)
    yield from _failures()
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
        bound = _not(claim((*SECRET, "uid"), SOME_TEXT))
        yield _refuse(Reason.UNBOUND, dynamic_metadata=[bound])
    for is_odd in _odd_credentials(settings):
        yield _refuse(Reason.UNKNOWN_CREDENTIAL, dynamic_metadata=is_odd)
    for name, reasons in MARKS.items():
        for reason in reasons:
            yield _refuse(reason, dynamic_metadata=[mark(name, policy_of(reason))])
        yield _refuse(Reason.UNKNOWN, dynamic_metadata=[_not(mark(name))])


def _odd_credentials(settings: GateSettings) -> Iterator[list[Json]]:
    """Yield matchers for tokens whose credential has no UID in Kubernetes' form."""
    of_secret, is_odd_secret = claim(SECRET), _not(claim((*SECRET, "uid"), A_UID))
    if settings.gate.require_bound:
        yield [is_odd_secret]
    else:
        yield [of_secret, is_odd_secret]
        yield [_not(of_secret), _not(claim((*ACCOUNT, "uid"), A_UID))]


def _failures() -> Iterator[Json]:
    """Yield the refusals of tokens that are not verified."""
    for message, reason in _JWT_MESSAGES.items():
        for within in (_FAILED, _FAILED_LONG):
            is_it = claim(["message"], exactly(message), within=within)
            yield _refuse(reason, dynamic_metadata=[is_it, *_NO_CLAIMS])
    yield _refuse(Reason.MALFORMED, dynamic_metadata=_NO_CLAIMS)


def _audience_matchers(settings: GateSettings) -> tuple[Json, Json]:
    """Return matchers for the gate's audience, and for any other."""
    audience = settings.gate.audience
    return claim(["aud"], has_item(audience)), claim(["aud"], has_other_item(audience))


def _pass(settings: GateSettings, per_filter: Json) -> Json:
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
    match = {
        "headers": [header_match("authorization", BEARER_JWT)],
        "dynamic_metadata": [*claims, *map(mark, MARKS)],
    }
    added = {settings.gate.headers.user: USER, settings.gate.headers.groups: GROUPS}
    return {
        **_forward(settings, match, per_filter),
        "request_headers_to_add": [set_header(name, value) for name, value in added.items()],
    }


def _forward(settings: GateSettings, match: Json, per_filter: Json) -> Json:
    return {
        "name": "pass",
        "match": {"prefix": "/", **match},
        "route": {"cluster": PROTECTED, "timeout": "0s"},
        "typed_per_filter_config": per_filter,
        "request_headers_to_remove": [] if settings.gate.forward_token else ["authorization"],
        "response_headers_to_remove": [REASON_HEADER],
    }


def _refuse(reason: Reason, **match: object) -> Json:
    return {
        "name": f"refuse-{reason}",
        "match": {"prefix": "/", **match},
        "direct_response": {"status": CODES.get(reason, 401)},
    }


def _not(matcher: Json) -> Json:
    """Return the negation of a MetadataMatcher; a missing value then matches."""
    return {**matcher, "invert": True}


_NO_CLAIMS = [_not(claim(["iss"], within=within)) for within in (PAYLOAD, _LONG)]


def gate_listener(
    settings: GateSettings,
    routes: Json,
    keys: Json,
    published: list[Json],
    certificate_sources: dict[str, Json],
) -> Json:
    """Return the gate's listener.

    `routes`: where the decision's routes come from, as a field of the connection manager. `keys`:
    the JWT filter. `published`: the filters that look up what is published.
    """
    manager = _connection_manager(settings, routes, keys, published)
    return tls_listener(
        "gate",
        settings.listen,
        settings.certificates,
        certificate_sources,
        [manager],
        settings.timeouts,
    )


def _connection_manager(
    settings: GateSettings, routes: Json, keys: Json, published: list[Json]
) -> Json:
    gate = settings.gate
    # The last one chooses the route, by all that the others have found.
    native = (
        keys,
        *claims_filters("daypass.claims", require_bound=gate.require_bound),
        *published,
        set_filter_state("daypass.decided", {}, reroutes=True),
    )
    asked = (
        asking_filter((gate.headers.user, gate.headers.groups)),
        extension(IDENTIFIED, RBAC),
    )
    filters = [
        *(native if gate.is_native else ()),
        *(asked if gate.is_reviewed else ()),
        *(draining_filters() if gate.is_native else ()),
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
