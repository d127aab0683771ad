"""The HTTP filters that the gate adds to the gateway's chain, in their order."""

from daypass.render.envoy.credentials import claims_filters, published_filters
from daypass.render.envoy.draining import draining_filters
from daypass.render.envoy.filters import asking_filter, identified, set_filter_state
from daypass.render.envoy.matching import (
    GROUPS,
    USER,
    USER_STATE,
    has_state,
    is_not,
    only_where,
    state_text,
)
from daypass.render.envoy.protobuf_any import (
    JWT_AUTHENTICATION,
    RBAC,
    Json,
    discovered_filter,
    extension,
    set_header,
)
from daypass.render.istio.decision import (
    authentication,
    decision,
    is_undecided,
    passes,
    refusal,
    reviewed,
)
from daypass.render.istio.settings import IstioGate, is_guarded, is_on_guarded_host
from daypass.render.objects import GATE, GATE_KEYS, SERVICE_PORT, gate_host
from daypass.rules.credentials import CLUSTER_PARTS

_CLUSTER_DOMAIN = "cluster.local"
"""Istio's default for the domain of the cluster's Services."""

_GROUPS_STATE = "daypass.groups"
_TOKEN_STATE = "daypass.token"  # noqa: S105 - a name
_ISTIOD: Json = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}
"""A starting gateway waits that long for what is published. Without it, the gate refuses."""


def first_filters(settings: IstioGate) -> list[Json]:
    """Return the filters before all others of the gateway."""
    decided = {"name": f"{GATE}-decision", "typed_config": decision(settings)}
    begin = [_forget(settings)]
    if settings.gate.forward_token:
        begin.append(_keep_token(settings))
    if not settings.gate.is_native:
        # Even without keys it tells whose token it is, and whether the authorizer should be asked.
        whose = {"name": f"{GATE}-issuer", "typed_config": authentication(settings, None)}
        return [
            *begin,
            whose,
            decided,
            *_refuse(settings),
            *_review(settings, is_undecided()),
            *_save_reviewed(settings),
        ]
    # Each applies its default until istiod configures it.
    no_keys = authentication(settings, None)
    discovered = [
        discovered_filter(GATE_KEYS, _ISTIOD, JWT_AUTHENTICATION, default_config=no_keys),
        *claims_filters(f"{GATE}-claims", require_bound=settings.gate.require_bound),
        decided,
        *published_filters(lambda _: _ISTIOD, parts=CLUSTER_PARTS),
        *_refuse(settings),
    ]
    review = _review(settings, has_state(USER_STATE)) if settings.gate.is_reviewed else []
    return [*begin, *discovered, *review]


def last_filter(settings: IstioGate) -> Json:
    """Return the filter right before the router, after which nothing changes identity headers."""
    groups = GROUPS if settings.gate.is_native else state_text(_GROUPS_STATE)
    set_headers = {settings.gate.headers.user: USER, settings.gate.headers.groups: groups}
    if settings.gate.forward_token:
        set_headers["authorization"] = state_text(_TOKEN_STATE)
    appended = [{"append": set_header(name, value)} for name, value in set_headers.items()]
    return only_where(has_state(USER_STATE), _mutation(f"{GATE}-identity", appended))


def _refuse(settings: IstioGate) -> list[Json]:
    """Read the bodies of what will be refused, then refuse it."""
    refuses = {"name": f"{GATE}-refusal", "typed_config": refusal(settings)}
    return [*draining_filters(is_not(passes(settings))), refuses]


def _forget(settings: IstioGate) -> Json:
    """Remove the headers that only the gate sets."""
    removed = [{"remove": name} for name in settings.own_headers]
    return only_where(is_on_guarded_host(settings), _mutation(f"{GATE}-forget", removed))


def _keep_token(settings: IstioGate) -> Json:
    """Save the Authorization header, which a filter removes, for the services behind."""
    saved = {_TOKEN_STATE: "%REQ(authorization)%"}
    return only_where(is_guarded(settings), set_filter_state(f"{GATE}-token", saved))


def _review(settings: IstioGate, where: Json) -> list[Json]:
    """Ask the authorizer, require its user, then remove the token."""
    headers = (settings.gate.headers.user, settings.gate.headers.groups)
    host = gate_host(settings.config)
    asked = asking_filter(
        headers,
        name=f"{GATE}-authorizer",
        # Istio's name for a Service of the cluster.
        cluster=f"outbound|{SERVICE_PORT}||{host}.{_CLUSTER_DOMAIN}",
        uri=f"https://{host}",
    )
    stripped = _mutation(f"{GATE}-strip", [{"remove": "authorization"}])
    named = extension(f"{GATE}-identified", RBAC, **identified(settings.gate.headers.user))
    return [only_where(where, each) for each in (asked, named, stripped)]


def _save_reviewed(settings: IstioGate) -> list[Json]:
    """Save the authorizer's identity headers, and mark the request as reviewed."""
    headers = settings.gate.headers
    saved = {USER_STATE: f"%REQ({headers.user})%", _GROUPS_STATE: f"%REQ({headers.groups})%"}
    return [
        {"name": f"{GATE}-reviewed", "typed_config": reviewed(settings)},
        only_where(is_undecided(), set_filter_state(f"{GATE}-claims", saved)),
    ]


def _mutation(name: str, mutations: list[Json]) -> Json:
    return extension(
        name,
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )
