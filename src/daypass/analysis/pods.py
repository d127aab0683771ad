"""Whose Pods may call a model past the gate, by Istio's policies and NetworkPolicies.

A gate decides about what arrives at its gateway. The Pods of a model can be reached by their IP
addresses, too; by the private Service of a Knative revision, which selects them (knative/serving
pkg/reconciler/serverlessservice/resources/services.go, MakePrivateService); and by Knative's
activator, which forwards to every revision that a header names (pkg/activator/handler/context.go).
What refuses such requests is the Pod's own sidecar, or a NetworkPolicy. `-private` Services and IP
addresses lead to the same sidecar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from daypass._core.kubernetes.objects import Object, name_of
from daypass.config.gate import ISTIO_ROOT
from daypass.identity.roles import selects

EVERYBODY = "*"
"""Pods of every namespace, with or without a sidecar."""
_PROBES = {"/healthz", "/metrics", "/wait-for-drain"}
"""Paths that Kubeflow's profiles leave open to every caller, for Knative (kubeflow/dashboard
components/profile-controller/controllers/profile_controller.go, getAuthorizationPolicy)."""
_PRINCIPAL = re.compile(r"[^/]+/ns/([^/*]+)/.*")
_SIDECAR = "istio-proxy"
_PAST_SIDECAR = "traffic.sidecar.istio.io/excludeInboundPorts"
_SIDECARS_OWN_PORT = "15020"
"""Its status port, which Istio's injector itself writes there for its CNI plugin."""


def callers_of(
    pod: Object, policies: Sequence[Object], networks: Sequence[Object]
) -> dict[str, str]:
    """Return the namespaces (or EVERYBODY) whose Pods may call a Pod, and for each one why.

    `policies`: AuthorizationPolicies. `networks`: NetworkPolicies; one that names the Pod's callers
    is taken as meant so.
    """
    if _is_limited_by_network(pod, networks):
        return {}
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    if not any(each["name"] == _SIDECAR for each in containers):
        return {EVERYBODY: "they have no sidecar of Istio"}
    excluded = str((pod["metadata"].get("annotations") or {}).get(_PAST_SIDECAR, ""))
    if {port.strip() for port in excluded.split(",")} - {"", _SIDECARS_OWN_PORT}:
        return {EVERYBODY: f"their annotation {_PAST_SIDECAR} leaves ports to no sidecar"}
    applying = [each for each in policies if applies(each, pod)]
    allowing = [each for each in applying if _action(each) == "ALLOW"]
    if not allowing:
        found = {EVERYBODY: "no AuthorizationPolicy limits who may"}
    else:
        found = {
            namespace or policy["metadata"]["namespace"]: (
                f"AuthorizationPolicy {name_of(policy)} admits them"
            )
            for policy in allowing
            for rule in _rules(policy)
            for namespace in _admitted_by(rule)
        }
    for policy in applying:
        if _action(policy) == "DENY" and (left := _left_by(policy)) and EVERYBODY not in left:
            whys = {each: found.get(each, found.get(EVERYBODY)) for each in left}
            found = {each: why for each, why in whys.items() if why is not None}
    return found


def _rules(policy: Object) -> Sequence[Object]:
    return (policy.get("spec") or {}).get("rules") or ()


def _action(policy: Object) -> str:
    return str((policy.get("spec") or {}).get("action", "ALLOW"))


def applies(policy: Object, pod: Object) -> bool:
    """Return whether a policy of Istio, or an EnvoyFilter, is for a Pod's proxy."""
    spec, place = policy.get("spec") or {}, policy["metadata"]["namespace"]
    is_here = place in (pod["metadata"]["namespace"], ISTIO_ROOT)
    labels = (spec.get("workloadSelector") or {}).get("labels") or {}
    selector = spec.get("selector") or {"matchLabels": labels}
    return is_here and "targetRefs" not in spec and selects(selector, pod)


def _left_by(policy: Object) -> Set[str]:
    """Return the namespaces that a policy does not deny; nothing if it denies something else."""
    only = [rule for rule in _rules(policy) if rule.keys() == {"from"}]
    sources = [each["source"] for rule in only for each in rule["from"]]
    return set().union(
        *(
            _namespaces_in(source, "notPrincipals", "notNamespaces")
            for source in sources
            if len(source) == 1
        )
    )


def _admitted_by(rule: Object) -> Set[str]:
    """Return the namespaces that a rule of a policy admits."""
    operations = [each.get("operation") or {} for each in rule.get("to") or ()]
    paths = [set(each.get("paths") or [EVERYBODY]) for each in operations]
    if paths and set().union(*paths) <= _PROBES:
        return set()
    conditions = {each["key"]: each.get("values") or () for each in rule.get("when") or ()}
    for key in ("source.namespace", "source.principal"):
        if named := _namespaces_in(
            {key: conditions.get(key)}, "source.principal", "source.namespace"
        ):
            return named
    sources = [each.get("source") or {} for each in rule.get("from") or ()]
    return set().union(*(_namespaces_in(each) or {EVERYBODY} for each in sources)) or {EVERYBODY}


def _namespaces_in(
    source: Object, principals: str = "principals", namespaces: str = "namespaces"
) -> Set[str]:
    """Return the namespaces in fields of a source: EVERYBODY for what may be any, and an empty one
    for the policy's own.
    """
    named = (_PRINCIPAL.fullmatch(each) for each in source.get(principals) or ())
    return {
        *(each.rpartition("/")[0] for each in source.get("serviceAccounts") or ()),
        *(EVERYBODY if each is None else each[1] for each in named),
        *(EVERYBODY if "*" in each else each for each in source.get(namespaces) or ()),
    }


def _is_limited_by_network(pod: Object, networks: Sequence[Object]) -> bool:
    """Return whether NetworkPolicies name the callers of a Pod, in each of their rules."""
    here = pod["metadata"]["namespace"]
    applying = [
        each["spec"]
        for each in networks
        if each["metadata"]["namespace"] == here
        and selects(each["spec"].get("podSelector") or {}, pod)
        and "Ingress" in (each["spec"].get("policyTypes") or ["Ingress"])
    ]
    rules = [rule for spec in applying for rule in spec.get("ingress") or ()]
    return bool(applying) and all(
        rule.get("from") and all(map(_names_callers, rule["from"])) for rule in rules
    )


def _names_callers(peer: Object) -> bool:
    """Return whether a peer of a NetworkPolicy is less than all Pods of the cluster."""
    if "ipBlock" in peer:
        return not peer["ipBlock"]["cidr"].endswith("/0")
    namespaces = peer.get("namespaceSelector")
    if namespaces is None:
        return True
    expressions = namespaces.get("matchExpressions") or ()
    return bool(namespaces.get("matchLabels")) or any(e["operator"] == "In" for e in expressions)
