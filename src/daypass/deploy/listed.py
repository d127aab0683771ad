"""The objects of a cluster that publish hosts, listed once for whoever looks at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from daypass.deploy.target import Target, each
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import Object

INGRESS = ("networking.k8s.io", "Ingress")
VIRTUAL_SERVICE = ("networking.istio.io", "VirtualService")
ISTIO_GATEWAY = ("networking.istio.io", "Gateway")
HTTP_ROUTE = ("gateway.networking.k8s.io", "HTTPRoute")
GRPC_ROUTE = ("gateway.networking.k8s.io", "GRPCRoute")
GATEWAY = ("gateway.networking.k8s.io", "Gateway")

GroupKind = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Objects by group and kind, each with its `kind`; of kinds that nobody serves there are none.

    `unseen`: kinds that may not be listed, in words.
    """

    objects: Mapping[GroupKind, Sequence[Object]]
    unseen: tuple[str, ...] = ()

    def of(self, kind: GroupKind) -> Sequence[Object]:
        """The objects of a kind."""
        return self.objects.get(kind, ())


def list_all(target: Target, wanted: Iterable[GroupKind]) -> Listed:
    """List these kinds in all namespaces, several at a time."""

    def look(wanted: GroupKind) -> tuple[GroupKind, list[Object] | None]:
        resource = target.kinds.find(*wanted)
        if resource is None:
            return wanted, []
        try:
            listed = target.cluster.list(resource)
        except ForbiddenError:
            return wanted, None
        # In a list the items do not say what they are.
        return wanted, [{**document, "kind": resource.kind} for document in listed]

    found = dict(each(look, wanted))
    return Listed(
        objects={kind: documents for kind, documents in found.items() if documents is not None},
        unseen=tuple(f"{_plural(kind[1])} of {kind[0]}" for kind in found if found[kind] is None),
    )


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
