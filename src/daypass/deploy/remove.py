"""Removing what was applied: what goes, what stays and why, and in which order."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass._core.threads import in_parallel
from daypass.config import Config
from daypass.deploy.cluster_state import INVENTORY, AppliedObject, ClusterState, write_inventory
from daypass.deploy.objects import ObjectRef, find_object, managed_fields
from daypass.identity.accounts import IdentityName, list_identities
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, Resource
from daypass.render.engines import engines, engines_of
from daypass.render.names import GATE, GATE_PUBLISHER, GATE_WATCH
from daypass.render.objects import Wave
from daypass.rules.published import NAMES

_IN_EVERY_NAMESPACE = {
    ("ConfigMap", "kube-root-ca.crt"),
    ("ConfigMap", "istio-ca-root-cert"),
    ("ConfigMap", "openshift-service-ca.crt"),
    ("ServiceAccount", "default"),
}
"""Controllers put these into each namespace."""

_OURS = {("ConfigMap", INVENTORY), ("Lease", GATE_WATCH)}
"""daypass writes these, too; they are not applied. Denials are an administrator's."""

_LEFTOVERS = {"Event", "Endpoints"}
"""Kinds that remain without an owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An applied object that is no longer wanted and still exists.

    Actions: `release` gives up our fields of an object that existed before daypass applied it;
    `keep` a namespace of ours that holds foreign objects; `leave` an object that is not the one
    that was applied. `why`: the reason for the last two. `is_published`: the gate's watch wrote it.
    """

    ref: ObjectRef
    action: Literal["remove", "release", "keep", "leave"]
    uid: str
    why: str = ""
    is_published: bool = False

    @property
    def wave(self) -> Wave:
        """When it is removed, in reverse."""
        return Wave.PUBLISHED if self.is_published else self.ref.wave


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """The result of an apply or a removal. `left`: not removed, as planned or as found since."""

    applied: int = 0
    removed: int = 0
    left: tuple[Removal, ...] = ()

    @property
    def kept(self) -> list[ObjectRef]:
        """What remains in the inventory, to be removed later."""
        return [removal.ref for removal in self.left if removal.action == "keep"]


class PartialApplyError(DaypassError):
    """An apply or a removal failed halfway; running it again continues."""


def find_removals(
    cluster: Cluster,
    entries: Mapping[ObjectRef, AppliedObject],
    wanted: Container[ObjectRef] = (),
) -> list[Removal]:
    """Return what happens to inventory entries, in order, without those gone or still `wanted`; the
    same for what the gate's watch published next to them.
    """

    def find(item: tuple[ObjectRef, AppliedObject]) -> Removal | None:
        ref, entry = item
        live = find_object(cluster, ref, metadata_only=True)
        if live is None:
            return None
        removal = Removal(ref=ref, action="remove", uid=str(live["metadata"]["uid"]))
        if not is_applied_object(entry, live):
            return replace(removal, action="leave", why="it is not the one that was applied")
        if entry.taken_over:
            return replace(removal, action="release")
        return _keep_if_shared(cluster, removal, entries)

    todo = [item for item in entries.items() if item[0] not in wanted]
    found = [removal for removal in in_parallel(find, todo) if removal is not None]
    going = {it.ref.name for it in found if (it.ref.kind, it.action) == ("Namespace", "remove")}
    found += _find_published(cluster, entries, wanted, going)
    return sorted(found, key=lambda removal: (-removal.wave, removal.ref))


def remaining_identities(cluster: Cluster) -> list[IdentityName] | None:
    """Return the identities that a removal leaves; None if they may not be listed."""
    try:
        return sorted(account.name for account in list_identities(cluster, None))
    except ForbiddenError:
        return None


def published_refs(config: Config) -> set[ObjectRef]:
    """Return what the watch publishes in a cluster."""
    if not (found := engines_of(config)):
        return set()
    own_namespace = config.door.namespace
    return {
        *(ObjectRef.core("ConfigMap", own_namespace, name) for name in NAMES),
        *(
            ObjectRef(
                group=engine.published_as.group,
                kind=engine.published_as.kind,
                namespace=engine.gate.gateway_namespace,
                name=name,
            )
            for engine in found
            if engine.published_as is not None
            for name in engine.published_names
        ),
    }


def _find_published(
    cluster: Cluster,
    entries: Mapping[ObjectRef, AppliedObject],
    wanted: Container[ObjectRef],
    going: Iterable[str],
) -> list[Removal]:
    """Return what a watch has published and is not `wanted`: by another version, or for a gate that
    is no more. What is in namespaces that are `going` goes with them.
    """
    places = {ref.namespace for ref in entries if ref.name == GATE_PUBLISHER} - {"", *going}

    def look(resource: Resource, place: str) -> Iterator[Removal]:
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        for live in cluster.list(resource, place, metadata_only=True):
            ref, uid = ObjectRef.of({**live, **head}), str(live["metadata"]["uid"])
            if _is_published(live) and ref not in entries and ref not in wanted:
                yield Removal(ref=ref, action="remove", uid=uid, is_published=True)

    queries = [engine.published_as for engine in engines() if engine.published_as is not None]
    found = [CONFIG_MAPS, *(cluster.find_kind(query.group, query.kind) for query in queries)]
    kinds = [each for each in found if each is not None]
    return [it for kind in kinds for place in sorted(places) for it in look(kind, place)]


def _is_published(live: Object) -> bool:
    """Return whether an object has a name of what the gate's watch writes. Its fields do not say
    so: nobody owns fields of an object that began as an empty one.
    """
    return str(live["metadata"]["name"]).startswith(f"{GATE}-")


def is_applied_object(entry: AppliedObject, live: Object) -> bool:
    """Return whether an object is the one that an inventory entry describes.

    The entry alone proves nothing: any user who may edit the ConfigMap could name any object. The
    object's own managed fields have to say that daypass applied it. A Secret of cert-manager has to
    be made for a Certificate of ours.
    """
    metadata = live["metadata"]
    if entry.certificate:
        made_for = (metadata.get("annotations") or {}).get("cert-manager.io/certificate-name")
        return bool(made_for == entry.certificate) and entry.certificate.startswith(
            f"{labels.MANAGER}-"
        )
    # Without a UID: an apply failed before it could record it.
    return managed_fields(live) is not None and entry.uid in ("", metadata["uid"])


def _keep_if_shared(cluster: Cluster, removal: Removal, ours: Container[ObjectRef]) -> Removal:
    """Return the removal; for a namespace with foreign objects, that it is kept."""
    if removal.ref.kind != "Namespace":
        return removal
    found = _foreign_objects(cluster, removal.ref.name, ours)
    return replace(removal, action="keep", why=f"it holds {', '.join(found)}") if found else removal


def _foreign_objects(cluster: Cluster, namespace: str, ours: Container[ObjectRef]) -> list[str]:
    """Return what else would be deleted with a namespace, such as `Secret ekf-tls`.

    That is what no other object owns, and no controller puts into every namespace.
    """

    def look(resource: Resource) -> list[ObjectRef]:
        found = cluster.list(resource, namespace, metadata_only=True)
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [ObjectRef.of({**o, **head}) for o in found if _is_foreign(resource.kind, o)]

    kinds = [kind for kind in cluster.kinds().deletable if kind.kind not in _LEFTOVERS]
    found = {ref for some in in_parallel(look, kinds) for ref in some}
    return sorted(f"{one.kind} {one.name}" for one in found if one not in ours)


def _is_foreign(kind: str, document: Object) -> bool:
    metadata = document["metadata"]
    annotations = metadata.get("annotations") or {}
    return not (
        metadata.get("ownerReferences")
        or "deletionTimestamp" in metadata
        or (kind, metadata["name"]) in {*_IN_EVERY_NAMESPACE, *_OURS}
        or (kind == "ConfigMap" and _is_published(document))
        or annotations.get("kubernetes.io/service-account.name") == "default"
    )


def remove(cluster: Cluster, removals: Sequence[Removal]) -> ApplyResult:
    """Remove in reverse waves; a namespace only if it still holds nothing foreign."""
    done: list[Removal] = []
    for wave in reversed(Wave):
        step = [removal for removal in removals if removal.wave == wave]
        done += in_parallel(lambda removal: _remove(cluster, removal), step)
    left = [removal for removal in done if removal.action in ("keep", "leave")]
    return ApplyResult(removed=len(done) - len(left), left=tuple(left))


def _remove(cluster: Cluster, removal: Removal) -> Removal:
    """Carry out a removal, and return it; for a namespace that has become shared, that it stays."""
    if removal.action == "remove" and not cluster.dry_run:
        removal = _keep_if_shared(cluster, removal, ())
    ref = removal.ref
    if removal.action == "keep":
        # Commands wait for the gate of every namespace with this label.
        cluster.patch(NAMESPACES, ref.name, {"metadata": {"labels": {labels.GATE: None}}})
        return removal
    resource = cluster.find_kind(ref.group, ref.kind)
    if removal.action == "leave" or resource is None:
        return removal
    if removal.action == "remove":
        cluster.delete(resource, ref.name, ref.namespace or None, uid=removal.uid)
        return removal
    # Applying no fields gives up those that only daypass has set; the object stays.
    metadata: Object = {"name": ref.name, "uid": removal.uid}
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    nothing = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    cluster.apply(nothing, strict=True)
    return removal


def remove_all(state: ClusterState, removals: Sequence[Removal]) -> ApplyResult:
    """Remove everything; the inventory goes last, or stays with the namespaces that stay.

    Raises PartialApplyError if it fails halfway; running it again continues.
    """
    # Releasing a namespace drops its label, without which its inventory would not be found again.
    last = [r for r in removals if r.action == "release" and r.ref.kind == "Namespace"]
    cluster = state.cluster
    try:
        done = remove(cluster, [removal for removal in removals if removal not in last])
        for inventory in state.inventories:
            kept = {
                name: inventory.entries[name] for name in done.kept if name in inventory.entries
            }
            if kept:
                write_inventory(cluster, inventory, kept, None)
            else:
                cluster.delete(CONFIG_MAPS, INVENTORY, inventory.namespace, uid=inventory.uid)
        released = remove(cluster, last)
    except DaypassError as error:
        if cluster.dry_run:
            raise
        raise PartialApplyError(
            error.fact, f"{error.hint}\n`{command('remove')}` continues from there"
        ) from error
    return replace(done, removed=done.removed + released.removed)
