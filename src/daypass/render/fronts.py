"""The ingress or gateway that publishes a domain and routes the prefix to the door.

A Front is one kind: the objects that publish a domain, and what they need. A new kind is a section
of `config/domain.py`, a class here, and an entry in FRONTS.

All of them speak TLS to the door; those that can verify it do so by authority and name. None serves
or redirects the prefix over plain http: redirects are turned off, and the door refuses requests
that the front received over plain http.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args

from daypass._core.hints import docs_page
from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass.config import (
    ClassDomain,
    ClusterDomain,
    Config,
    GatewayApiDomain,
    IngressDomain,
    IngressNginxDomain,
    IstioDomain,
    TlsIssuer,
    TlsSecret,
)
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.names import (
    DOOR,
    DOOR_PAIR,
    SERVICE_PORT,
    AuthorityLocation,
    TlsServer,
    door_server,
)

D = TypeVar("D", bound=ClusterDomain)

TIMEOUT = "30s"
"""Longer than the door's own timeouts, whose responses say what was too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front(ABC, Generic[D]):
    """The ingress or gateway of one domain of a config, in a cluster. `name`: the domain's.

    A subclass is a kind: what it publishes, and what it needs.
    """

    domain_type: ClassVar[type[ClusterDomain]]
    """The section of the config that selects this kind."""

    usual_namespace: ClassVar[str | None] = None
    """Namespace of its pods, where the config names none; None: unknown."""

    route_kind: ClassVar[GroupKind]
    """The kind of the objects that route paths."""

    notes: ClassVar[tuple[str, ...]] = ()
    """What must be configured and is not rendered, in words."""

    warning: ClassVar[tuple[str, str] | None] = None
    """What speaks against a new one, and what to do instead."""

    name: str
    domain: D
    config: Config
    facts: ClusterFacts

    @classmethod
    def kind(cls) -> str:
        """Return the value of `front` in the config."""
        value: str = get_args(cls.domain_type.model_fields["front"].annotation)[0]
        return value

    @abstractmethod
    def objects(self) -> list[Object]:
        """Return what publishes the domain. Raises RenderError if its config leaves that open."""

    def authority_location(self) -> AuthorityLocation | None:
        """Return where it looks for the authority of the door, if that has to be copied there."""
        return None

    def verification(self, server: TlsServer) -> Object | None:
        """Return how it speaks TLS to a server, one object for all domains, if it has such one."""
        return None

    @property
    def service_annotations(self) -> dict[str, str]:
        """Annotations of the door's Service."""
        return {}

    @property
    def object_name(self) -> str:
        """Name of its objects for this domain."""
        return f"daypass-domain-{self.name}"

    @property
    def namespace(self) -> str:
        """Namespace of its objects: that of the Service that they lead to."""
        return self.config.door.namespace

    @property
    def pods_namespace(self) -> str | None:
        """Namespace of the pods that terminate TLS; None if unknown."""
        return self.domain.front_namespace or self.usual_namespace

    @property
    def certificate_namespace(self) -> str:
        """Namespace where it looks for the Secret of the public certificate."""
        return self.namespace

    @property
    def certificate_secret(self) -> str | None:
        """Name of the Secret of the public certificate; None if it is outside the cluster."""
        match self.domain.tls:
            case TlsSecret(secret=name):
                return name
            case TlsIssuer():
                return f"{self.object_name}-tls"
        return None

    @property
    def dns_annotations(self) -> dict[str, str]:
        """The annotation for external-dns, if it manages the record."""
        if self.domain.dns == "none":
            return {}
        return {"external-dns.alpha.kubernetes.io/hostname": self.domain.host}


C = TypeVar("C", bound=ClassDomain)


class ControllerFront(Front[C]):
    """An ingress controller, which serves the Ingresses of its classes."""

    route_kind: ClassVar = GroupKind("networking.k8s.io", "Ingress")

    def ingress(self, *, class_name: str | None, annotations: dict[str, str]) -> Object:
        """Return an Ingress that leads the prefix to the door."""
        backend = {"service": {"name": DOOR, "port": {"number": SERVICE_PORT}}}
        host = self.domain.host
        paths = [{"path": self.config.prefix, "pathType": "Prefix", "backend": backend}]
        spec: Object = {"rules": [{"host": host, "http": {"paths": paths}}]}
        if class_name is not None:
            spec["ingressClassName"] = class_name
        if self.certificate_secret is not None:
            spec["tls"] = [{"hosts": [host], "secretName": self.certificate_secret}]
        return new_object(
            "networking.k8s.io/v1",
            "Ingress",
            self.object_name,
            self.namespace,
            annotations={**annotations, **self.dns_annotations},
            spec=spec,
        )


class IngressFront(ControllerFront[IngressDomain]):
    """A controller that has no kind of its own, and gets a plain Ingress."""

    domain_type: ClassVar = IngressDomain
    notes: ClassVar = (
        "the ingress controller: TLS to the Service, see "
        + docs_page("how-to/ingresses/ingress.md"),
    )

    def objects(self) -> list[Object]:
        """Return the Ingress."""
        return [self.ingress(class_name=self.domain.class_name, annotations={})]

    @property
    def service_annotations(self) -> dict[str, str]:
        """Return the annotation because of which Contour speaks TLS to a Service."""
        return {"projectcontour.io/upstream-protocol.tls": str(SERVICE_PORT)}


_USUAL_CLASS = "nginx"


class IngressNginxFront(ControllerFront[IngressNginxDomain]):
    """ingress-nginx, which verifies the door by annotations of the Ingress."""

    domain_type: ClassVar = IngressNginxDomain
    usual_namespace: ClassVar = "ingress-nginx"
    notes: ClassVar = (
        'ConfigMap of ingress-nginx: upstream-keepalive-connections: "0", or a connection that'
        " another Ingress opened to the same address is reused without verification",
    )
    warning: ClassVar = (
        "ingress-nginx was retired in March 2026, and gets no security fixes",
        "to move the door to another ingress or gateway, see "
        + docs_page("how-to/ingresses/ingress-nginx.md"),
    )

    def objects(self) -> list[Object]:
        """Return the Ingress."""
        class_name = self.domain.class_name or _USUAL_CLASS
        secret, host = f"{self.namespace}/{DOOR_PAIR}", door_server(self.config.door.namespace).host
        return [self.ingress(class_name=class_name, annotations=_verified_tls(secret, host))]


def _verified_tls(secret: str, name: str) -> dict[str, str]:
    """Return annotations for TLS to a backend, verified by name and by the authority in a Secret.

    The controller silently ignores a value that it does not know, and then verifies nothing: only
    `"on"` turns verification on. `secret` includes its namespace.
    """
    values = {
        "backend-protocol": "HTTPS",
        "proxy-ssl-verify": "on",
        "proxy-ssl-verify-depth": "2",
        "proxy-ssl-secret": secret,
        "proxy-ssl-name": name,
        "proxy-ssl-server-name": "on",
        # Plain http is not redirected: the door refuses it and says why.
        "ssl-redirect": "false",
        "force-ssl-redirect": "false",
    }
    return {f"nginx.ingress.kubernetes.io/{key}": value for key, value in values.items()}


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


AnyFront = Front[Any]
_NO_FACTS = ClusterFacts()

FRONTS: tuple[type[AnyFront], ...] = (
    IngressNginxFront,
    IngressFront,
    IstioFront,
    GatewayApiFront,
)
"""In the order in which a user may choose one."""


def fronts_of(config: Config, facts: ClusterFacts = _NO_FACTS) -> list[AnyFront]:
    """Return the fronts of a config's domains in a cluster, by the names of the domains.

    `facts`: for their objects.
    """
    kinds = {front.domain_type: front for front in FRONTS}
    return [
        kinds[type(domain)](name=name, domain=domain, config=config, facts=facts)
        for name, domain in config.cluster_domains.items()
    ]
