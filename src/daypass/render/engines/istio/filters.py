"""The HTTP filters that the gate adds to the gateway's chain, in their order."""

from daypass.config import Config, IstioGate
from daypass.render.engines.istio.guarded import (
    door_matches,
    guarded_headers,
    is_guarded,
    is_misnamed,
    is_on_guarded_host,
    own_headers,
)
from daypass.render.envoy.authorizer_filters import asking_filter, identified_filter
from daypass.render.envoy.credentials import published_filters
from daypass.render.envoy.token_rules import DECISION, authentication, deciding_filters
from daypass.render.envoy.xds import (
    GROUPS,
    JWT_AUTHENTICATION,
    USER,
    Json,
    discovered_filter,
    extension,
    is_marked,
    is_not,
    only_where,
    set_filter_state,
    set_header,
    state_text,
)
from daypass.render.names import GATE, GATE_KEYS, SERVICE_PORT
from daypass.render.tls_server import authorizer_server
from daypass.rules.decision import Rules
from daypass.rules.published import CLUSTER_SHARDS

_CLUSTER_DOMAIN = "cluster.local"
"""Istio's default for the domain of the cluster's Services."""

_TOKEN_STATE = "daypass.token"  # noqa: S105 - a name
_ISTIOD: Json = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}
"""A starting gateway waits that long for what is published. Without it, the gate refuses."""


def keys_config(gate: IstioGate, config: Config, rules: Rules, keys: str | None) -> Json:
    """Return the config of the JWT filter. `keys`: the text of the API server's JSON Web Key Set;
    None before it is published.
    """
    # The header is removed once it is verified, or once the authorizer has seen it: the gateway's
    # own RequestAuthentications would reject a token of an unknown issuer.
    return authentication(
        rules,
        keys,
        keeps_header=gate.is_reviewed,
        guarded=guarded_headers(rules),
        exempt=door_matches(rules, config),
    )


def first_filters(name: str, gate: IstioGate, config: Config, rules: Rules) -> list[Json]:
    """Return the filters before all others of the gateway. `name`: the gate's."""
    # Each applies its default until istiod configures it.
    no_keys = keys_config(gate, config, rules, None)
    decides = deciding_filters(
        rules,
        verified=discovered_filter(GATE_KEYS, _ISTIOD, JWT_AUTHENTICATION, default_config=no_keys),
        published=published_filters(lambda _: _ISTIOD, shards=CLUSTER_SHARDS),
        elsewhere=is_not(is_guarded(rules, config)),
        misnamed=is_misnamed(rules),
        has_login=gate.has_login,
    )
    forget = _mutation(f"{GATE}-forget", [{"remove": name} for name in own_headers(gate)])
    # For the services behind: a filter removes it.
    keep = set_filter_state(f"{GATE}-token", {_TOKEN_STATE: "%REQ(authorization)%"})
    return [
        only_where(is_on_guarded_host(rules), forget),
        *([only_where(is_guarded(rules, config), keep)] if gate.forward_token else []),
        *decides,
        *(_review(name, gate, config) if gate.is_reviewed else []),
    ]


def last_filter(gate: IstioGate) -> Json:
    """Return the filter right before the router, after which nothing changes identity headers."""
    set_headers = {gate.headers.user: USER, gate.headers.groups: GROUPS}
    if gate.forward_token:
        set_headers["authorization"] = state_text(_TOKEN_STATE)
    appended = [{"append": set_header(name, value)} for name, value in set_headers.items()]
    return only_where(is_marked(DECISION), _mutation(f"{GATE}-identity", appended))


def _review(name: str, gate: IstioGate, config: Config) -> list[Json]:
    """Ask the authorizer about accepted tokens, require its user, then remove the token."""
    headers = (gate.headers.user, gate.headers.groups)
    host = authorizer_server(config).host
    asked = asking_filter(
        name,
        headers,
        name=f"{GATE}-authorizer",
        # Istio's name for a Service of the cluster.
        cluster=f"outbound|{SERVICE_PORT}||{host}.{_CLUSTER_DOMAIN}",
        uri=f"https://{host}",
    )
    stripped = _mutation(f"{GATE}-strip", [{"remove": "authorization"}])
    named = identified_filter(gate.headers.user)
    return [only_where(is_marked(DECISION), each) for each in (asked, named, stripped)]


def _mutation(name: str, mutations: list[Json]) -> Json:
    return extension(
        name,
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )
