"""That rendered objects refer to nothing that is not there, and that nothing is needed in vain."""

from __future__ import annotations

from typing import Any

from daypass._core.objects import Object
from daypass.config import Config
from daypass.render.names import CLUSTER_AUTHORITY, DOOR
from daypass.render.prerequisites import prerequisites

Identity = tuple[str, str, str]


def identity(value: Object) -> Identity:
    return str(value["kind"]), value["metadata"].get("namespace", ""), value["metadata"]["name"]


def assert_closed(config: Config, objects: list[Object]) -> None:
    """That every Secret, ConfigMap and Service that is referred to is rendered, made by
    cert-manager, or among the needs; and that each of the needs is referred to.
    """
    needed = {(need.kind, need.namespace, need.name) for need in prerequisites(config)}
    there = needed | {identity(value) for value in objects}
    for value in objects:
        if value["kind"] == "Certificate":
            there.add(("Secret", value["metadata"]["namespace"], value["spec"]["secretName"]))
    used: set[Identity] = set()
    for value in objects:
        for kind, name in _references(value):
            given, _, bare = name.rpartition("/")
            spaces = {given or value["metadata"]["namespace"]}
            if value["kind"] == "DestinationRule" and kind == "Secret":
                # Istio looks for it beside each of its gateways.
                spaces = {space for k, space, n in there if (k, n) == (kind, bare)}
            assert spaces, (kind, name)
            used |= {(kind, space, bare) for space in spaces}
    absent = used - there
    assert {each for each in absent if each[2] not in (CLUSTER_AUTHORITY, "kubernetes")} == set()
    assert needed <= used, "what nobody uses is not needed"


def _references(value: Object) -> set[tuple[str, str]]:
    return set() if value["kind"] == "Certificate" else _below(value)


def _below(value: Any) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    if isinstance(value, list):
        return found.union(*map(_below, value))
    if not isinstance(value, dict):
        return found
    for key, child in value.items():
        found |= _below(child)
        if key in ("secretName", "credentialName") or key.endswith("/proxy-ssl-secret"):
            found.add(("Secret", child))
        elif key == "certificateRefs":
            found |= {("Secret", reference["name"]) for reference in child}
        elif key == "caCertificateRefs":
            found |= {(reference["kind"], reference["name"]) for reference in child}
        elif key == "configMap":
            found.add(("ConfigMap", child["name"]))
        elif key == "service":
            found.add(("Service", child["name"]))
        elif key in ("destination", "host") and child in ({"host": DOOR}, DOOR):
            found.add(("Service", DOOR))
    return found
