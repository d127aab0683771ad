"""The objects of a cluster that findings are made of: each kind is listed once, when first read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple, TypeAlias

from daypass._core.kubernetes.objects import Object
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError


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

    def __str__(self) -> str:
        """Return the kind in words, such as `Ingresses of networking.k8s.io`."""
        kind = re.sub("([^aeo])y$", r"\1ie", self.kind)
        plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
        return f"{plural} of {self.group}" if self.group else plural


INGRESSES = ObjectQuery("networking.k8s.io", "Ingress")
NETWORK_POLICIES = ObjectQuery("networking.k8s.io", "NetworkPolicy")
VIRTUAL_SERVICES = ObjectQuery("networking.istio.io", "VirtualService")
ISTIO_GATEWAYS = ObjectQuery("networking.istio.io", "Gateway")
AUTHORIZATION_POLICIES = ObjectQuery("security.istio.io", "AuthorizationPolicy")
GATEWAYS = ObjectQuery("gateway.networking.k8s.io", "Gateway")
HTTP_ROUTES = ObjectQuery("gateway.networking.k8s.io", "HTTPRoute")
GRPC_ROUTES = ObjectQuery("gateway.networking.k8s.io", "GRPCRoute")
NAMESPACES = ObjectQuery("", "Namespace", metadata_only=True)

Look: TypeAlias = Callable[[ObjectQuery], Sequence[Object] | None]
"""Returns objects, each with its `kind`; None if the user may not list them."""


class Snapshot:
    """A cluster as one check reads it. `unseen`: what it has read and the user may not list."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self.unseen: set[ObjectQuery] = set()

    def of(self, query: ObjectQuery) -> Sequence[Object]:
        """Return the objects of a query; none if the API does not serve the kind."""
        found = self._look(query)
        if found is None:
            self.unseen.add(query)
            return ()
        return found


def look_at(cluster: Cluster) -> Look:
    """Return what lists the objects of a cluster, each query once for all threads."""
    listed: dict[ObjectQuery, Future[Sequence[Object] | None]] = {}
    lock = Lock()

    def look(query: ObjectQuery) -> Sequence[Object] | None:
        with lock:
            is_new = query not in listed
            found = listed.setdefault(query, Future())
        if is_new:
            try:
                found.set_result(_list(cluster, query))
            except BaseException as error:
                found.set_exception(error)
        return found.result()

    return look


def _list(cluster: Cluster, query: ObjectQuery) -> Sequence[Object] | None:
    """List objects. Raises ApiError, unless the user may not list them."""
    if (resource := cluster.find_kind(query.group, query.kind)) is None:
        return ()
    try:
        listed = cluster.list(
            resource,
            query.namespace or None,
            labels=query.labels or None,
            fields=query.fields or None,
            metadata_only=query.metadata_only,
        )
    except ForbiddenError:
        return None
    # The items of a list have no kind.
    return [{**document, "kind": resource.kind} for document in listed]


def owner_of(document: Object) -> str:
    """Return the name of an object in messages: KIND NAMESPACE/NAME."""
    return f"{document.get('kind', 'object')} {path_of(document)}"


def path_of(document: Object) -> str:
    """Return NAMESPACE/NAME."""
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
