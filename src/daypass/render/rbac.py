"""What the watch may do, and nothing else.

What the authorizer may do, and nothing else.
"""

from daypass.config import Config, Gate
from daypass.render.gateway_api import keys_namespace
from daypass.render.istio.filters import revoked_names
from daypass.render.istio.settings import IstioGate
from daypass.render.objects import (
    GATE,
    GATE_DENIED,
    GATE_KEYS,
    GATE_KNOWN,
    GATE_REVOKED,
    GATE_WATCH,
    Object,
    known_names,
    new_object,
)

_RBAC = "rbac.authorization.k8s.io"
_WRITE = ["get", "create", "patch"]
"""`create` is held to names as well, since server-side apply says the name in the URL."""
_FOLLOW = ["list", "watch"]
ISSUER_DISCOVERY = "system:service-account-issuer-discovery"


def watcher_rbac(config: Config, gate: Gate) -> list[Object]:
    """Those that do not depend on identities."""
    home = config.door.namespace
    objects = [
        _cluster_role(),
        _cluster_binding(GATE_WATCH, GATE_WATCH, home),
        _cluster_binding(f"{GATE_WATCH}-keys", ISSUER_DISCOVERY, home),
        *_bound(home, home, _rules_at_home()),
    ]
    if gate.engine == "istio" and gate.check != "review":
        names = [GATE_KEYS, *revoked_names()]
        rule = _rule("networking.istio.io", "envoyfilters", _WRITE, names)
        objects += _bound(IstioGate.of(config, "").namespace, home, [rule])
    if (namespace := keys_namespace(gate)) is not None:
        objects += _bound(namespace, home, [_rule("", "configmaps", _WRITE, [GATE_KEYS])])
    return objects


def namespace_rights(namespace: str, home: str) -> list[Object]:
    """Role and RoleBinding in a namespace of identities. `home`: the watch's own namespace.

    To list is to be able to read: that the watch asks for metadata alone, RBAC cannot say.
    """
    return _bound(namespace, home, [_rule("", "secrets", _FOLLOW)])


def _rules_at_home() -> list[Object]:
    return [
        _rule("", "configmaps", _WRITE, [GATE_KNOWN, *known_names(), GATE_REVOKED]),
        _rule("", "configmaps", _FOLLOW, [GATE_DENIED]),
        _rule("coordination.k8s.io", "leases", _WRITE, [GATE_WATCH]),
    ]


def _cluster_role() -> Object:
    rule = {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": _FOLLOW}
    return new_object(f"{_RBAC}/v1", "ClusterRole", GATE_WATCH, rules=[rule])


def _cluster_binding(name: str, role: str, home: str) -> Object:
    return new_object(
        f"{_RBAC}/v1", "ClusterRoleBinding", name,
        roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}, subjects=[_subject(home)],
    )  # fmt: skip


def _bound(namespace: str, home: str, rules: list[Object]) -> list[Object]:
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": GATE_WATCH}
    return [
        new_object(f"{_RBAC}/v1", "Role", GATE_WATCH, namespace, rules=rules),
        new_object(
            f"{_RBAC}/v1", "RoleBinding", GATE_WATCH, namespace, roleRef=reference,
            subjects=[_subject(home)],
        ),
    ]  # fmt: skip


def _subject(home: str) -> Object:
    return {"kind": "ServiceAccount", "name": GATE_WATCH, "namespace": home}


def _rule(group: str, resource: str, verbs: list[str], names: list[str] | None = None) -> Object:
    rule: Object = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**rule, "resourceNames": names} if names else rule


DELEGATOR = "system:auth-delegator"
"""Kubernetes' own ClusterRole: to create TokenReviews (and SubjectAccessReviews)."""


def authorizer_rbac(home: str) -> list[Object]:
    """`home`: its namespace, where the list of the revoked is as well."""
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [GATE_REVOKED],
        "verbs": ["get", "watch"],
    }
    return [
        new_object("v1", "ServiceAccount", GATE, home),
        _binding("ClusterRoleBinding", "ClusterRole", DELEGATOR, home),
        new_object(f"{_RBAC}/v1", "Role", GATE, home, rules=[rule]),
        _binding("RoleBinding", "Role", GATE, home),
    ]


def _binding(kind: str, role_kind: str, role: str, home: str) -> Object:
    return new_object(
        f"{_RBAC}/v1",
        kind,
        GATE,
        home if kind == "RoleBinding" else "",
        roleRef={"apiGroup": _RBAC, "kind": role_kind, "name": role},
        subjects=[{"kind": "ServiceAccount", "name": GATE, "namespace": home}],
    )
