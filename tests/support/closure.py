"""That rendered objects refer to nothing that is not there, and that nothing is needed in vain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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


def references(value: Object) -> set[Identity]:
    """What an object refers to by name."""
    kind, here, _ = identity(value)
    named = _REFERENCES[kind](value) if kind in _REFERENCES else ()
    found = {(of, space or here, name) for of, space, name in named}
    for name, namespace in re.findall(r"outbound\|443\|\|([^.]+)\.([^.]+)\.svc", str(value)):
        found.add(("Service", namespace, name))
    return {
        (of, "" if of.startswith("Cluster") or of in _CLUSTER_WIDE else space, name)
        for of, space, name in found
    }


_CLUSTER_WIDE = ("ValidatingAdmissionPolicy", "PriorityLevelConfiguration")
Named = Iterator[tuple[str, str, str]]


def _binding(value: Object) -> Named:
    yield value["roleRef"]["kind"], "", value["roleRef"]["name"]
    for each in value["subjects"]:
        yield each["kind"], each["namespace"], each["name"]


def _deployment(value: Object) -> Named:
    pod = value["spec"]["template"]["spec"]
    yield "ServiceAccount", "", pod["serviceAccountName"]
    for volume in pod["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", "", volume["configMap"]["name"]
        elif "secret" in volume:
            yield "Secret", "", volume["secret"]["secretName"]


def _ingress(value: Object) -> Named:
    for rule in value["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            yield "Service", "", path["backend"]["service"]["name"]
    for tls in value["spec"].get("tls", ()):
        yield "Secret", "", tls["secretName"]
    for key, name in value["metadata"].get("annotations", {}).items():
        if key.endswith("/proxy-ssl-secret"):
            yield "Secret", *name.split("/")


def _gateway(value: Object) -> Named:
    for server in value["spec"].get("servers", ()):
        yield "Secret", "", server["tls"]["credentialName"]
    for listener in value["spec"].get("listeners", ()):
        for each in listener["tls"]["certificateRefs"]:
            yield "Secret", "", each["name"]


def _virtual_service(value: Object) -> Named:
    for gateway in value["spec"]["gateways"]:
        yield "Gateway", *gateway.split("/")
    for http in value["spec"]["http"]:
        for route in http["route"]:
            yield "Service", "", route["destination"]["host"]


def _destination_rule(value: Object) -> Named:
    yield "Service", "", value["spec"]["host"]
    yield "Secret", "", value["spec"]["trafficPolicy"]["tls"]["credentialName"]


def _refs(value: Any) -> Named:
    """All that a Gateway API has in lists of references."""
    if isinstance(value, list):
        for each in value:
            yield from _refs(each)
    elif isinstance(value, dict):
        for key, child in value.items():
            if key in ("targetRefs", "backendRefs", "parentRefs", "caCertificateRefs"):
                usual = {"parentRefs": "Gateway"}.get(key, "Service")
                for each in child:
                    yield each.get("kind", usual), each.get("namespace", ""), each["name"]
            else:
                yield from _refs(child)


def _grant(value: Object) -> Named:
    for each in value["spec"]["to"]:
        yield each["kind"], "", each["name"]


_REFERENCES: dict[str, Callable[[Object], Named]] = {
    "BackendTLSPolicy": _refs,
    "ClientTrafficPolicy": _refs,
    "ClusterRoleBinding": _binding,
    "Deployment": _deployment,
    "DestinationRule": _destination_rule,
    "FlowSchema": lambda value: iter(
        [("PriorityLevelConfiguration", "", value["spec"]["priorityLevelConfiguration"]["name"])]
    ),
    "Gateway": _gateway,
    "HTTPRoute": _refs,
    "HorizontalPodAutoscaler": lambda value: iter(
        [("Deployment", "", value["spec"]["scaleTargetRef"]["name"])]
    ),
    "Ingress": _ingress,
    "ReferenceGrant": _grant,
    "RoleBinding": _binding,
    "SecurityPolicy": _refs,
    "VirtualService": _virtual_service,
    "ValidatingAdmissionPolicyBinding": lambda value: iter(
        [("ValidatingAdmissionPolicy", "", value["spec"]["policyName"])]
    ),
}
