"""The ingress or gateway of a domain: what every kind of it makes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, get_args

from daypass._core.kubernetes.objects import GroupKind, Object
from daypass.config import ClusterDomain, Config, TlsIssuer, TlsSecret
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.tls_server import AuthorityLocation, TlsServer

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
