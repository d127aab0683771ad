"""EnvoyFilters: configs of Envoy as Kubernetes objects that istiod puts into the gateway's.

What is replaced while the gate runs: the API server's keys, and the list of the revoked.

Each is an EnvoyFilter that holds the config of one filter. istiod sends it to the gateway by ECDS,
so that open connections obey it as well. An empty part of the list is published, too: what is not
there is not known, and the gate then refuses.

What istiod converts and Envoy builds anew for an entry is the part that it stands in. So the first
part has what changes, and the entries that came lately: it is small. The others have the rest, and
change rarely. An entry that moves there is in both for a while.

The gate's objects on Istio that stay as they are while it runs.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.envoy.filters import (
    RevocationSnapshot,
    authorizer_replies,
    revocation,
    revocation_replies,
)
from daypass.render.envoy.gate_listener import LONG_LIVED_ISSUER
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.replies import refusal_replies
from daypass.render.fronts.gateways import VERSIONS, verified_service
from daypass.render.istio.filters import (
    ASKED,
    REASONS,
    SHARDS,
    VERIFIED,
    authentication,
    first_filters,
    last_filter,
    revoked_names,
)
from daypass.render.istio.settings import IstioGate, policy_operations
from daypass.render.objects import GATE, GATE_KEYS, GATE_TRUST, Object, gate_host, new_object

_MANAGER = "envoy.filters.network.http_connection_manager"
_PRIORITY = 1000
"""The later an EnvoyFilter comes, the farther in front is what it inserts first; usual is 0."""


def envoy_filter(settings: IstioGate, name: str, patches: list[Json]) -> Object:
    """One for the gateway's pods."""
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


def inserted_first(filters: list[Json]) -> list[Json]:
    """HTTP filters in front of all others, in this order."""
    return [_http_filter("INSERT_FIRST", each) for each in reversed(filters)]


def inserted_last(http_filter: Json) -> Json:
    """An HTTP filter right before the router."""
    return _http_filter("INSERT_BEFORE", http_filter, {"name": "envoy.filters.http.router"})


def merged_manager(**fields: object) -> Json:
    """Fields of the connection manager, added to what is there."""
    message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    config = {"@type": f"type.googleapis.com/{message}", **fields}
    value = {"name": _MANAGER, "typed_config": config}
    return {
        "applyTo": "NETWORK_FILTER",
        "match": _match({"name": _MANAGER}),
        "patch": {"operation": "MERGE", "value": value},
    }


def extension_config(name: str, typed_config: Json) -> Json:
    """What a filter of this name follows."""
    return {
        "applyTo": "EXTENSION_CONFIG",
        "match": {"context": "GATEWAY"},
        "patch": {"operation": "ADD", "value": {"name": name, "typed_config": typed_config}},
    }


def _http_filter(operation: str, value: Json, beside: Json | None = None) -> Json:
    within = {"name": _MANAGER, **({"subFilter": beside} if beside else {})}
    return {
        "applyTo": "HTTP_FILTER",
        "match": _match(within),
        "patch": {"operation": operation, "value": value},
    }


def _match(within: Json) -> Json:
    return {"context": "GATEWAY", "listener": {"filterChain": {"filter": within}}}


_FIRST_LIMIT = 7000
"""Entries of the first part; beyond it none is there. More come by hand alone."""

_LISTS = ("secrets", "service_accounts", "tokens", "namespaces")


def keys_object(config: Config, issuer: str, keys: str) -> Object:
    """The object that holds the API server's JSON Web Key Set, which `keys` is as text.

    `issuer`: the `iss` of its short-lived tokens.
    """
    settings = IstioGate.of(config, issuer)
    return envoy_filter(
        settings, GATE_KEYS, [extension_config(GATE_KEYS, authentication(settings, keys))]
    )


def revoked_objects(config: Config, revoked: RevocationSnapshot) -> list[Object]:
    """The objects that hold the list, always as many."""
    settings = IstioGate.of(config, issuer="")
    return [
        envoy_filter(settings, name, [extension_config(name, revocation(part))])
        for name, part in zip(revoked_names(), _parts(revoked), strict=True)
    ]


def _parts(revoked: RevocationSnapshot) -> Iterator[RevocationSnapshot]:
    entries = {name: getattr(revoked, name) for name in _LISTS}
    fresh = {name: values - revoked.settled for name, values in entries.items()}
    rest = revoked.settled | revoked.settling
    others = {name: values & rest for name, values in entries.items()}
    if sum(map(len, fresh.values())) > _FIRST_LIMIT:
        fresh, others = {name: frozenset() for name in _LISTS}, entries
    yield replace(revoked, **fresh)
    # The first one is enough to ask how old a token is, and whether anything is known.
    for number in range(1, SHARDS):
        here: dict[str, Any] = {
            name: {value for value in values if _part_of(value) == number}
            for name, values in others.items()
        }
        yield RevocationSnapshot(**here)


def _part_of(value: str) -> int:
    # By its own digest, so that one entry more changes one object.
    first, second, *_ = hashlib.sha256(value.encode()).digest()
    return first % SHARDS or 1 + second % (SHARDS - 1)


def istio_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """What checks at Istio's gateway."""
    settings = IstioGate.of(config, facts.issuer_for(config))
    objects = [_filters(settings), _backstop(settings, facts)]
    if settings.is_reviewed:
        version = facts.api_version("DestinationRule", *VERSIONS)
        namespace = config.door.namespace
        objects.append(verified_service(version, GATE, namespace, GATE_TRUST, gate_host(config)))
    return objects


def _filters(settings: IstioGate) -> Object:
    audience = settings.gate.audience
    mappers = [*refusal_replies(REASONS, audience), *revocation_replies(audience)]
    if settings.is_reviewed:
        mark = VERIFIED if settings.is_native else ASKED
        found = f"metadata.filter_metadata['envoy.filters.http.rbac']['{mark}'] == 'allowed'"
        mappers += authorizer_replies(found)
    patches = [
        *inserted_first(first_filters(settings)),
        inserted_last(last_filter(settings)),
        merged_manager(local_reply_config={"mappers": mappers}),
    ]
    return envoy_filter(settings, GATE, patches)


def _backstop(settings: IstioGate, facts: ClusterFacts) -> Object:
    """Refuse whatever the filters have not verified, so also where they are missing."""
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
    # A RequestAuthentication of others, or a login, takes the cluster's tokens as well: of every
    # audience, and in forms that the filters do not look at. Alone they open nothing.
    key = f"experimental.envoy.filters.http.rbac[{VERIFIED}]"
    unverified: Object = {"key": key, "notValues": ["allowed"]}
    if settings.leaves_others:
        told = f"request.headers[{settings.gate.headers.user}]"
        issuers = [settings.issuer, LONG_LIVED_ISSUER]
        return [
            {"when": [unverified, {"key": told, "values": ["system:serviceaccount:*"]}]},
            {"when": [unverified, {"key": "request.auth.claims[iss]", "values": issuers}]},
        ]
    rules: list[Object] = [{"when": [unverified]}]
    if settings.is_native:
        accounts = f"{settings.issuer}/system:serviceaccount:*"
        rules.append({"from": [{"source": {"notRequestPrincipals": [accounts]}}]})
    return rules
