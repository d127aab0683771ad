"""The Gateway API: an HTTPRoute on a listener with TLS, of a new Gateway or an existing one.

A BackendTLSPolicy verifies the door, one for all domains.
"""

from typing import ClassVar

from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass.config import GatewayApiDomain
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts.front import Front
from daypass.render.names import DOOR, SERVICE_PORT
from daypass.render.tls_server import AuthorityLocation, TlsServer

GROUP = "gateway.networking.k8s.io"
_LISTENER = "https"


class GatewayApiFront(Front[GatewayApiDomain]):
    """An implementation of the Gateway API, where an HTTPRoute leads the prefix to the door."""

    domain_type: ClassVar = GatewayApiDomain
    route_kind: ClassVar = GroupKind(GROUP, "HTTPRoute")

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
