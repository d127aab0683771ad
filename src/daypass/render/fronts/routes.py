"""Hosts and routes that a cluster serves already, as the fronts read them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self, TypeAlias

from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import PROBE_PATH

RouteKind: TypeAlias = Literal["prefix", "exact", "text", "pattern"]


class ObjectQuery(NamedTuple):
    """Which objects to list: of a kind, in whatever version the API serves it.

    Only those in a `namespace`, with these `labels` and `fields`, if named. `metadata_only`:
    nothing else of them is read.
    """

    group: str
    kind: str
    namespace: str = ""
    labels: str = ""
    metadata_only: bool = False
    fields: str = ""

    @property
    def plural(self) -> str:
        """The kind in words, such as Ingresses."""
        kind = re.sub("([^aeo])y$", r"\1ie", self.kind)
        return f"{kind}es" if kind.endswith("s") else f"{kind}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObjects:
    """The objects of a cluster by their kind, each with its `kind`.

    `unseen`: the kinds that the user may not list. A kind that is in neither is not served.
    """

    objects: Mapping[ObjectQuery, Sequence[Object]] = field(default_factory=dict)
    unseen: frozenset[ObjectQuery] = frozenset()

    @classmethod
    def seen(cls, found: Mapping[ObjectQuery, Sequence[Object] | None]) -> Self:
        """Return what was found of the kinds that are served; None: the user may not list it."""
        return cls(
            objects={query: objects for query, objects in found.items() if objects is not None},
            unseen=frozenset(query for query, objects in found.items() if objects is None),
        )

    def of(self, kind: ObjectQuery) -> Sequence[Object]:
        """Return the objects of a kind."""
        return self.objects.get(kind, ())

    def serves(self, kind: ObjectQuery) -> bool:
        """Return whether the API serves a kind."""
        return kind in self.objects or kind in self.unseen

    @property
    def unseen_kinds(self) -> list[str]:
        """What the user may not list, in words."""
        named = (f"{e.plural} of {e.group}" if e.group else e.plural for e in sorted(self.unseen))
        return list(dict.fromkeys(named))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRoute:
    """A path on a host, and its owner. prefix: of path segments; text: of characters."""

    host: str
    path: str
    kind: RouteKind
    owner: str

    def captures(self, prefix: str) -> bool:
        """Whether requests for the door under this prefix could end here.

        A shorter path does not count: every engine prefers the longer one, except for Istio's
        (text), which prefers the older one.
        """
        if self.kind == "pattern":
            try:
                return bool(re.match(self.path, prefix + PROBE_PATH, re.IGNORECASE))
            except re.error:
                return False
        below = self.path == prefix or self.path.startswith(f"{prefix}/")
        return below or (self.kind == "text" and self.path != "/" and prefix.startswith(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHost:
    """A public name that is served. `ends_tls`: this object has the certificate.

    `gateway`: NAMESPACE/NAME, or for the Gateway API NAMESPACE/NAME/LISTENER.
    """

    host: str
    front: str
    ends_tls: bool
    class_name: str | None = None
    gateway: str | None = None


def serving(hosts: Iterable[ServedHost], name: str) -> ServedHost | None:
    """Return what serves a name, by this name or else by a wildcard; with TLS comes first.

    For `*` only what terminates TLS counts: much listens to `*` in the clear, behind others.
    """
    known = list(hosts)
    for wanted in (name, "*." + name.partition(".")[2], "*"):
        found = sorted((h for h in known if h.host == wanted), key=lambda host: not host.ends_tls)
        if found and (wanted != "*" or found[0].ends_tls):
            return found[0]
    return None


def owner_of(document: Object) -> str:
    """Return the name of an object in messages: KIND NAMESPACE/NAME."""
    return f"{document.get('kind', 'object')} {path_of(document)}"


def path_of(document: Object) -> str:
    """Return NAMESPACE/NAME."""
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
