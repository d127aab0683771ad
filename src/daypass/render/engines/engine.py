"""What a gateway with a gate needs, whatever its kind: objects, what it publishes, metrics."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from daypass._core.kubernetes.objects import GroupKind, Object
from daypass.config import ClusterGate, Config
from daypass.config.gate import DEFAULT_GATE
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.names import GATE_KEYS, AuthorityLocation
from daypass.rules.published import NAMES, Published

G = TypeVar("G", bound=ClusterGate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyMetrics:
    """Where Prometheus scrapes pods: the port by name and `number`, and the path.

    `relabelings`: of their series, in the Prometheus Operator's form.
    """

    port: str
    number: int
    path: str
    relabelings: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(ABC, Generic[G]):
    """The gateway of a cluster that has a gate. `name`: the gate's, in the config.

    A subclass is a kind: the gateway's objects, and what they need.
    """

    gate_type: ClassVar[type[ClusterGate]]
    """The section of the config that selects this kind."""

    applied_as: ClassVar[GroupKind]
    """The kind of the object, named as the gate, by which it is known to be applied."""

    published_as: ClassVar[GroupKind | None] = None
    """The kind of the objects in which the gateway reads what is published, to verify tokens
    itself. None: the authorizer does both, with ConfigMaps and keys that it reads."""

    metrics: ClassVar[ProxyMetrics]
    """Of the gateway's pods: what is about the gate, since others scrape the rest."""

    name: str
    gate: G
    config: Config
    facts: ClusterFacts

    def named(self, base: str) -> str:
        """Return the name of an object at the gateway. No name of a gate contains a dot, so objects
        of two gates never have the same."""
        return base if self.name == DEFAULT_GATE else f"{base}.{self.name}"

    @property
    def key(self) -> str:
        """The gate's key in the config."""
        return f"gates.{self.name}"

    @property
    @abstractmethod
    def pods_labels(self) -> dict[str, str]:
        """The labels of the gateway's pods, in the gate's `gateway_namespace`."""

    @abstractmethod
    def objects(self) -> list[Object]:
        """Return the gateway's objects. Raises RenderError if the config leaves that open."""

    @abstractmethod
    def authority_location(self) -> AuthorityLocation:
        """Return where the gateway looks for the authority of the authorizer."""

    def keys_object(self, issuer: str, key_set: str) -> Object:
        """Return the object of `published_as` with the API server's JSON Web Key Set.

        `issuer`: the `iss` of its short-lived tokens. `key_set`: its text.
        """
        raise NotImplementedError

    @property
    def published_names(self) -> list[str]:
        """The names of the objects of `published_as`."""
        return [self.named(name) for name in (GATE_KEYS, *NAMES)]

    def published_object(self, name: str, published: Published) -> Object:
        """Return the object of `published_as` for the filter with a name of NAMES."""
        raise NotImplementedError


AnyEngine = Engine[Any]
