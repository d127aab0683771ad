"""The gateway that has the gate: what every kind of it makes, and what may bypass it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from daypass._core.objects import Object
from daypass.config import ClusterGate, Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts.routes import ListedObjects, ObjectQuery
from daypass.render.tls_server import AuthorityLocation
from daypass.rules.published import Published

G = TypeVar("G", bound=ClusterGate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(ABC, Generic[G]):
    """The gateway of a cluster that has the gate.

    A subclass is a kind: the gateway's objects, what they need, and what may bypass the gate.
    """

    gate_type: ClassVar[type[ClusterGate]]
    """The section of the config that selects this kind."""

    usual_namespace: ClassVar[str]
    """Namespace of the gateway's pods, where the config names none."""

    bypass_hint: ClassVar[str] = ""
    """What to do about what bypasses the gate."""

    gate: G
    config: Config
    facts: ClusterFacts

    @property
    def pods_namespace(self) -> str:
        """Namespace of the gateway's pods."""
        return self.gate.front_namespace or self.usual_namespace

    @abstractmethod
    def objects(self) -> list[Object]:
        """Return the gateway's objects. Raises RenderError if the config leaves that open."""

    @abstractmethod
    def authority_location(self) -> AuthorityLocation:
        """Return where the gateway looks for the authority of the authorizer."""

    @abstractmethod
    def guarded_gateway(self) -> list[Any]:
        """Return which gateway is guarded, as JSON, to compare with another config's."""

    @property
    def bypass_queries(self) -> Sequence[ObjectQuery]:
        """What to list to find what bypasses the gate; nothing if nothing can."""
        return ()

    @property
    def pods_query(self) -> ObjectQuery | None:
        """The gateway's pods, if what bypasses the gate depends on them."""
        return None

    def bypasses(self, listed: ListedObjects, pods: Sequence[Object]) -> tuple[str, ...]:
        """Return a line for each host that bypasses the gate. `pods`: listed by `pods_query`."""
        return ()


class VerifyingEngine(Engine[G]):
    """A gateway that verifies tokens itself, and so reads what is published in objects of its own.

    On other engines the authorizer does both: the API server's keys are its own concern, and it
    reads ConfigMaps.
    """

    published_as: ClassVar[ObjectQuery]
    """The kind of the objects in which the gateway reads what is published."""

    @abstractmethod
    def keys_object(self, issuer: str, key_set: str) -> Object:
        """Return the object, of `published_as`, with the API server's JSON Web Key Set.

        `issuer`: the `iss` of its short-lived tokens. `key_set`: its text.
        """

    @abstractmethod
    def published_object(self, name: str, published: Published) -> Object:
        """Return the object, of `published_as`, with what has this name: a part, or the denials."""
