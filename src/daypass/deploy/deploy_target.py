"""Which object: group, kind, namespace, name, whatever its version; and in which order.

The cluster that is deployed to: objects by identifier, applied strictly, several at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from daypass.deploy.served_kinds import ServedKinds, group_of
from daypass.kube.cluster import APPLY, FIELD_MANAGER, METADATA, Cluster
from daypass.kube.errors import NotFoundError
from daypass.kube.resources import Object, Resource

_WAVES = (
    ("Namespace",),
    # What pods stand on, and what counts before anybody can come in.
    (
        "PriorityLevelConfiguration",
        "FlowSchema",
        "ServiceAccount",
        "NetworkPolicy",
        "Certificate",
        "ConfigMap",
        "Secret",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "AuthorizationPolicy",
        "EnvoyFilter",
        "SecurityPolicy",
        "ClientTrafficPolicy",
        "ReferenceGrant",
    ),
    # What a front has to find before it is told to come here, and how to do so by TLS.
    (
        "Service",
        "DestinationRule",
        "BackendTLSPolicy",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ),
)
"""All of a wave is made at once; what is in none opens a way in from outside, and comes last."""

LAST_WAVE = len(_WAVES)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectRef:
    """One object of a cluster."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, document: Object) -> ObjectRef:
        """That of a document."""
        metadata = document["metadata"]
        return cls(
            group=group_of(str(document["apiVersion"])),
            kind=str(document["kind"]),
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
        )

    @classmethod
    def parse(cls, key: str) -> ObjectRef | None:
        """That of a `key`; None for any other text."""
        parts = key.split("_")
        if len(parts) != 4:
            return None
        namespace, name, group, kind = parts
        return cls(group=group, kind=kind, namespace=namespace, name=name)

    @property
    def key(self) -> str:
        """As text that a ConfigMap takes for a key: `NAMESPACE_NAME_GROUP_KIND`.

        That is how kpt, Flux and cli-utils write it in their inventories.
        """
        return f"{self.namespace}_{self.name}_{self.group}_{self.kind}"

    @property
    def where(self) -> str:
        """`NAMESPACE/NAME`, or the name of what is in no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def wave(self) -> int:
        """When it is applied, from 0 to LAST_WAVE. What is removed goes the other way round."""
        for number, kinds in enumerate(_WAVES):
            if self.kind in kinds:
                return number
        return LAST_WAVE

    def __str__(self) -> str:
        return f"{self.kind} {self.where}"


AT_ONCE = 4
"""Requests at a time: more gain nothing, and each costs a handshake."""

T = TypeVar("T")
R = TypeVar("R")


class DeployTarget:
    """A cluster with what it serves. Every method raises the errors of `daypass.kube.errors`."""

    def __init__(self, cluster: Cluster, kinds: ServedKinds) -> None:
        self.cluster = cluster
        self.kinds = kinds

    def find(self, identifier: ObjectRef) -> Object | None:
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

    def find_metadata(self, identifier: ObjectRef) -> Object | None:
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
        identifier = ObjectRef.of(document)
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

    def delete(self, identifier: ObjectRef, uid: str, *, dry_run: bool = False) -> None:
        """Delete the object that has this UID, if it is still there."""
        resource = self._resource(identifier)
        if resource is not None:
            namespace = identifier.namespace or None
            self.cluster.delete(resource, identifier.name, namespace, uid=uid, dry_run=dry_run)

    def _resource(self, identifier: ObjectRef) -> Resource | None:
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
