"""The gate's objects on Istio: EnvoyFilters, and an AuthorizationPolicy as a backstop.

**Applied once**: the filters' chain and replies, the backstop, the authorizer's DestinationRule.

**Published while the gate runs**: the API server's keys, the parts of the set of credentials, and
denials, as EnvoyFilters with the config of one filter each. istiod sends it to the gateway by ECDS,
so it applies to open connections, too. Empty parts are published, too: without its part, a token is
refused.

RequestAuthentication is not used: it can't be limited to hosts, and refuses every bearer token of
an unknown issuer on its gateway.
"""

from collections.abc import Sequence
from typing import ClassVar

from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass.config import IstioGate
from daypass.render.engines.engine import Engine, ProxyMetrics
from daypass.render.engines.istio_filters import (
    first_filters,
    keys_config,
    last_filter,
    policy_operations,
    wide_operations,
)
from daypass.render.envoy.authorizer_filters import authorizer_replies
from daypass.render.envoy.listener import stream_bound
from daypass.render.envoy.published import denials_config, shard_config
from daypass.render.envoy.token_rules import DECISION, OTHERS_POLICY, refusal_replies
from daypass.render.envoy.xds import Json, has_mark, mark_entry
from daypass.render.fronts import destination_rule
from daypass.render.names import GATE, GATE_KEYS, AuthorityLocation, authorizer_server
from daypass.rules.claims import LONG_LIVED_ISSUER
from daypass.rules.decision import Rules
from daypass.rules.published import DENIALS, NAMES, Published

_MANAGER = "envoy.filters.network.http_connection_manager"
_REFUSALS = "envoy_http_(.+)_rbac_gate_policy_daypass_(.+)_(allowed|denied)"
_KEYS = "envoy_extension_config_discovery_http_filter_daypass_gate_keys_.+"
"""Series of the gate's filters. Istio's proxies take no labels out of their names."""
_PRIORITY = 1000
"""The later an EnvoyFilter applies, the farther in front it inserts; the default is 0."""


def _relabel(source: str, regex: str, target: str, value: str) -> Object:
    return {"sourceLabels": [source], "regex": regex, "targetLabel": target, "replacement": value}


_REASON = "envoy_rbac_policy_name"
_RELABELINGS = (
    {"action": "keep", "sourceLabels": ["__name__"], "regex": f"{_REFUSALS}|{_KEYS}"},
    _relabel("__name__", _REFUSALS, "envoy_http_conn_manager_prefix", "$1"),
    _relabel("__name__", _REFUSALS, "envoy_rbac_http_prefix", "gate"),
    _relabel("__name__", _REFUSALS, _REASON, "daypass-$2"),
    # A reason has three words at most.
    *[_relabel(_REASON, "(.+)_(.+)", _REASON, "$1-$2")] * 2,
    _relabel("__name__", _REFUSALS, "__name__", "envoy_http_rbac_policy_$3"),
)
"""They make of these names the series and labels that Envoy itself has by default."""


class IstioEngine(Engine[IstioGate]):
    """Istio's gateway, which verifies tokens by Envoy's own filters."""

    gate_type: ClassVar = IstioGate
    metrics: ClassVar = ProxyMetrics(
        port="http-envoy-prom", number=15090, path="/stats/prometheus", relabelings=_RELABELINGS
    )
    applied_as: ClassVar = GroupKind("networking.istio.io", "EnvoyFilter")
    published_as: ClassVar = applied_as

    @property
    def pods_labels(self) -> dict[str, str]:
        """The labels of the gateway's pods."""
        return dict(self.gate.gateway_labels)

    def objects(self) -> list[Object]:
        """Return the objects that are applied once."""
        rules = self.config.rules_of(self.gate, self.facts.issuer_for(self.config))
        objects = [self._filters(rules), self._backstop(rules)]
        if self.gate.asks_authorizer:
            objects.append(
                destination_rule(self.facts, authorizer_server(self.config.door.namespace))
            )
        return objects

    def authority_location(self) -> AuthorityLocation:
        """Return a Secret next to the gateway's pods."""
        return AuthorityLocation(kind="Secret", namespace=self.gate.gateway_namespace)

    def keys_object(self, issuer: str, key_set: str) -> Object:
        """Return the EnvoyFilter with the API server's JSON Web Key Set."""
        rules = self.config.rules_of(self.gate, issuer)
        return self._published(GATE_KEYS, keys_config(self.gate, self.config, rules, key_set))

    def published_object(self, name: str, published: Published) -> Object:
        """Return the EnvoyFilter with a part of the set, or the denials."""
        if name == DENIALS:
            return self._published(name, denials_config(published.denials))
        return self._published(name, shard_config(published.shards[NAMES.index(name)]))

    def _envoy_filter(self, name: str, patches: list[Json]) -> Object:
        """Return an EnvoyFilter for the gateway's pods."""
        return new_object(
            "networking.istio.io/v1alpha3",
            "EnvoyFilter",
            name,
            self.gate.gateway_namespace,
            spec={
                "workloadSelector": {"labels": self.pods_labels},
                "priority": _PRIORITY,
                "configPatches": patches,
            },
        )

    def _published(self, name: str, typed_config: Json) -> Object:
        """Return the object that configures the filter of this name."""
        patch = {
            "applyTo": "EXTENSION_CONFIG",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "ADD", "value": {"name": name, "typed_config": typed_config}},
        }
        return self._envoy_filter(self.named(name), [patch])

    def _filters(self, rules: Rules) -> Object:
        mappers = refusal_replies(rules)
        if self.gate.asks_authorizer:
            mappers += authorizer_replies(rules, has_mark(DECISION))
        # Of the whole gateway: an EnvoyFilter selects routes by exact names of hosts alone.
        bound = stream_bound(self.gate)
        options = {"common_http_protocol_options": bound} if bound else {}
        router = {"name": "envoy.filters.http.router"}
        first = first_filters(self.name, self.gate, self.config, rules)
        patches = [
            # The last one inserted is the first one in the chain.
            *(_http_filter("INSERT_FIRST", each) for each in reversed(first)),
            _http_filter("INSERT_BEFORE", last_filter(self.gate), router),
            _merged_manager(local_reply_config={"mappers": mappers}, **options),
        ]
        return self._envoy_filter(self.named(GATE), patches)

    def _backstop(self, rules: Rules) -> Object:
        """Refuse what the filters have not verified, even if they are missing."""
        versions = ("security.istio.io/v1", "security.istio.io/v1beta1")
        return new_object(
            self.facts.api_version("AuthorizationPolicy", *versions),
            "AuthorizationPolicy",
            self.named(GATE),
            self.gate.gateway_namespace,
            spec={
                "selector": {"matchLabels": self.pods_labels},
                "action": "DENY",
                "rules": [
                    {**rule, "to": [{"operation": each} for each in operations]}
                    for operations, when in (
                        (policy_operations(rules, self.config), []),
                        (wide_operations(rules, self.config), [_NOT_LEFT_ALONE]),
                    )
                    for rule in _backstop_rules(self.gate, rules.issuer, when)
                    if operations
                ],
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


def _marked(policy: str = "") -> Object:
    """Return a condition on a mark of the decision."""
    key, value = mark_entry(DECISION, policy)
    return {"key": f"experimental.envoy.filters.http.rbac[{key}]", "notValues": [value]}


_UNVERIFIED, _NOT_LEFT_ALONE = _marked(), _marked(OTHERS_POLICY)
"""Conditions: the filters have not accepted a request's token; they have not left it alone."""


def _backstop_rules(gate: IstioGate, issuer: str, conditions: Sequence[Object]) -> list[Object]:
    # A RequestAuthentication of others, or a login, may accept the cluster's tokens, too: of every
    # audience, and in forms that the filters ignore. Alone they must open nothing.
    unverified = [*conditions, _UNVERIFIED]
    if gate.has_login:
        user = f"request.headers[{gate.headers.user}]"
        issuers = [issuer, LONG_LIVED_ISSUER]
        return [
            {"when": [*unverified, {"key": user, "values": ["system:serviceaccount:*"]}]},
            {"when": [*unverified, {"key": "request.auth.claims[iss]", "values": issuers}]},
        ]
    accounts = f"{issuer}/system:serviceaccount:*"
    not_an_account: Object = {"from": [{"source": {"notRequestPrincipals": [accounts]}}]}
    if conditions:
        not_an_account["when"] = [*conditions]
    return [{"when": unverified}, not_an_account]
