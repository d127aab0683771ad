"""docs/reference/rbac.md: the rights that commands need. tests/cluster/test_rbac.py holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.reference.markdown import document

from daypass.config import Gate
from daypass.config.models import Config
from daypass.render.rbac import authorizer_rbac, namespace_rights, watcher_rbac
from daypass.render.yaml import stream

RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
ISTIO = "security.istio.io"

INTRO = """\
What a user must be allowed to do to run each command, as objects that you can apply. You need this
page if you give these rights to somebody who is not an administrator of the cluster.

- Rules of a **namespace** are in a ClusterRole that you bind with a RoleBinding, in the namespace
  of the identities. If its name ends with `-grants`: in each namespace where roles are granted.
- Rules of the **whole cluster** are in a ClusterRole whose name ends with `-cluster`. Bind it with
  a ClusterRoleBinding.
- With `-A` and `--all`, bind both with ClusterRoleBindings.

A missing right is reported with the rule to add. `daypass verify`, `daypass render`,
`daypass policy render` and the client's commands need no rights in a cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of RBAC. `scope`: identities (their namespace), grants (the namespaces of a grant), or
    cluster. `resource`: one, or several after commas. `names`: the only objects that it is for.
    """

    scope: str
    resource: str
    verbs: tuple[str, ...]
    group: str = ""
    names: tuple[str, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """The rule as RBAC has it."""
        resources = self.resource.split(", ")
        rule = {"apiGroups": [self.group], "resources": resources, "verbs": [*self.verbs]}
        return {**rule, "resourceNames": [*self.names]} if self.names else rule


def _here(resource: str, *verbs: str, group: str = "") -> Rule:
    return Rule(scope="identities", resource=resource, verbs=verbs, group=group)


def _there(resource: str, *verbs: str, group: str) -> Rule:
    return Rule(scope="grants", resource=resource, verbs=verbs, group=group)


def _everywhere(resource: str, *verbs: str, group: str = "", names: tuple[str, ...] = ()) -> Rule:
    return Rule(scope="cluster", resource=resource, verbs=verbs, group=group, names=names)


ROLES = ("kubeflow-view", "kubeflow-edit")
MANAGE = ("get", "list", "create", "patch", "delete")

RULES = {
    "identity create": (
        _here("serviceaccounts", "get", "create", "patch"),
        _here("serviceaccounts/token", "create"),
        _here("secrets", "get", "list", "watch", "create", "patch"),
        _here("roles", "create", "patch", group=RBAC),
        _here("rolebindings", "create", "patch", group=RBAC),
        _everywhere("namespaces", "get", "list", "patch"),
    ),
    "identity list": (
        _here("serviceaccounts", "list"),
        _here("secrets", "list"),
        _here("roles", "list", group=RBAC),
        _everywhere("rolebindings", "list", group=RBAC),
        _everywhere("clusterroles", "list", group=RBAC),
        _everywhere("clusterrolebindings", "list", group=RBAC),
        _everywhere("authorizationpolicies", "list", group=ISTIO),
        _everywhere("namespaces", "list"),
    ),
    "identity authorize": (
        _here("serviceaccounts", "get"),
        _there("rolebindings", "list", "create", "patch", group=RBAC),
        _there("authorizationpolicies", "list", "create", "patch", group=ISTIO),
        _everywhere("namespaces", "get"),
        _everywhere("clusterroles", "get", "bind", group=RBAC, names=ROLES),
    ),
    "identity unauthorize": (
        _there("rolebindings", "list", "delete", group=RBAC),
        _there("authorizationpolicies", "list", "delete", group=ISTIO),
    ),
    "identity rotate": (
        _here("serviceaccounts", "get"),
        _here("secrets", "get", "list", "create", "patch", "delete"),
        _everywhere("namespaces", "list"),
    ),
    "identity revoke": (
        _here("serviceaccounts", "get"),
        _here("secrets", "list", "delete"),
        _everywhere("namespaces", "list"),
    ),
    "identity delete": (
        _here("serviceaccounts", "get", "list", "delete"),
        _here("secrets", "list", "delete"),
        _here("roles", "list", "delete", group=RBAC),
        _everywhere("rolebindings", "list", "delete", group=RBAC),
        _everywhere("authorizationpolicies", "list", "delete", group=ISTIO),
        _everywhere("namespaces", "list"),
    ),
    "policy apply": (
        _everywhere("validatingadmissionpolicies", "get", "create", "patch", group=ADMISSION),
        _everywhere("validatingadmissionpolicybindings", "create", "patch", group=ADMISSION),
        _everywhere("namespaces", "list"),
    ),
    "apply": (
        _everywhere("namespaces, configmaps, secrets, services, serviceaccounts", *MANAGE),
        _everywhere("deployments", *MANAGE, group="apps"),
        _everywhere("horizontalpodautoscalers", *MANAGE, group="autoscaling"),
        _everywhere("poddisruptionbudgets", *MANAGE, group="policy"),
        _everywhere("networkpolicies, ingresses", *MANAGE, group="networking.k8s.io"),
        _everywhere(
            "flowschemas, prioritylevelconfigurations",
            *MANAGE,
            group="flowcontrol.apiserver.k8s.io",
        ),
        _everywhere(
            "validatingadmissionpolicies, validatingadmissionpolicybindings",
            *MANAGE,
            group=ADMISSION,
        ),
        _everywhere(
            "roles, rolebindings, clusterroles, clusterrolebindings",
            *MANAGE,
            "escalate",
            "bind",
            group=RBAC,
        ),
        _everywhere(
            "gateways, virtualservices, destinationrules, envoyfilters",
            *MANAGE,
            group="networking.istio.io",
        ),
        _everywhere("authorizationpolicies", *MANAGE, group=ISTIO),
    ),
}
"""What each command needs to do all that it does, and to report nothing that is missing."""

NOTES = {
    "identity create": "Who creates the Role has to hold its rights: hence `create` on"
    " `serviceaccounts/token`, and `watch` on Secrets for the Role of a gate's watch. `patch` on"
    " Namespaces sets the label of the policy; without it, an administrator sets that.",
    "identity list": "Without the rules of the whole cluster it shows what is in the namespace, and"
    " warns about the rest. `daypass identity show` needs the same.",
    "identity authorize": "`bind` names the roles that may be granted.",
    "apply": "For a door and a gate on Istio, with a policy. It creates roles of the gate, hence"
    " `escalate` and `bind`. A user who has these can get every right, as an administrator. All"
    " missing rights are reported at once, before anything is changed.",
    "identity delete": "Grants are deleted in all namespaces; where that is not allowed, they stay"
    " and are reported.",
    "identity rotate": "`delete` on Secrets is for `--overlap 0`, and for tokens whose time is"
    " over. `list` on Namespaces finds the gate, which is then updated at once.",
}

WATCH = """\
## daypass gate watch

`daypass render` and `daypass apply` include these objects, and `daypass identity create` adds those
of a namespace of identities, `team` here. This is a gate on Istio with `check: both`."""

SERVE = """\
## daypass gate serve

`daypass render` and `daypass apply` include these objects."""


def page() -> str:
    """Return the page."""
    gate = Gate(audience="gate.example.com", check="both")
    config = Config.model_validate({"version": 1, "domains": {"kubeflow": _DOMAIN}})
    watch = [*watcher_rbac(config, gate), *namespace_rights("team", config.door.namespace)]
    return document(
        "RBAC",
        INTRO,
        *(part for command, rules in RULES.items() for part in _command(command, rules)),
        WATCH,
        _yaml(stream(watch)),
        SERVE,
        _yaml(stream(authorizer_rbac(config.door.namespace))),
    )


_DOMAIN = {"host": "kubeflow.example.com", "front": "istio", "tls": "outside"}


def _command(command: str, rules: tuple[Rule, ...]) -> Iterator[str]:
    yield f"## daypass {command}"
    if command in NOTES:
        yield NOTES[command]
    yield _yaml(stream(cluster_roles(command, rules)))


def cluster_roles(command: str, rules: tuple[Rule, ...]) -> list[dict[str, Any]]:
    """Return the ClusterRoles of a command, one for each scope."""
    name = f"daypass-{command.replace(' ', '-')}"
    names = {"identities": name, "grants": f"{name}-grants", "cluster": f"{name}-cluster"}
    return [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": names[scope]},
            "rules": [rule.content for rule in rules if rule.scope == scope],
        }
        for scope in names
        if any(rule.scope == scope for rule in rules)
    ]


def _yaml(text: str) -> str:
    return "```yaml\n" + text.removeprefix("---\n") + "```"
