"""That rendered objects refer to nothing that is not there, and that nothing is needed in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.config.domain import GatewayDomain
from daypass.config.gate import EnvoyGatewayGate
from daypass.render.names import CLUSTER_AUTHORITY
from daypass.render.prerequisites import prerequisites

Identity = tuple[str, str, str]
"""Kind, namespace and name."""


def identity(value: Object) -> Identity:
    return str(value["kind"]), value["metadata"].get("namespace", ""), value["metadata"]["name"]


def assert_closed(config: Config, objects: list[Object]) -> None:
    """That everything that is referred to is rendered, made by cert-manager, among the needs, part
    of every cluster, or named in the config; that each of the needs is referred to; and that each
    namespace is rendered, or named in the config.
    """
    needed = {(need.kind, need.namespace, need.name) for need in prerequisites(config)}
    there = needed | {identity(value) for value in objects} | _of_others(config)
    for value in objects:
        if value["kind"] == "Certificate":
            there.add(("Secret", value["metadata"]["namespace"], value["spec"]["secretName"]))
    used: set[Identity] = set()
    for value in objects:
        for kind, space, name in references(value):
            spaces = {space}
            if value["kind"] == "DestinationRule" and kind == "Secret":
                # Istio looks for it beside each of its gateways.
                spaces = {space for k, space, n in there if (k, n) == (kind, name)}
            assert spaces, (kind, name)
            used |= {(kind, space, name) for space in spaces}
    absent = {each for each in used - there if each[2] != CLUSTER_AUTHORITY}
    assert {each for each in absent if not each[2].startswith("system:")} == set()
    assert needed <= used, "what nobody uses is not needed"
    named = {space for _, space, _ in _of_others(config)}
    named |= {name for kind, _, name in there if kind == "Namespace"}
    assert {identity(value)[1] for value in objects} - {""} <= named


def _of_others(config: Config) -> set[Identity]:
    """What every cluster has, and what the config names."""
    found = {("Service", "default", "kubernetes")}
    named = [it.gateway for it in config.cluster_domains.values() if isinstance(it, GatewayDomain)]
    gates = config.cluster_gates.values()
    named += [gate.gateway for gate in gates if isinstance(gate, EnvoyGatewayGate)]
    for gateway in filter(None, named):
        namespace, name, *_ = gateway.split("/")
        found.add(("Gateway", namespace, name))
    pods = {gate.gateway_namespace for gate in gates} | {"istio-system"}
    pods |= {it.front_namespace or "istio-system" for it in config.cluster_domains.values()}
    return found | {("Pod", namespace, "") for namespace in pods}


_TEXTS = {
    "credentialName": "Secret", "policyName": "ValidatingAdmissionPolicy", "secretName": "Secret",
    "serviceAccountName": "ServiceAccount",
}  # fmt: skip
"""The kinds of what texts at these keys name."""
_MAPPINGS = {
    "backendRefs": "Service", "caCertificateRefs": "Service", "certificateRefs": "Secret",
    "configMap": "ConfigMap", "parentRefs": "Gateway", "roleRef": "", "scaleTargetRef": "",
    "priorityLevelConfiguration": "PriorityLevelConfiguration", "service": "Service",
    "subjects": "", "targetRefs": "Service", "to": "",
}  # fmt: skip
"""The kinds of what mappings at these keys, or in lists there, name unless they have a `kind`."""
_CLUSTER_WIDE = ("ValidatingAdmissionPolicy", "PriorityLevelConfiguration")


def references(value: Object) -> set[Identity]:
    """What an object refers to by name."""
    kind, here, _ = identity(value)
    found = set() if kind in ("Certificate", "EnvoyFilter") else {*_named(value)}
    if kind == "DestinationRule":
        found.add(("Service", "", value["spec"]["host"]))
    for name, namespace in re.findall(r"outbound\|443\|\|([^.]+)\.([^.]+)\.svc", str(value)):
        found.add(("Service", namespace, name))
    return {
        (of, "" if of.startswith("Cluster") or of in _CLUSTER_WIDE else space or here, name)
        for of, space, name in found
    }


def _named(value: Any, at: str = "") -> Iterator[Identity]:
    """The references in a value at a key."""
    if isinstance(value, list):
        for each in value:
            yield from _named(each, at)
    elif isinstance(value, dict):
        if at in _MAPPINGS and "name" in value:
            yield value.get("kind", _MAPPINGS[at]), value.get("namespace", ""), value["name"]
        if at == "destination":
            yield "Service", "", value["host"]
        for key, child in value.items():
            yield from _named(child, key)
    elif at in _TEXTS:
        yield _TEXTS[at], "", value
    elif at == "gateways":
        yield "Gateway", *value.split("/")
    elif at.endswith("/proxy-ssl-secret"):
        yield "Secret", *value.split("/")
