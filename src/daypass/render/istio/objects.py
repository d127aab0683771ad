"""EnvoyFilters: configs of Envoy as Kubernetes objects that istiod puts into the gateway's."""

from daypass.render.envoy.typed import Json
from daypass.render.istio.settings import IstioGate
from daypass.render.objects import Object, new_object

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
