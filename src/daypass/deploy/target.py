"""The cluster that is deployed to: objects by identifier, applied strictly, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from daypass.deploy.identifier import Identifier
from daypass.deploy.kinds import Kinds
from daypass.kube.cluster import APPLY, FIELD_MANAGER, METADATA, Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import Object, Resource

AT_ONCE = 4
"""Requests at a time: more gain nothing, and each costs a handshake."""

T = TypeVar("T")
R = TypeVar("R")


class Target:
    """A cluster with what it serves. Every method raises the errors of `daypass.kube.errors`."""

    def __init__(self, cluster: Cluster, kinds: Kinds) -> None:
        self.cluster = cluster
        self.kinds = kinds

    def find(self, identifier: Identifier) -> Object | None:
        """An object as it is, or None."""
        resource = self._resource(identifier)
        if resource is None:
            return None
        return self.cluster.find(resource, identifier.name, identifier.namespace or None)

    def find_as(self, document: Object) -> Object | None:
        """The object that a document is about, in the document's own version."""
        resource = self.kinds.resources[document["apiVersion"], document["kind"]]
        metadata = document["metadata"]
        return self.cluster.find(resource, metadata["name"], metadata.get("namespace"))

    def find_metadata(self, identifier: Identifier) -> Object | None:
        """The same with `metadata` alone: no Secret's data is sent."""
        resource = self._resource(identifier)
        if resource is None:
            return None
        try:
            return self.cluster.request(
                "GET",
                resource.path(identifier.namespace or None, identifier.name),
                headers={"Accept": METADATA.format("")},
                what=f"get {resource.named(identifier.namespace, identifier.name)}",
            )
        except NotFoundError:
            return None

    def apply(self, document: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Server-side apply as `daypass`. Unlike Cluster.apply it takes no field that the API
        server does not know: an older version of a kind would leave out what protects.
        """
        identifier = Identifier.of(document)
        resource = self.kinds.resources[document["apiVersion"], document["kind"]]
        return self.cluster.request(
            "PATCH",
            resource.path(identifier.namespace or None, identifier.name),
            document,
            content_type=APPLY,
            params={
                "fieldManager": FIELD_MANAGER,
                "fieldValidation": "Strict",
                "force": str(force).lower(),
                **({"dryRun": "All"} if dry_run else {}),
            },
            what=f"apply {resource.named(identifier.namespace, identifier.name)}",
        )

    def delete(self, identifier: Identifier, uid: str, *, dry_run: bool = False) -> None:
        """Delete the object that has this UID, if it is still there."""
        resource = self._resource(identifier)
        if resource is not None:
            namespace = identifier.namespace or None
            self.cluster.delete(resource, identifier.name, namespace, uid=uid, dry_run=dry_run)

    def _resource(self, identifier: Identifier) -> Resource | None:
        return self.kinds.find(identifier.group, identifier.kind)


def each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `work` gives for each item, in order, several at a time.

    The first error is raised when all that was begun has ended; what was not yet is left.
    """
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in todo]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
