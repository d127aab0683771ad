"""Istio's gateway: a Gateway for the host (or an existing one), and a VirtualService.

A DestinationRule verifies the door, one for all domains.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from daypass._core.kubernetes.labels import selector
from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import IstioDomain
from daypass.config.domain import GATEWAY_LABELS
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts.front import TIMEOUT, Front
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

VIRTUAL_SERVICE = ObjectQuery("networking.istio.io", "VirtualService")
ISTIO_GATEWAY = ObjectQuery("networking.istio.io", "Gateway")
USUAL_NAMESPACE = "istio-system"
_SELECTOR = selector(GATEWAY_LABELS)
GATEWAY_SERVICE = ObjectQuery("", "Service", labels=_SELECTOR, metadata_only=True)
GATEWAY_POD = ObjectQuery("", "Pod", labels=_SELECTOR, metadata_only=True)

_VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1")


class IstioFront(Front[IstioDomain]):
    """Istio's gateway, where a VirtualService leads the prefix to the door."""

    domain_type: ClassVar = IstioDomain
    usual_namespace: ClassVar = USUAL_NAMESPACE
    api: ClassVar = VIRTUAL_SERVICE
    queries: ClassVar = (ISTIO_GATEWAY, GATEWAY_SERVICE, GATEWAY_POD)
    provider: ClassVar = "Istio"

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

    @classmethod
    def hosts(cls, listed: ListedObjects) -> Iterator[ServedHost]:
        """Yield the hosts of Gateways."""
        for gateway in listed.of(ISTIO_GATEWAY):
            yield from cls._hosts(gateway)

    @classmethod
    def routes(cls, listed: ListedObjects) -> Iterator[ServedRoute]:
        """Yield the paths of VirtualServices."""
        for service in listed.of(VIRTUAL_SERVICE):
            yield from _routes(service)

    @classmethod
    def is_running(cls, listed: ListedObjects) -> bool:
        """Return whether a cluster has a gateway of it."""
        return bool(listed.of(GATEWAY_SERVICE))

    @classmethod
    def seen_namespace(cls, listed: ListedObjects) -> str | None:
        """Return the namespace of the only gateways, unless it is the usual one."""
        found = {each["metadata"]["namespace"] for each in listed.of(GATEWAY_SERVICE)}
        return str(found.pop()) if len(found) == 1 and found != {USUAL_NAMESPACE} else None

    @classmethod
    def shadowed_routes(
        cls, routes: Sequence[ServedRoute], hosts: Sequence[ServedHost], name: str
    ) -> list[str]:
        """Return VirtualServices for a wildcard that would lose a name to one for it alone.

        Where no Gateway names it, Istio makes it a virtual host of its own, without the others'
        routes.
        """
        if any(host.front == cls.kind() and host.host == name for host in hosts):
            return []
        suffixes = {route.owner: route.host[1:] for route in routes if route.host.startswith("*")}
        return sorted(
            owner
            for owner, suffix in suffixes.items()
            if owner.startswith("VirtualService ") and name.endswith(suffix)
        )

    @classmethod
    def _hosts(cls, gateway: Object) -> Iterator[ServedHost]:
        """Yield the hosts of a Gateway; `NAMESPACE/HOST` is for that namespace alone."""
        for server in (gateway.get("spec") or {}).get("servers") or ():
            for host in server.get("hosts") or ():
                yield ServedHost(
                    host=host.rpartition("/")[2],
                    front=cls.kind(),
                    ends_tls=bool(server.get("tls")) and not server["tls"].get("httpsRedirect"),
                    gateway=path_of(gateway),
                )


def _routes(service: Object) -> Iterator[ServedRoute]:
    """Yield the paths of a VirtualService that some gateway serves."""
    spec = service.get("spec") or {}
    if spec.get("gateways", ["mesh"]) == ["mesh"]:
        return
    kinds: dict[str, RouteKind] = {"prefix": "text", "exact": "exact", "regex": "pattern"}
    for host in spec.get("hosts") or ():
        for http in spec.get("http") or ():
            matches: list[Object] = http.get("match") or [{}]
            for match in matches:
                for how, path in (match.get("uri") or {"prefix": "/"}).items():
                    yield ServedRoute(
                        host=host, path=path, kind=kinds.get(how, "exact"), owner=owner_of(service)
                    )


def seen_service(listed: ListedObjects) -> str | None:
    """Return the DNS name of the Service of a cluster's only gateway; None if it has not one."""
    if len(services := listed.of(GATEWAY_SERVICE)) != 1:
        return None
    namespace, name = path_of(services[0]).split("/")
    return f"{name}.{namespace}.svc.cluster.local"


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
