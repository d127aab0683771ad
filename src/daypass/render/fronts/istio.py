"""Istio's gateway: a Gateway for the host (or an existing one), and a VirtualService.

A DestinationRule verifies the door, one for all domains.
"""

from typing import ClassVar

from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass.config import IstioDomain
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts.front import TIMEOUT, Front
from daypass.render.names import DOOR, SERVICE_PORT
from daypass.render.tls_server import AuthorityLocation, TlsServer

USUAL_NAMESPACE = "istio-system"

_VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1")


class IstioFront(Front[IstioDomain]):
    """Istio's gateway, where a VirtualService leads the prefix to the door."""

    domain_type: ClassVar = IstioDomain
    usual_namespace: ClassVar = USUAL_NAMESPACE
    route_kind: ClassVar = GroupKind("networking.istio.io", "VirtualService")

    @property
    def pods_namespace(self) -> str:
        """Namespace of the gateway's pods."""
        return self.domain.front_namespace or USUAL_NAMESPACE

    @property
    def certificate_namespace(self) -> str:
        """Namespace of the Secret of the public certificate: that of the gateway's pods."""
        return self.pods_namespace

    def objects(self) -> list[Object]:
        """Return the Gateway, unless there is one, and the VirtualService."""
        if self.domain.gateway is not None:
            return [self._virtual_service(self.domain.gateway, self.dns_annotations)]
        if self.certificate_secret is None:
            raise RenderError(
                f"domains.{self.name} has its certificate outside, and names no Gateway",
                "write gateway: NAMESPACE/NAME, or tls: {secret: NAME}",
            )
        return [self._gateway(), self._virtual_service(f"{self.pods_namespace}/{self.object_name}")]

    def authority_location(self) -> AuthorityLocation:
        """Return a Secret next to the gateway's pods."""
        return AuthorityLocation(kind="Secret", namespace=self.pods_namespace)

    def verification(self, server: TlsServer) -> Object:
        """Return the DestinationRule of a server."""
        return destination_rule(self.facts, server)

    def _gateway(self) -> Object:
        server = {
            "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
            # VirtualServices of other namespaces get no requests to this host from this server.
            "hosts": [f"{self.namespace}/{self.domain.host}"],
            "tls": {
                "mode": "SIMPLE",
                "credentialName": self.certificate_secret,
                "minProtocolVersion": "TLSV1_2",
            },
        }
        return new_object(
            self.facts.api_version("Gateway", *_VERSIONS),
            "Gateway",
            self.object_name,
            self.pods_namespace,
            annotations=self.dns_annotations,
            spec={"selector": dict(self.domain.front_labels), "servers": [server]},
        )

    def _virtual_service(self, gateway: str, annotations: dict[str, str] | None = None) -> Object:
        prefix = self.config.prefix
        route = {
            # Envoy's route has it, too: docs/how-to/ingresses/istio.md takes that past a login.
            "name": self.object_name,
            # With a slash: Istio compares text, and would also match /kubernetesx.
            "match": [{"uri": {"prefix": f"{prefix}/"}}, {"uri": {"exact": prefix}}],
            "route": [{"destination": {"host": DOOR, "port": {"number": SERVICE_PORT}}}],
            # Only if no door was reached: some of Istio's defaults also repeat what got a 503.
            "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
            "timeout": TIMEOUT,
        }
        return new_object(
            self.facts.api_version("VirtualService", *_VERSIONS),
            "VirtualService",
            self.object_name,
            self.namespace,
            annotations=annotations or {},
            spec={"gateways": [gateway], "hosts": [self.domain.host], "http": [route]},
        )


def destination_rule(facts: ClusterFacts, server: TlsServer) -> Object:
    """Return how Istio speaks TLS to a server; one for all domains.

    It verifies the server by name, and by the authority in the Secret `trust`, for which it looks
    in the namespace of the gateway's pods.
    """
    tls = {
        "mode": "SIMPLE",
        "credentialName": server.trust,
        "sni": server.host,
        # Without it Istio verifies the chain and accepts every name.
        "subjectAltNames": [server.host],
    }
    version = facts.api_version("DestinationRule", *_VERSIONS)
    spec = {"host": server.name, "trafficPolicy": {"tls": tls}}
    return new_object(version, "DestinationRule", server.name, server.namespace, spec=spec)
