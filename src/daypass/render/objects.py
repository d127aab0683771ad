"""Objects as they are written: in which order, and their YAML.

Manifests and `apply` write one wave after the other, and `remove` goes in reverse. The objects of
one wave are written at the same time. The same objects give the same bytes.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import yaml

from daypass._core.kubernetes.objects import Object, name_of
from daypass.render.names import DOOR, GATE


class Wave(IntEnum):
    """When an object is written."""

    NAMESPACES = 0
    PUBLISHED = 1
    """What the gate's watch writes. A removal comes to it once the watch has no rights: until then
    the watch would restore it."""
    CONFIGURATION = 2
    """What pods need, and what limits access before there is any."""
    CERTIFICATES = 3
    """A removal comes to them before it comes to their Secrets: cert-manager would make those
    again."""
    BACKENDS = 4
    """What an ingress or gateway has to find before a route leads to it: servers, and every other
    kind with the name of one, which says how to reach and verify it."""
    GATE = 5
    """What decides by what the watch publishes: after the watch, before what it guards is open."""
    ROUTES = 6
    """Every other object: it may open access from outside."""


_KINDS = {
    Wave.NAMESPACES: ("Namespace",),
    Wave.CONFIGURATION: (
        "PriorityLevelConfiguration",
        "FlowSchema",
        "ServiceAccount",
        "NetworkPolicy",
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
    Wave.CERTIFICATES: ("Certificate",),
    Wave.BACKENDS: (
        "Service",
        "DestinationRule",
        "BackendTLSPolicy",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
    ),
}
_GATE_KINDS = ("Role", "AuthorizationPolicy", "EnvoyFilter", "SecurityPolicy", "Deployment")
"""Those of the objects called GATE, or GATE.NAME of one of several, that are in the gate's wave."""
_WAVES = {kind: wave for wave, kinds in _KINDS.items() for kind in kinds}
_ORDER = {kind: number for number, kind in enumerate(_WAVES)}


def wave_of(kind: str, name: str) -> Wave:
    """Return when an object is applied."""
    base, _, _ = name.partition(".")
    if base == GATE and kind in _GATE_KINDS:
        return Wave.GATE
    others = {GATE: Wave.GATE, DOOR: Wave.BACKENDS}
    return _WAVES.get(kind, others.get(base, Wave.ROUTES))


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Return objects in the order in which to apply them; the same for the same objects."""

    def key(document: Object) -> tuple[Wave, int, str, str, str]:
        kind, name = str(document["kind"]), name_of(document)
        namespace = str(document["metadata"].get("namespace", ""))
        return wave_of(kind, name), _ORDER.get(kind, len(_ORDER)), kind, namespace, name

    return sorted(objects, key=key)


_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _ReadableDumper(_DUMPER):  # type: ignore[misc]
    """No anchors; multi-line strings as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ReadableDumper.add_representer(str, _represent_str)


def document(value: Any, *, ascii_only: bool = False) -> str:
    """Return one document; mappings keep their order, and lines are not wrapped.

    `ascii_only`: escape all other characters, some of which steer a terminal.
    """
    text = yaml.dump(
        value, Dumper=_ReadableDumper, sort_keys=False, width=2**20, allow_unicode=not ascii_only
    )
    return str(text)


def stream(values: Iterable[Any]) -> str:
    """Return several documents, for `kubectl apply -f -`."""
    return "".join(f"---\n{document(value)}" for value in values)
