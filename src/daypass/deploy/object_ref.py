"""A reference to an object by group, kind, namespace and name."""

from __future__ import annotations

from dataclasses import dataclass

from daypass._core.kubernetes.objects import Object, group_of
from daypass.kube.cluster import Cluster
from daypass.render.apply_order import Wave, wave_of


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectRef:
    """Identifies an object, whatever its version."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, document: Object) -> ObjectRef:
        metadata = document["metadata"]
        return cls(
            group=group_of(str(document["apiVersion"])),
            kind=str(document["kind"]),
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
        )

    @classmethod
    def core(cls, kind: str, namespace: str, name: str) -> ObjectRef:
        """Return the reference to an object of the core group, such as a Secret."""
        return cls(group="", kind=kind, namespace=namespace, name=name)

    @classmethod
    def parse(cls, key: str) -> ObjectRef | None:
        """Return the reference for a `key`, or None for any other text."""
        parts = key.split("_")
        if len(parts) != 4:
            return None
        namespace, name, group, kind = parts
        return cls(group=group, kind=kind, namespace=namespace, name=name)

    @property
    def key(self) -> str:
        """`NAMESPACE_NAME_GROUP_KIND`: a ConfigMap key, as kpt, Flux and cli-utils write it."""
        return f"{self.namespace}_{self.name}_{self.group}_{self.kind}"

    @property
    def where(self) -> str:
        """`NAMESPACE/NAME`, or just the name of a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def wave(self) -> Wave:
        """When it is applied; removals go in reverse."""
        return wave_of(self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.where}"


def find_object(cluster: Cluster, ref: ObjectRef, *, metadata_only: bool = False) -> Object | None:
    """Return an object in the preferred version of its kind, or None.

    `metadata_only`: no Secret's data is sent.
    """
    resource = cluster.find_kind(ref.group, ref.kind)
    if resource is None:
        return None
    return cluster.find(resource, ref.name, ref.namespace or None, metadata_only=metadata_only)
