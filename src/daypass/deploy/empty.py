"""Whether anything in a namespace is somebody else's."""

from __future__ import annotations

from collections.abc import Container

from daypass.deploy.identifier import Identifier
from daypass.deploy.inventory import NAME as INVENTORY
from daypass.deploy.target import Target, each
from daypass.kube.resources import Object, Resource
from daypass.render.names import GATE_KNOWN, GATE_REVOKED, GATE_WATCH, known_names

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


def strangers(target: Target, namespace: str, ours: Container[Identifier]) -> list[str]:
    """What would go with a namespace though it is not ours: `Secret ekf-tls`.

    That is whatever is owned by no other object, and no controller puts everywhere.
    """

    def look(resource: Resource) -> list[Identifier]:
        found = target.cluster.list(resource, namespace, metadata_only=True)
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [Identifier.of({**o, **head}) for o in found if _is_strange(resource.kind, o)]

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
