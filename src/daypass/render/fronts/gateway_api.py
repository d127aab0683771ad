"""The Gateway API: an HTTPRoute on a listener with TLS, of a new Gateway or an existing one.

A BackendTLSPolicy verifies the door, one for all domains.
"""

from collections.abc import Iterator
from typing import ClassVar

from daypass._core.kubernetes.objects import Object, name_of, new_object
from daypass.config import GatewayApiDomain
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts.front import Front
from daypass.render.fronts.routes import (
    ListedObjects,
    ObjectQuery,
    RouteKind,
    ServedHost,
    ServedRoute,
    owner_of,
    path_of,
)
from daypass.render.names import DOOR, SERVICE_PORT
from daypass.render.tls_server import AuthorityLocation, TlsServer

GROUP = "gateway.networking.k8s.io"
HTTP_ROUTE = ObjectQuery(GROUP, "HTTPRoute")
GRPC_ROUTE = ObjectQuery(GROUP, "GRPCRoute")
GATEWAY = ObjectQuery(GROUP, "Gateway")
GATEWAY_CLASS = ObjectQuery(GROUP, "GatewayClass")
_LISTENER = "https"


class GatewayApiFront(Front[GatewayApiDomain]):
    """An implementation of the Gateway API, where an HTTPRoute leads the prefix to the door."""

    domain_type: ClassVar = GatewayApiDomain
    api: ClassVar = HTTP_ROUTE
    queries: ClassVar = (GATEWAY, GATEWAY_CLASS)
    provider: ClassVar = "Gateway API"
    needs_class: ClassVar = True

    @property
    def gateway(self) -> tuple[str, str, str]:
        """Namespace, name and listener of the Gateway that publishes the domain."""
        named = self.domain.gateway or f"{self.namespace}/{self.object_name}"
        namespace, name, *listener = named.split("/")
        return namespace, name, listener[0] if listener else _LISTENER

    def objects(self) -> list[Object]:
        """Return the Gateway, unless there is one, and the HTTPRoute."""
        if self.domain.gateway is not None:
            return [self._route()]
        if self.domain.class_name is None or self.certificate_secret is None:
            raise RenderError(
                f"domains.{self.name} names no Gateway, and lacks what a new one needs",
                "write gateway: NAMESPACE/NAME, or className and tls: {secret: NAME}",
            )
        return [self._gateway(self.domain.class_name, self.certificate_secret), self._route()]

    def authority_location(self) -> AuthorityLocation:
        """Return a ConfigMap next to the door, which every implementation reads."""
        return AuthorityLocation(kind="ConfigMap", namespace=self.config.door.namespace)

    def verification(self, server: TlsServer) -> Object:
        """Return the BackendTLSPolicy of a server."""
        return backend_tls_policy(self.facts, server)

    def _gateway(self, class_name: str, secret: str) -> Object:
        listener = {
            "name": _LISTENER,
            "port": 443,
            "protocol": "HTTPS",
            "hostname": self.domain.host,
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": secret}]},
            "allowedRoutes": {"namespaces": {"from": "Same"}},
        }
        spec = {"gatewayClassName": class_name, "listeners": [listener]}
        return new_object(f"{GROUP}/v1", "Gateway", self.object_name, self.namespace, spec=spec)

    def _route(self) -> Object:
        namespace, name, listener = self.gateway
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": self.config.prefix}}],
            "backendRefs": [{"name": DOOR, "port": SERVICE_PORT}],
        }
        spec = {
            # One listener, by name: another one might serve the prefix over plain http.
            "parentRefs": [{"namespace": namespace, "name": name, "sectionName": listener}],
            "hostnames": [self.domain.host],
            "rules": [rule],
        }
        return new_object(
            f"{GROUP}/v1",
            "HTTPRoute",
            self.object_name,
            self.namespace,
            annotations=self.dns_annotations,
            spec=spec,
        )

    @classmethod
    def hosts(cls, listed: ListedObjects) -> Iterator[ServedHost]:
        """Yield the hosts of listeners that terminate TLS; `*` for one without a hostname."""
        for gateway in listed.of(GATEWAY):
            for listener in (gateway.get("spec") or {}).get("listeners") or ():
                if listener.get("protocol") == "HTTPS":
                    yield ServedHost(
                        host=listener.get("hostname") or "*",
                        front=cls.kind(),
                        ends_tls=True,
                        gateway=f"{path_of(gateway)}/{listener['name']}",
                    )

    @classmethod
    def routes(cls, listed: ListedObjects) -> Iterator[ServedRoute]:
        """Yield the paths of HTTPRoutes."""
        for route in listed.of(HTTP_ROUTE):
            yield from _routes(route)

    @classmethod
    def is_running(cls, listed: ListedObjects) -> bool:
        """Return whether a cluster has a class of it."""
        return bool(cls.classes(listed))

    @classmethod
    def classes(cls, listed: ListedObjects) -> list[str] | None:
        """Return the names of the GatewayClasses; None if they are unknown."""
        if GATEWAY_CLASS not in listed.objects:
            return None
        return sorted(map(name_of, listed.of(GATEWAY_CLASS)))


def _routes(route: Object) -> Iterator[ServedRoute]:
    """Yield the paths of an HTTPRoute."""
    kinds: dict[str, RouteKind] = {"PathPrefix": "prefix", "RegularExpression": "pattern"}
    spec = route.get("spec") or {}
    for host in spec.get("hostnames") or ():
        for rule in spec.get("rules") or ():
            for match in rule.get("matches") or ():
                path = match.get("path") or {}
                yield ServedRoute(
                    host=host,
                    path=path.get("value", "/"),
                    kind=kinds.get(path.get("type", "PathPrefix"), "exact"),
                    owner=owner_of(route),
                )


def backend_tls_policy(facts: ClusterFacts, server: TlsServer) -> Object:
    """Return how implementations of Gateway API speak TLS to a server; one for all domains.

    The authority is in the ConfigMap `trust`, which every implementation reads; Istio reads no
    Secret here.
    """
    spec = {
        "targetRefs": [{"group": "", "kind": "Service", "name": server.name}],
        "validation": {
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": server.trust}],
            "hostname": server.host,
        },
    }
    version = facts.api_version("BackendTLSPolicy", f"{GROUP}/v1", f"{GROUP}/v1alpha3")
    return new_object(version, "BackendTLSPolicy", server.name, server.namespace, spec=spec)
