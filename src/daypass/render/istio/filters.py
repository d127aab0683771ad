"""Envoy's `jwt_authn` for a gateway that serves others as well: it verifies, and refuses nothing.

What it found stands in metadata, where the decision reads it: the claims of what was verified, or
the status of what was not. Its own way to refuse would not know whose tokens are none of its
business.

The gate's decision on what `authentication` found, as a matcher of Envoy's RBAC filter.

One case lets a request on as a ServiceAccount's, and asks for everything at once; in front of it
are other hosts, behind it the reasons for a refusal. With `others: login` what carries no token of
the cluster is left to whoever comes next; otherwise the last case refuses.

The filters that the gate puts into the gateway's chain, in their order.
"""

import json
from collections.abc import Iterator

from daypass._core.reasons import Reason
from daypass.config.exposure import BEARER_JWT
from daypass.render.envoy.claims import (
    A_NAMESPACE,
    A_USER,
    AN_EXACT_TIME,
    GROUPS,
    PAYLOAD,
    SOME_TEXT,
    USER,
    USER_STATE,
    claim,
    state_text,
)
from daypass.render.envoy.filters import (
    RevocationSnapshot,
    asking_filter,
    claims_filter,
    revocation,
    set_filter_state,
)
from daypass.render.envoy.gate_listener import CLOCK_SKEW_SECONDS, LONG_LIVED_ISSUER
from daypass.render.envoy.matching import (
    action,
    all_of,
    any_of,
    first_of,
    has_claim,
    has_header,
    has_state,
    is_not,
    only_where,
)
from daypass.render.envoy.protobuf_any import Json, extension, full_match, protobuf_any
from daypass.render.envoy.replies import refuse
from daypass.render.envoy.routes import other_than
from daypass.render.istio.settings import (
    IstioGate,
    door_matches,
    guarded_headers,
    is_guarded,
    is_on_guarded_host,
)
from daypass.render.objects import GATE, GATE_KEYS, GATE_REVOKED, SERVICE_PORT, gate_host

FAILED = "failed"
"""Why a token was not verified as a short-lived one of the cluster: `message`."""
FAILED_WITHOUT_KEYS = "failed-without-keys"
LASTING = "lasting"
"""The claims of a token that would be one, but for how long it lives."""
LONG = "long"
"""The claims of a long-lived token."""
FAILED_LONG = "failed-long"

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
"""A key set of one key that is nobody's, since Envoy takes no empty set: `x` is the SHA-256 of
"daypass: nobody's key 0", so that no one knows the private half."""


def authentication(settings: IstioGate, keys: str | None) -> Json:
    """Envoy's JwtAuthentication. `keys`: the API server's JSON Web Key Set, as text; None where
    nobody has published it, and no token passes.
    """
    common: Json = {
        "local_jwks": {"inline_string": NO_KEYS if keys is None else keys},
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        # Taken off once it is verified, or once the authorizer has seen it: to the gateway's own
        # RequestAuthentications it would be a token of an issuer that they do not know.
        "forward": settings.is_reviewed,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
    }
    lasting = {
        **common,
        "issuer": settings.issuer,
        "audiences": [settings.gate.audience],
        "payload_in_metadata": LASTING,
    }
    short = {
        **lasting,
        "payload_in_metadata": PAYLOAD,
        "failed_status_in_metadata": FAILED_WITHOUT_KEYS if keys is None else FAILED,
        "require_expiration": True,
        "max_lifetime": f"{settings.config.longest_lifetime_seconds}s",
        "jwt_cache_config": {"jwt_cache_size": 4096},
    }
    long = {
        **common,
        "issuer": LONG_LIVED_ISSUER,
        "payload_in_metadata": LONG,
        "failed_status_in_metadata": FAILED_LONG,
    }
    providers = {"short": short, "long": long}
    if keys is not None:
        providers = {"short": short, "lasting": lasting, "long": long}
    requirements: list[Json] = [{"provider_name": name} for name in providers]
    requirements.append({"allow_missing_or_failed": {}})
    # What several parsers would read differently is not looked at: it is nobody's token.
    readable = {"name": "authorization", "string_match": {"safe_regex": full_match(BEARER_JWT)}}
    match = {"prefix": "/", "headers": [*guarded_headers(settings), readable]}
    return protobuf_any(
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers=providers,
        rules=[
            *({"match": door} for door in door_matches(settings)),
            {"match": match, "requires": {"requires_any": {"requirements": requirements}}},
        ],
    )


Case = tuple[Json, Json]

REASONS = (
    Reason.NO_TOKEN,
    Reason.UNREADABLE,
    Reason.MALFORMED,
    Reason.LONG_LIVED,
    Reason.FOREIGN_ISSUER,
    Reason.ALGORITHM,
    Reason.SIGNATURE,
    Reason.AUDIENCE,
    Reason.SEVERAL_AUDIENCES,
    Reason.NO_EXPIRY,
    Reason.EXPIRED,
    Reason.NOT_YET_VALID,
    Reason.SUBJECT,
    Reason.UNBOUND,
)
"""What this filter refuses for; the revoked, and those that nobody knows about, come after it."""

VERIFIED = "daypass_shadow_engine_result"
"""In the metadata of `envoy.filters.http.rbac`: `allowed` where a token of the cluster passed."""

ASKED = "daypass_asked_shadow_engine_result"
"""The same, where the authorizer is to be asked because nobody here knows."""

_FOREIGN = "Jwt issuer is not configured"
_STATUSES = {
    "Jwt is expired": Reason.EXPIRED,
    "Jwt not yet valid": Reason.NOT_YET_VALID,
    "Audiences in Jwt are not allowed": Reason.AUDIENCE,
    "Jwt verification fails": Reason.SIGNATURE,
    "Jwks doesn't have key to match kid or alg from Jwt": Reason.SIGNATURE,
    "Jwks doesn't have any valid public key": Reason.UNKNOWN,
}
"""What Envoy says of tokens whose issuer is the cluster (jwt_verify_lib's status.cc)."""


_UNDECIDED = ("Jwt verification fails", "Jwks doesn't have key to match kid or alg from Jwt")
"""What is said without keys of a token whose issuer, audience and times are right."""


def decision(settings: IstioGate) -> Json:
    """The RBAC config."""
    others = action("daypass-others", "ALLOW")
    cases = [(is_not(is_guarded(settings)), others)]
    if settings.is_native:
        cases += [(_passes(settings), action("daypass-allowed", "ALLOW"))]
        cases += _of_the_cluster(settings)
        exact = {"string_match": {"exact": settings.issuer}}
        # The backstop reads it, or the login.
        marked = shadowed("daypass_", {"metadata": claim(["iss"], exact)})
    else:
        cases += [(is_undecided(), action("daypass-asked", "ALLOW"))]
        cases += [(_is_long(), refuse(Reason.LONG_LIVED)), *_statuses(FAILED_WITHOUT_KEYS)]
        marked = shadowed("daypass_asked_", undecided_principal())
    if not settings.leaves_others:
        cases += _of_others()
    last = others if settings.leaves_others else refuse(Reason.MALFORMED)
    return protobuf_any(
        "extensions.filters.http.rbac.v3.RBAC",
        matcher=first_of(cases, last)["matcher"],
        **marked,
    )


def reviewed(settings: IstioGate) -> Json:
    """The RBAC config that stands behind the authorizer, and leaves word of what it has let on."""
    told = {"header": {"name": settings.gate.headers.user, "present_match": True}}
    both = {"and_ids": {"ids": [undecided_principal(), told]}}
    silent = all_of(is_undecided(), is_not(has_header(settings.gate.headers.user, ".+")))
    matcher = first_of([(silent, refuse(Reason.UNKNOWN))], action("daypass-others", "ALLOW"))
    return protobuf_any(
        "extensions.filters.http.rbac.v3.RBAC",
        matcher=matcher["matcher"],
        **shadowed("daypass_", both),
    )


def is_undecided() -> Json:
    """A matcher's predicate: the authorizer has to be asked."""
    return any_of(*(_said(message, FAILED_WITHOUT_KEYS) for message in _UNDECIDED))


def undecided_principal() -> Json:
    """The same as a principal of RBAC."""
    said = [{"string_match": {"exact": message}} for message in _UNDECIDED]
    one_of = {"or_match": {"value_matchers": said}}
    return {"metadata": claim(["message"], one_of, within=FAILED_WITHOUT_KEYS)}


def shadowed(prefix: str, principal: Json) -> Json:
    """Rules that refuse nothing, and leave word for policies of others."""
    policy = {"permissions": [{"any": True}], "principals": [principal]}
    return {
        "shadow_rules": {"action": "ALLOW", "policies": {"daypass": policy}},
        "shadow_rules_stat_prefix": prefix,
    }


def _passes(settings: IstioGate) -> Json:
    claims = [
        has_claim(["iss"], {"string_match": {"exact": settings.issuer}}),
        _is_for_the_gate(settings),
        is_not(_several(settings)),
        has_claim(["exp"], AN_EXACT_TIME),
        _is_account(),
    ]
    return all_of(*claims, *([_is_bound()] if settings.gate.require_bound else []))


def _is_for_the_gate(settings: IstioGate) -> Json:
    # Kubernetes writes a list, also of one; Envoy's own check takes a text as well.
    audience = {"string_match": {"exact": settings.gate.audience}}
    return has_claim(["aud"], {"list_match": {"one_of": audience}})


def _several(settings: IstioGate) -> Json:
    other = {"string_match": {"safe_regex": full_match(other_than(settings.gate.audience))}}
    return has_claim(["aud"], {"list_match": {"one_of": other}})


def _is_account() -> Json:
    return all_of(
        has_claim(["sub"], A_USER), has_claim(["kubernetes.io", "namespace"], A_NAMESPACE)
    )


def _is_bound() -> Json:
    return has_claim(["kubernetes.io", "secret", "uid"], SOME_TEXT)


def _of_the_cluster(settings: IstioGate) -> Iterator[Case]:
    """Why a token is refused that is the cluster's, or says so."""
    verified = has_claim(["iss"])
    yield all_of(verified, is_not(_is_for_the_gate(settings))), refuse(Reason.AUDIENCE)
    yield all_of(verified, _several(settings)), refuse(Reason.SEVERAL_AUDIENCES)
    endless = is_not(has_claim(["exp"], AN_EXACT_TIME))
    yield all_of(verified, endless), refuse(Reason.LIVES_TOO_LONG)
    yield all_of(verified, is_not(_is_account())), refuse(Reason.SUBJECT)
    yield verified, refuse(Reason.UNBOUND)
    yield _is_long(), refuse(Reason.LONG_LIVED)
    for message in _STATUSES:  # as long as no keys are published
        yield _said(message, FAILED_WITHOUT_KEYS), refuse(Reason.UNKNOWN)
    endless = {"double_match": {"range": {"start": 1.0, "end": 2.0**64}}}
    yield has_claim(["exp"], endless, within=LASTING), refuse(Reason.LIVES_TOO_LONG)
    yield has_claim(["iss"], within=LASTING), refuse(Reason.NO_EXPIRY)
    yield from _statuses(FAILED)


def _is_long() -> Json:
    knows = [_said(message, FAILED_LONG) for message in _STATUSES]
    return any_of(has_claim(["iss"], within=LONG), *knows)


def _statuses(within: str) -> Iterator[Case]:
    for message, reason in _STATUSES.items():
        yield _said(message, within), refuse(reason)


def _of_others() -> Iterator[Case]:
    """Why everything else is refused, where nobody else is there to judge it."""
    yield is_not(has_header("authorization", ".+")), refuse(Reason.NO_TOKEN)
    yield is_not(has_header("authorization", BEARER_JWT)), refuse(Reason.UNREADABLE)
    yield (
        any_of(_said(_FOREIGN), _said(_FOREIGN, FAILED_WITHOUT_KEYS)),
        refuse(Reason.FOREIGN_ISSUER),
    )
    yield _said("Jwt header [alg] is not supported"), refuse(Reason.ALGORITHM)


def _said(message: str, within: str = FAILED) -> Json:
    return has_claim(["message"], {"string_match": {"exact": message}}, within=within)


SHARDS = 4
"""In how many objects the list of the revoked is, since the API server takes none above 1.5 MB."""

CLUSTER_DOMAIN = "cluster.local"
"""Of the cluster's Services, as Istio has it where nothing else is said."""

_GROUPS_STATE = "daypass.groups"
_TOKEN_STATE = "daypass.token"  # noqa: S105 - a name
_WAIT = "5s"
"""For what is published, when the gateway starts; then it begins without, and refuses."""


def first_filters(settings: IstioGate) -> list[Json]:
    """What stands before everything else in the gateway."""
    decided = {"name": f"{GATE}-decision", "typed_config": decision(settings)}
    begin = [_forget(settings)]
    if settings.gate.forward_token:
        begin.append(_keep_token(settings))
    if not settings.is_native:
        # Without keys it still tells whose token it is, and whether there is a point in asking.
        whose = {"name": f"{GATE}-issuer", "typed_config": authentication(settings, None)}
        return [*begin, whose, decided, *_review(settings, is_undecided()), *_settle(settings)]
    followed = [
        _followed(GATE_KEYS, authentication(settings, None)),
        decided,
        _remember(),
        *(_followed(name, revocation(RevocationSnapshot(closed=True))) for name in revoked_names()),
    ]
    review = _review(settings, has_state(USER_STATE)) if settings.is_reviewed else []
    return [*begin, *followed, *review]


def last_filter(settings: IstioGate) -> Json:
    """What stands right before the router, so that nobody changes it any more."""
    groups = GROUPS if settings.is_native else state_text(_GROUPS_STATE)
    set_headers = {settings.gate.headers.user: USER, settings.gate.headers.groups: groups}
    if settings.gate.forward_token:
        set_headers["authorization"] = state_text(_TOKEN_STATE)
    appended = [
        {
            "append": {
                "header": {"key": name, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        }
        for name, value in set_headers.items()
    ]
    return only_where(has_state(USER_STATE), _mutation(f"{GATE}-identity", appended))


def revoked_names() -> list[str]:
    """What the parts of the list are called, as filters and as objects."""
    return [f"{GATE_REVOKED}-{number}" for number in range(SHARDS)]


def _forget(settings: IstioGate) -> Json:
    """Take off what a client says about who it is."""
    removed = [{"remove": name} for name in settings.identity_headers]
    return only_where(is_on_guarded_host(settings), _mutation(f"{GATE}-forget", removed))


def _keep_token(settings: IstioGate) -> Json:
    """Keep the Authorization header, which is taken off on the way, for the services behind."""
    kept = set_filter_state({_TOKEN_STATE: "%REQ(authorization)%"})
    return only_where(is_guarded(settings), {**kept, "name": f"{GATE}-token"})


def _review(settings: IstioGate, where: Json) -> list[Json]:
    """Ask the authorizer, and take the token off, which nobody behind is to see."""
    headers = (settings.gate.headers.user, settings.gate.headers.groups)
    host = gate_host(settings.config)
    asked = asking_filter(
        headers,
        name=f"{GATE}-authorizer",
        # As Istio calls a Service of the cluster.
        cluster=f"outbound|{SERVICE_PORT}||{host}.{CLUSTER_DOMAIN}",
        uri=f"https://{host}",
    )
    stripped = _mutation(f"{GATE}-strip", [{"remove": "authorization"}])
    return [only_where(where, asked), only_where(where, stripped)]


def _settle(settings: IstioGate) -> list[Json]:
    """Keep what the authorizer says, and leave word of it."""
    headers = settings.gate.headers
    kept = {USER_STATE: f"%REQ({headers.user})%", _GROUPS_STATE: f"%REQ({headers.groups})%"}
    said = {**set_filter_state(kept), "name": f"{GATE}-claims"}
    return [
        {"name": f"{GATE}-reviewed", "typed_config": reviewed(settings)},
        only_where(is_undecided(), said),
    ]


def _remember() -> Json:
    """Keep the claims that are looked up, where no later filter can change them."""
    delegate = {**claims_filter({USER_STATE: ("sub",)}), "name": f"{GATE}-claims"}
    return only_where(has_claim(["iss"]), delegate)


def _followed(name: str, default: Json) -> Json:
    """A filter that istiod publishes by its name; `default` is in force until it does."""
    return {
        "name": name,
        "config_discovery": {
            "config_source": {
                "ads": {},
                "resource_api_version": "V3",
                "initial_fetch_timeout": _WAIT,
            },
            "default_config": default,
            "type_urls": [default["@type"]],
        },
    }


def _mutation(name: str, mutations: list[Json]) -> Json:
    mutation = extension(
        name,
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )
    return mutation
