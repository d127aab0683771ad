"""The RBAC of daypass's own ServiceAccounts: what authorizer and watch may do.

The authorizer may create TokenReviews and SubjectAccessReviews, and watch the ConfigMaps of its
namespace: what is published is some of them. It may watch the models that a gate authorizes, and
for a gateway that verifies no tokens read the API server's keys. The watch may list namespaces and
ServiceAccounts, and write what it publishes, by name. In namespaces of identities, by a Role that
`identity create` adds there, it may list Secrets.
"""

from daypass._core.kubernetes.objects import Object, new_object
from daypass._core.kubernetes.syntax import RBAC_GROUP
from daypass.config import Config
from daypass.render.engines import engines_of
from daypass.render.names import GATE, GATE_DENIED, GATE_PUBLISHER, GATE_WATCH
from daypass.rules.published import NAMES

_VERSION = f"{RBAC_GROUP}/v1"
_WRITE = ["get", "create", "patch"]
"""`create` is restricted to names, too: server-side apply has the name in the URL."""
_WATCH = ["list", "watch"]
_TOKEN_REVIEWS = "system:auth-delegator"  # noqa: S105 - a ClusterRole
"""Kubernetes' own ClusterRole: to create TokenReviews (and SubjectAccessReviews)."""
_KEYS = "system:service-account-issuer-discovery"
"""Kubernetes' own ClusterRole: to read the API server's issuer and signing keys."""


def authorizer_rbac(config: Config) -> list[Object]:
    """Return what the authorizer of a config's gates may do."""
    own_namespace = config.door.namespace
    objects = [
        _binding(GATE, "ClusterRole", _TOKEN_REVIEWS, GATE, own_namespace),
        *_role(GATE, GATE, own_namespace, own_namespace, [_rule("", ["configmaps"], _WATCH)]),
    ]
    if models := _models(config):
        objects += _role(f"{GATE}-models", GATE, "", own_namespace, models)
    if any(engine.published_as is None for engine in engines_of(config)):
        # It verifies tokens itself.
        objects.append(_binding(f"{GATE}-keys", "ClusterRole", _KEYS, GATE, own_namespace))
    return objects


def _models(config: Config) -> list[Object]:
    """Return the rules to watch the resources that some gate authorizes.

    To list them is to read them: RBAC can't restrict the authorizer to metadata, which is all that
    it requests.
    """
    gates = config.cluster_gates.values()
    resources: dict[str, set[str]] = {}
    for name in (rule.resource for gate in gates for rule in gate.authorize):
        resource, _, group = name.partition(".")
        resources.setdefault(group, set()).add(resource)
    return [_rule(group, sorted(names), _WATCH) for group, names in sorted(resources.items())]


def watcher_rbac(config: Config) -> list[Object]:
    """Return what the watch of a config's gates may do, except in namespaces of identities."""
    own_namespace = config.door.namespace
    in_own_namespace = [
        _rule("", ["configmaps"], _WRITE, list(NAMES)),
        _rule("", ["configmaps"], _WATCH, [GATE_DENIED]),
        _rule("coordination.k8s.io", ["leases"], _WRITE, [GATE_WATCH]),
    ]
    cluster_wide = [_rule("", ["namespaces", "serviceaccounts"], _WATCH)]
    objects = [
        *_role(GATE_WATCH, GATE_WATCH, "", own_namespace, cluster_wide),
        *_role(GATE_PUBLISHER, GATE_WATCH, own_namespace, own_namespace, in_own_namespace),
    ]
    of_gateways: dict[str, list[Object]] = {}
    for engine in engines_of(config):
        if (query := engine.published_as) is not None:
            kinds, names = [f"{query.kind.lower()}s"], engine.published_names
            rule = _rule(query.group, kinds, _WRITE, names)
            of_gateways.setdefault(engine.gate.gateway_namespace, []).append(rule)
    for namespace, rules in of_gateways.items():
        objects += _role(GATE_PUBLISHER, GATE_WATCH, namespace, own_namespace, rules)
    if of_gateways:
        objects.append(
            _binding(f"{GATE_WATCH}-keys", "ClusterRole", _KEYS, GATE_WATCH, own_namespace)
        )
    return objects


def namespace_rights(namespace: str, own_namespace: str) -> list[Object]:
    """Return the watch's Role and RoleBinding in a namespace of identities.

    `own_namespace`: the watch's own namespace. To list Secrets is to read them: RBAC can't
    restrict the watch to metadata, which is all that it requests.
    """
    return _role(GATE_WATCH, GATE_WATCH, namespace, own_namespace, [_rule("", ["secrets"], _WATCH)])


def _rule(
    group: str, resources: list[str], verbs: list[str], names: list[str] | None = None
) -> Object:
    rule: Object = {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}
    return {**rule, "resourceNames": names} if names else rule


def _role(
    name: str, account: str, namespace: str, own_namespace: str, rules: list[Object]
) -> list[Object]:
    """Return a Role, or without a namespace a ClusterRole, and its binding to the ServiceAccount
    `account` of `own_namespace`.
    """
    kind = "Role" if namespace else "ClusterRole"
    role = new_object(_VERSION, kind, name, namespace, rules=rules)
    return [role, _binding(name, kind, name, account, own_namespace, namespace)]


def _binding(
    name: str, kind: str, role: str, account: str, own_namespace: str, namespace: str = ""
) -> Object:
    reference = {"apiGroup": RBAC_GROUP, "kind": kind, "name": role}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": own_namespace}
    return new_object(
        _VERSION, f"{kind}Binding", name, namespace, roleRef=reference, subjects=[subject]
    )
