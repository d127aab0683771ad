"""The gate on Envoy: `jwt_authn` reads the token, routes decide upon what it found.

Envoy verifies the signature, issuer, audience and times. What it cannot say (is the token bound, is
it the long-lived one, did two parsers read the header alike) are routes upon the verified claims,
each refusal with a message of its own. Only one route leads on, and it asks for everything at once:
whatever is missing, a request ends in a refusal.
"""

from collections.abc import Iterator

from daypass.render.envoy.allowlist import other_than
from daypass.render.envoy.claims import (
    A_NAMESPACE,
    A_USER,
    AN_EXACT_TIME,
    GROUPS,
    PAYLOAD,
    SOME_TEXT,
    USER,
    claim,
)
from daypass.render.envoy.refusals import gate_hint
from daypass.render.envoy.replies import details_reply, reply, status_format
from daypass.render.envoy.review import authorizer_replies, without_authorizer
from daypass.render.envoy.revocation import revocation_replies
from daypass.render.envoy.routes import CLIENT_ADDRESS
from daypass.render.envoy.settings import GateSettings
from daypass.render.envoy.typed import Json, extension, full_match, typed
from daypass.spec.exposure import BEARER_JWT, bracketed

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
    return typed(
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
