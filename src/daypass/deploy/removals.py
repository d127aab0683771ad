"""Whether anything in a namespace is somebody else's.

What is to be removed of what was applied, and what is not though it is in the inventory.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from daypass._core.labels import MANAGER
from daypass.deploy.deploy_target import DeployTarget, ObjectRef, each
from daypass.deploy.inventory import NAME as INVENTORY
from daypass.deploy.inventory import AppliedObject
from daypass.deploy.managed_fields import managed_fields
from daypass.kube.resources import Object, Resource
from daypass.render.objects import GATE_KNOWN, GATE_REVOKED, GATE_WATCH, known_names

_OF_EVERY_NAMESPACE = {
    ("ConfigMap", "kube-root-ca.crt"),
    ("ConfigMap", "istio-ca-root-cert"),
    ("ConfigMap", "openshift-service-ca.crt"),
    ("ServiceAccount", "default"),
}
"""What controllers put into each namespace, by themselves."""

_OF_THE_GATE = {
    ("Lease", GATE_WATCH),
    *(("ConfigMap", name) for name in (GATE_KNOWN, *known_names(), GATE_REVOKED)),
}
"""What the gate's watch keeps there, and nobody applies. Denials by hand are somebody's."""

_TRACES = {"Event", "Endpoints"}
"""What is left behind by itself, and owned by nobody."""


def foreign_objects(target: DeployTarget, namespace: str, ours: Container[ObjectRef]) -> list[str]:
    """What would go with a namespace though it is not ours: `Secret ekf-tls`.

    That is whatever is owned by no other object, and no controller puts everywhere.
    """

    def look(resource: Resource) -> list[ObjectRef]:
        found = target.cluster.list(resource, namespace, metadata_only=True)
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [ObjectRef.of({**o, **head}) for o in found if _is_strange(resource.kind, o)]

    kinds = [kind for kind in target.kinds.belongings if kind.kind not in _TRACES]
    found = {identifier for some in each(look, kinds) for identifier in some}
    return sorted(f"{one.kind} {one.name}" for one in found if one not in ours)


def _is_strange(kind: str, document: Object) -> bool:
    metadata = document["metadata"]
    annotations = metadata.get("annotations") or {}
    return not (
        metadata.get("ownerReferences")
        or "deletionTimestamp" in metadata
        or (kind, metadata["name"])
        in {*_OF_EVERY_NAMESPACE, *_OF_THE_GATE, ("ConfigMap", INVENTORY)}
        or annotations.get("kubernetes.io/service-account.name") == "default"
    )


Fate: TypeAlias = Literal["remove", "release", "keep", "leave"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An object that was applied and is no longer wanted; only where there still is one.

    Fates: `release` gives up our fields of what was there before us. `keep`: a namespace of ours
    that holds what is not. `leave`: no longer the one that was applied. `why`: for these two.
    """

    identifier: ObjectRef
    fate: Fate
    uid: str
    why: str = ""


def find_removals(
    target: DeployTarget,
    entries: Mapping[ObjectRef, AppliedObject],
    wanted: Container[ObjectRef] = (),
) -> list[Removal]:
    """What is to become of entries, in the order in which to do it; nothing for what is gone or
    still `wanted`.
    """

    def find(item: tuple[ObjectRef, AppliedObject]) -> Removal | None:
        identifier, entry = item
        live = target.find_metadata(identifier)
        if live is None:
            return None
        removal = Removal(identifier=identifier, fate="remove", uid=str(live["metadata"]["uid"]))
        if not is_the_one(entry, live):
            return replace(removal, fate="leave", why="it is not the one that was applied")
        if entry.taken_over:
            return replace(removal, fate="release")
        return looked_into(target, removal, entries)

    todo = [item for item in entries.items() if item[0] not in wanted]
    found = [removal for removal in each(find, todo) if removal is not None]
    return sorted(found, key=lambda removal: (-removal.identifier.wave, removal.identifier))


def looked_into(target: DeployTarget, removal: Removal, ours: Container[ObjectRef]) -> Removal:
    """The removal of a namespace, unless something of others is in it; any other as it is."""
    if removal.identifier.kind != "Namespace":
        return removal
    found = foreign_objects(target, removal.identifier.name, ours)
    return replace(removal, fate="keep", why=f"it holds {', '.join(found)}") if found else removal


def is_the_one(entry: AppliedObject, live: Object) -> bool:
    """Whether an object is the one that an entry tells of.

    An entry alone is not believed: whoever may edit the ConfigMap could name any object there. The
    API server has to have noted on the object itself that daypass applied it. Of cert-manager's
    Secrets only those are taken that it made for a Certificate of ours.
    """
    metadata = live["metadata"]
    if entry.certificate:
        made_for = (metadata.get("annotations") or {}).get("cert-manager.io/certificate-name")
        return bool(made_for == entry.certificate) and entry.certificate.startswith(f"{MANAGER}-")
    # Without a UID: an apply has ended before it could note it.
    return managed_fields(live) is not None and entry.uid in ("", metadata["uid"])
