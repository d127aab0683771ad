"""The filters that the gate puts into the gateway's chain, in their order."""

from daypass.render.envoy.claims import GROUPS, USER, USER_STATE, state_text
from daypass.render.envoy.matching import has_claim, has_state, only_where
from daypass.render.envoy.revocation import Revoked, claims_filter, revocation, set_filter_state
from daypass.render.envoy.typed import Json, extension
from daypass.render.istio.authentication import authentication
from daypass.render.istio.decision import decision
from daypass.render.istio.hosts import is_guarded
from daypass.render.istio.settings import IstioGate
from daypass.render.names import GATE, GATE_KEYS, GATE_REVOKED

SHARDS = 4
"""In how many objects the list of the revoked is, since the API server takes none above 1.5 MB."""

_TOKEN_STATE = "daypass.token"  # noqa: S105 - a name
_WAIT = "5s"
"""For what is published, when the gateway starts; then it begins without, and refuses."""


def first_filters(settings: IstioGate) -> list[Json]:
    """What stands before everything else in the gateway."""
    return [
        _forget(settings),
        *([_keep_token(settings)] if settings.gate.forward_token else []),
        _followed(GATE_KEYS, authentication(settings, None)),
        {"name": f"{GATE}-decision", "typed_config": decision(settings)},
        _remember(),
        *(_followed(name, revocation(Revoked(closed=True))) for name in revoked_names()),
    ]


def last_filter(settings: IstioGate) -> Json:
    """What stands right before the router, so that nobody changes it any more."""
    set_headers = {settings.gate.headers.user: USER, settings.gate.headers.groups: GROUPS}
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
    guarded = is_guarded(settings.gate.hosts)
    return only_where(guarded, _mutation(f"{GATE}-forget", removed))


def _keep_token(settings: IstioGate) -> Json:
    """Keep the Authorization header, which is taken off on the way, for the services behind."""
    kept = set_filter_state({_TOKEN_STATE: "%REQ(authorization)%"})
    return only_where(is_guarded(settings.gate.hosts), {**kept, "name": f"{GATE}-token"})


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
