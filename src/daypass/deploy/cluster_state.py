"""What a cluster has: its kinds and namespaces, and the record of what was applied.

The record is an inventory, a ConfigMap in the door's namespace. Keys identify objects as in kpt,
Flux and cli-utils. Values hold the UID of the object that was applied, which makes pruning safe. An
annotation holds what was confirmed to be open.

The namespace has the label HOLDS_INVENTORY. Only administrators can label namespaces, while a user
who may edit one namespace can create a ConfigMap of any name there; what this one lists, an
administrator deletes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.kubernetes.labels import EXPOSED, HOLDS_INVENTORY
from daypass._core.kubernetes.objects import Object, name_of, new_object, uid_of
from daypass._core.threads import in_parallel
from daypass.config import Config
from daypass.deploy.facts import read_facts
from daypass.deploy.objects import ObjectRef
from daypass.deploy.openings import Openings
from daypass.gate.signing_keys import issuer_for, keys_for
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES
from daypass.render.cluster_facts import ClusterFacts

INVENTORY = "daypass-inventory"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedObject:
    """An object that was applied, or is about to be: then without `uid`.

    `taken_over`: it existed before, without our labels, and stays on removal. `certificate`:
    cert-manager made this Secret for our Certificate of that name.
    """

    api_version: str
    uid: str = ""
    taken_over: bool = False
    certificate: str = ""

    @classmethod
    def parse(cls, text: str) -> AppliedObject:
        """Parse a value. Raises ValueError, KeyError, TypeError."""
        value = json.loads(text)
        return cls(
            api_version=str(value["apiVersion"]),
            uid=str(value.get("uid", "")),
            taken_over=value.get("takenOver") is True,
            certificate=str(value.get("certificate", "")),
        )

    def text(self) -> str:
        """Return the value, without what is not set."""
        value = {
            "apiVersion": self.api_version,
            "uid": self.uid,
            "takenOver": self.taken_over,
            "certificate": self.certificate,
        }
        return json.dumps({name: each for name, each in value.items() if each})


Entries = Mapping[ObjectRef, AppliedObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The inventory of a namespace. `version` is empty if there is none yet."""

    namespace: str
    version: str = ""
    uid: str = ""
    entries: Entries = field(default_factory=dict)
    exposed: Openings | None = None


def read_inventories(cluster: Cluster, namespaces: list[str]) -> list[Inventory]:
    """Return the inventories of these namespaces, the latest first.

    There are several if the door has moved to another namespace and some of the old one is left.
    """
    documents = in_parallel(lambda name: cluster.find(CONFIG_MAPS, INVENTORY, name), namespaces)
    found = [document for document in documents if document is not None]
    found.sort(key=lambda document: str(document["metadata"]["creationTimestamp"]), reverse=True)
    return [_parse(document) for document in found]


def write_inventory(
    cluster: Cluster, inventory: Inventory, entries: Entries, exposed: Openings | None
) -> Inventory:
    """Replace an inventory, if it has not changed meanwhile. No request if nothing changes."""
    if inventory.version and inventory.entries == entries and inventory.exposed == exposed:
        return inventory
    data: dict[str, str | None] = {key.key: entry.text() for key, entry in sorted(entries.items())}
    annotations = {EXPOSED: json.dumps(exposed)}
    try:
        if inventory.version:
            data |= {key.key: None for key in inventory.entries if key not in entries}
            metadata = {"resourceVersion": inventory.version, "annotations": annotations}
            change = {"metadata": metadata, "data": data}
            written = cluster.patch(CONFIG_MAPS, INVENTORY, change, inventory.namespace)
        else:
            made = new_object(
                "v1",
                "ConfigMap",
                INVENTORY,
                inventory.namespace,
                annotations=annotations,
                data=data,
            )
            written = cluster.create(made)
    except (AlreadyExistsError, ConflictError):
        raise DaypassError(
            "another apply is running, or has just finished",
            "see what is there now: " + command("diff"),
        ) from None
    return inventory if cluster.dry_run else _parse(written)


def _parse(document: Object) -> Inventory:
    metadata = document["metadata"]
    try:
        entries = {
            ref: AppliedObject.parse(text)
            for key, text in (document.get("data") or {}).items()
            if (ref := ObjectRef.parse(key)) is not None
        }
        exposed = json.loads(metadata["annotations"][EXPOSED])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DaypassError(
            f"ConfigMap {metadata['namespace']}/{name_of(document)} is not as daypass writes it",
            "was it edited? If you delete it, apply makes another, and removes no earlier objects",
        ) from None
    return Inventory(
        namespace=str(metadata["namespace"]),
        version=str(metadata["resourceVersion"]),
        uid=uid_of(document),
        entries=entries,
        exposed=exposed,
    )


class MissingError(DaypassError):
    """Kinds or namespaces that must exist before anything is applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """`namespaces`: by name, whether it is being deleted. `inventories`: the latest first."""

    cluster: Cluster
    namespaces: dict[str, bool]
    inventories: tuple[Inventory, ...]

    @property
    def entries(self) -> dict[ObjectRef, AppliedObject]:
        """What was applied or about to be, of all inventories; the latest takes precedence."""
        inventories = reversed(self.inventories)
        return {ref: entry for one in inventories for ref, entry in one.entries.items()}

    def inventory_of(self, namespace: str) -> Inventory:
        """Return the inventory of a namespace, which may not exist yet."""
        found = (each for each in self.inventories if each.namespace == namespace)
        return next(found, Inventory(namespace=namespace))

    @property
    def exposed(self) -> Openings | None:
        """What was confirmed to be open; None before the first apply."""
        return self.inventories[0].exposed if self.inventories else None

    def facts(self, config: Config) -> ClusterFacts:
        """Return the facts that rendering needs; the issuer is requested if needed."""
        issuer = issuer_for(config, self.cluster) if config.cluster_gates else ""
        return read_facts(config, self.cluster.kinds().names, issuer)

    def require_keys(self, config: Config) -> None:
        """Raise KeySetError if there is a gate, and no keys for it."""
        if config.cluster_gates:
            keys_for(config, self.cluster)

    def require(self, documents: Sequence[Object]) -> None:
        """Raise MissingError for kinds and namespaces that these need and that do not exist."""
        kinds = self.cluster.kinds().resources
        missing: dict[str, set[str]] = {}
        for document in documents:
            version, kind = document["apiVersion"], document["kind"]
            if (version, kind) not in kinds:
                missing.setdefault(version, set()).add(kind)
        if missing:
            shown = "; ".join(f"{', '.join(sorted(each))} ({v})" for v, each in missing.items())
            raise MissingError(
                f"the cluster does not have {shown}: nothing was applied",
                "install what has them, or change what needs them in the config: `front`, an"
                " issuer, a gate's `engine` or `metrics`",
            )
        self._require_namespaces(documents)

    def _require_namespaces(self, documents: Sequence[Object]) -> None:
        made = {name_of(document) for document in documents if document["kind"] == "Namespace"}
        used = {str(document["metadata"].get("namespace") or "") for document in documents}
        leaving = sorted(name for name in made | used if self.namespaces.get(name))
        if leaving:
            raise MissingError(
                f"the namespace {leaving[0]} is being deleted: nothing was applied",
                "wait until it is gone, and try again",
            )
        absent = sorted(used - made - self.namespaces.keys() - {""})
        if absent:
            raise MissingError(
                f"the cluster has no namespace {', '.join(absent)}: nothing was applied",
                "the pods of the ingress or gateway are in it: install that, or name its namespace"
                " with `frontNamespace`, or in `gateway`",
            )


def read_cluster_state(cluster: Cluster) -> ClusterState:
    """Read a cluster. Raises as `Cluster.kinds`."""
    cluster.kinds(refresh=True)
    namespaces, holders = {}, []
    for document in cluster.list(NAMESPACES, metadata_only=True):
        metadata = document["metadata"]
        namespaces[name_of(document)] = "deletionTimestamp" in metadata
        if HOLDS_INVENTORY.items() <= (metadata.get("labels") or {}).items():
            holders.append(name_of(document))
    return ClusterState(
        cluster=cluster,
        namespaces=namespaces,
        inventories=tuple(read_inventories(cluster, holders)),
    )
