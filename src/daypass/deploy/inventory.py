"""The record of what was applied: a ConfigMap in the door's namespace.

Keys identify objects as in kpt, Flux and cli-utils. Values hold the UID of the object that was
applied, which makes pruning safe. An annotation holds what was confirmed to be open.

The namespace has the label HOLDS_INVENTORY. Only administrators can label namespaces, while a user
who may edit one namespace can create a ConfigMap of any name there; what this one lists, an
administrator deletes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.kubernetes.labels import EXPOSED
from daypass._core.kubernetes.objects import Object, name_of, new_object, uid_of
from daypass._core.threads import in_parallel
from daypass.deploy.objects import ObjectRef
from daypass.deploy.openings import Openings
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError
from daypass.kube.resources import CONFIG_MAPS

NAME = "daypass-inventory"


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
    found = [
        document
        for document in in_parallel(lambda name: cluster.find(CONFIG_MAPS, NAME, name), namespaces)
        if document is not None
    ]
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
            written = cluster.patch(CONFIG_MAPS, NAME, change, inventory.namespace)
        else:
            made = new_object(
                "v1", "ConfigMap", NAME, inventory.namespace, annotations=annotations, data=data
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
