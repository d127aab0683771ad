"""Which gateways check by themselves, and are given keys and the list of the revoked."""

from __future__ import annotations

from daypass.gateway.published_in_cluster import InCluster, Native
from daypass.kube.cluster import Cluster
from daypass.kube.resources import Object
from daypass.render.envoy.revocation import Revoked
from daypass.render.gateway_api.claims import keys_config_map
from daypass.render.gateway_api.gate import keys_namespace
from daypass.render.istio.published import keys_object, revoked_objects
from daypass.spec import Config, Gate


class OnIstio:
    """Istio's gateway, whose filters follow EnvoyFilters."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def keys(self, issuer: str, keys: str) -> list[Object]:
        """The object that holds the key set."""
        return [keys_object(self._config, issuer, keys)]

    def revoked(self, revoked: Revoked) -> list[Object]:
        """The objects that hold the list."""
        return revoked_objects(self._config, revoked)


class OnEnvoyGateway:
    """Envoy Gateway's JWT filter, which takes keys from a ConfigMap and knows of no revocation."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def keys(self, issuer: str, keys: str) -> list[Object]:
        """The ConfigMap that holds the key set; the issuer stands in the policy."""
        return [keys_config_map(self._namespace, keys)]

    def revoked(self, revoked: Revoked) -> list[Object]:
        """None: the authorizer looks at the list."""
        return []


def is_native(gate: Gate) -> bool:
    """Whether a gateway in a cluster decides by itself, with or without authorizers beside it."""
    return gate.engine == "istio" and gate.check != "review"


def takes_keys(gate: Gate) -> bool:
    """Whether a gateway has to be given the API server's keys."""
    return is_native(gate) or keys_namespace(gate) is not None


def publisher_of(cluster: Cluster, config: Config, gate: Gate) -> InCluster:
    """Where a cluster's list goes, by its config."""
    native: Native | None = OnIstio(config) if is_native(gate) else None
    if (namespace := keys_namespace(gate)) is not None:
        native = OnEnvoyGateway(namespace)
    return InCluster(
        cluster, native, for_authorizers=None if gate.check == "jwt" else config.door.namespace
    )
