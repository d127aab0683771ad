"""A domain that a cluster publishes, with everything that its ingress or gateway depends on."""

from dataclasses import dataclass

from daypass.config import Config, Domain, TlsIssuer, TlsSecret
from daypass.config.domain import OUTSIDE
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.names import API_SERVER_NAMESPACE

_USUAL_NAMESPACES = {"ingress-nginx": "ingress-nginx", "istio": "istio-system"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDomain:
    """One domain of a config. `name`: its key there."""

    name: str
    domain: Domain
    config: Config
    facts: ClusterFacts

    @property
    def object_name(self) -> str:
        """Name of the front's objects for this domain."""
        return f"daypass-domain-{self.name}"

    @property
    def namespace(self) -> str:
        """Namespace of the front's objects: that of the Service that they lead to."""
        return API_SERVER_NAMESPACE if self.domain.direct else self.config.door.namespace

    @property
    def front_namespace(self) -> str | None:
        """Namespace of the pods that terminate TLS; None if unknown."""
        return self.domain.front_namespace or _USUAL_NAMESPACES.get(self.domain.front)

    @property
    def pair_namespace(self) -> str:
        """Namespace where the front looks for the Secret of the public certificate."""
        if self.domain.front == "istio":
            return self.front_namespace or ""
        return self.namespace

    @property
    def pair_secret(self) -> str | None:
        """Name of the Secret of the public certificate; None if it is outside the cluster."""
        match self.domain.tls:
            case TlsSecret(secret=name):
                return name
            case TlsIssuer():
                return f"{self.object_name}-tls"
        return None

    @property
    def ends_tls(self) -> bool:
        """Whether TLS ends at the front, so that it knows which requests used plain http."""
        return self.domain.tls != OUTSIDE or self.domain.gateway is not None

    @property
    def dns_annotations(self) -> dict[str, str]:
        """The annotation for external-dns, if it manages the record."""
        if self.domain.dns == "none":
            return {}
        return {"external-dns.alpha.kubernetes.io/hostname": self.domain.host}


def published_domains(config: Config, facts: ClusterFacts) -> list[PublishedDomain]:
    """Return the domains of a config for a cluster, by name. Others are for one machine."""
    return [
        PublishedDomain(name=name, domain=domain, config=config, facts=facts)
        for name, domain in sorted(config.domains.items())
        if domain.front != "envoy"
    ]
