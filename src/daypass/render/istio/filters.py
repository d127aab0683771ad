"""The filters that the gate puts into the gateway's chain, in their order."""

from daypass.render.envoy.claims import GROUPS, USER, USER_STATE, state_text
from daypass.render.envoy.matching import has_claim, has_state, only_where
from daypass.render.envoy.review import asking_filter
from daypass.render.envoy.revocation import Revoked, claims_filter, revocation, set_filter_state
from daypass.render.envoy.typed import Json, extension
from daypass.render.istio.authentication import authentication
from daypass.render.istio.decision import decision, is_undecided, reviewed
from daypass.render.istio.hosts import is_guarded, is_on_guarded_host
from daypass.render.istio.settings import IstioGate
from daypass.render.names import GATE, GATE_KEYS, GATE_REVOKED, SERVICE_PORT, gate_host

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
        *(_followed(name, revocation(Revoked(closed=True))) for name in revoked_names()),
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
