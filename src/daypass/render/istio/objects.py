"""The gate's objects on Istio: EnvoyFilters, and an AuthorizationPolicy as a backstop.

**Applied once**: the filters' chain and replies, the backstop, the authorizer's DestinationRule.

**Published while the gate runs**: the API server's keys, the parts of the set of credentials, and
denials, as EnvoyFilters with the config of one filter each. istiod sends it to the gateway by ECDS,
so it applies to open connections, too. Empty parts are published, too: without its part, a token is
refused.
"""

from daypass._core.objects import Object, new_object
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.envoy.credentials import denials_config, part_config
from daypass.render.envoy.filters import authorizer_replies
from daypass.render.envoy.matching import has_mark, mark_entry
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.token_rules import DECISION, refusal_replies
from daypass.render.fronts import destination_rule
from daypass.render.istio.filters import first_filters, keys_config, last_filter
from daypass.render.istio.settings import IstioGate, policy_operations
from daypass.render.names import GATE, GATE_KEYS, GATE_TRUST, gate_host
from daypass.rules.claims import LONG_LIVED_ISSUER
from daypass.rules.credentials import CredentialPart
from daypass.rules.denials import Denials
from daypass.rules.published import DENIALS, part_name

_MANAGER = "envoy.filters.network.http_connection_manager"
_PRIORITY = 1000
"""The later an EnvoyFilter applies, the farther in front it inserts; the default is 0."""


def _envoy_filter(settings: IstioGate, name: str, patches: list[Json]) -> Object:
    """Return an EnvoyFilter for the gateway's pods."""
    return new_object(
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        name,
        settings.namespace,
        spec={
            "workloadSelector": {"labels": settings.labels},
            "priority": _PRIORITY,
            "configPatches": patches,
        },
    )


def _merged_manager(**fields: object) -> Json:
    """Return a patch that merges fields into the connection manager."""
    message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    config = {"@type": f"type.googleapis.com/{message}", **fields}
    value = {"name": _MANAGER, "typed_config": config}
    return {
        "applyTo": "NETWORK_FILTER",
        "match": _match({"name": _MANAGER}),
        "patch": {"operation": "MERGE", "value": value},
    }


def _http_filter(operation: str, value: Json, neighbour: Json | None = None) -> Json:
    within = {"name": _MANAGER, **({"subFilter": neighbour} if neighbour else {})}
    return {
        "applyTo": "HTTP_FILTER",
        "match": _match(within),
        "patch": {"operation": operation, "value": value},
    }


def _match(within: Json) -> Json:
    return {"context": "GATEWAY", "listener": {"filterChain": {"filter": within}}}


def keys_object(config: Config, issuer: str, keys: str) -> Object:
    """Return the object with the API server's JSON Web Key Set.

    `issuer`: the `iss` of its short-lived tokens. `keys`: the text of the key set.
    """
    settings = IstioGate.of(config, issuer)
    return _published(settings, GATE_KEYS, keys_config(settings, keys))


def part_object(config: Config, number: int, part: CredentialPart) -> Object:
    """Return the object with a part of the set of credentials."""
    return _published(IstioGate.of(config, issuer=""), part_name(number), part_config(part))


def denials_object(config: Config, denials: Denials) -> Object:
    """Return the object with what is denied by hand."""
    return _published(IstioGate.of(config, issuer=""), DENIALS, denials_config(denials))


def _published(settings: IstioGate, name: str, typed_config: Json) -> Object:
    """Return the object that configures the filter of this name."""
    patch = {
        "applyTo": "EXTENSION_CONFIG",
        "match": {"context": "GATEWAY"},
        "patch": {"operation": "ADD", "value": {"name": name, "typed_config": typed_config}},
    }
    return _envoy_filter(settings, name, [patch])


def istio_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """Return the objects that are applied once."""
    settings = IstioGate.of(config, facts.issuer_for(config))
    objects = [_filters(settings), _backstop(settings, facts)]
    if settings.gate.check == "review":
        namespace, host = config.door.namespace, gate_host(config)
        objects.append(destination_rule(facts, GATE, namespace, GATE_TRUST, host))
    return objects


def _filters(settings: IstioGate) -> Object:
    mappers = refusal_replies(settings.gate.audience)
    if settings.gate.check == "review":
        mappers += authorizer_replies(has_mark(DECISION))
    router = {"name": "envoy.filters.http.router"}
    patches = [
        # The last one inserted is the first one in the chain.
        *(_http_filter("INSERT_FIRST", each) for each in reversed(first_filters(settings))),
        _http_filter("INSERT_BEFORE", last_filter(settings), router),
        _merged_manager(local_reply_config={"mappers": mappers}),
    ]
    return _envoy_filter(settings, GATE, patches)


def _backstop(settings: IstioGate, facts: ClusterFacts) -> Object:
    """Refuse what the filters have not verified, even if they are missing."""
    operations = policy_operations(settings)
    versions = ("security.istio.io/v1", "security.istio.io/v1beta1")
    return new_object(
        facts.api_version("AuthorizationPolicy", *versions),
        "AuthorizationPolicy",
        GATE,
        settings.namespace,
        spec={
            "selector": {"matchLabels": settings.labels},
            "action": "DENY",
            "rules": [
                {**rule, "to": [{"operation": each} for each in operations]}
                for rule in _backstop_rules(settings)
            ],
        },
    )


def _backstop_rules(settings: IstioGate) -> list[Object]:
    # A RequestAuthentication of others, or a login, may accept the cluster's tokens, too: of every
    # audience, and in forms that the filters ignore. Alone they must open nothing.
    key, value = mark_entry(DECISION)
    marked = f"experimental.envoy.filters.http.rbac[{key}]"
    unverified: Object = {"key": marked, "notValues": [value]}
    if settings.leaves_others:
        user = f"request.headers[{settings.gate.headers.user}]"
        issuers = [settings.issuer, LONG_LIVED_ISSUER]
        return [
            {"when": [unverified, {"key": user, "values": ["system:serviceaccount:*"]}]},
            {"when": [unverified, {"key": "request.auth.claims[iss]", "values": issuers}]},
        ]
    accounts = f"{settings.issuer}/system:serviceaccount:*"
    not_an_account: Object = {"from": [{"source": {"notRequestPrincipals": [accounts]}}]}
    return [{"when": [unverified]}, not_an_account]
