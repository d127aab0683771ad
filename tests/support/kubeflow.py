"""As much of Kubeflow as grants meet: its ClusterRoles, aggregated as it does, and profiles.

The roles and their labels are those of `common/kubeflow-roles/base/cluster-roles.yaml` in
github.com/kubeflow/manifests (April 2026), with some of their rules. KServe's own, which add models
to them, come from KServe's module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from tools.gobuild import TOOLS, downloaded

from support.admin import Document
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deadline import eventually
from support.identities import RBAC
from support.objects import make

LABEL = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-"
RULES: Mapping[str, tuple[Document, ...]] = {
    "view": (
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["kubeflow.org"], "resources": ["notebooks"], "verbs": ["get", "list"]},
    ),
    "edit": (
        {"apiGroups": [""], "resources": ["secrets", "pods/exec"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["kubeflow.org"], "resources": ["notebooks"], "verbs": ["create"]},
    ),
    "pipelines-edit": (
        {"apiGroups": ["pipelines.kubeflow.org"], "resources": ["experiments", "runs"],
         "verbs": ["create", "get", "list"]},
        {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["*"]},
    ),
    "admin": (
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings", "roles"],
         "verbs": ["create", "patch"]},
    ),
}  # fmt: skip


_NEXT = {"view": "edit", "edit": "admin"}
"""The role that has all that a role has."""


def install_kubeflow(plane: ControlPlane) -> None:
    """The kubeflow-... ClusterRoles of RULES, filled by aggregation, and Istio's kinds."""
    install_istio(plane)
    for name, rules in RULES.items():
        selector = {"matchLabels": {f"{LABEL}{name}": "true"}}
        labels = {f"{LABEL}{_NEXT[name]}": "true"} if name in _NEXT else {}
        whole = {
            "metadata": {"labels": labels},
            "aggregationRule": {"clusterRoleSelectors": [selector]},
        }
        part = {"metadata": {"labels": {f"{LABEL}{name}": "true"}}, "rules": list(rules)}
        _apply(plane, f"kubeflow-{name}", whole)
        _apply(plane, f"kubeflow-kubernetes-{name}", part)
        eventually(
            f"kubeflow-{name} is aggregated",
            lambda name=name: plane.admin.get(f"{RBAC}/clusterroles/kubeflow-{name}").get("rules"),  # type: ignore[misc]
        )


def install_kserve_roles(plane: ControlPlane) -> None:
    """The rules about models in kubeflow-view, kubeflow-edit and kubeflow-admin, in force."""
    folder = Path(downloaded("github.com/kserve/kserve", TOOLS / "kservemanager")["Dir"])
    for role in yaml.safe_load_all(
        (folder / "config/overlays/kubeflow/cluster-role.yaml").read_text()
    ):
        plane.admin.apply(f"{RBAC}/clusterroles/{role['metadata']['name']}", role)

    def has_models(name: str) -> bool:
        rules = plane.admin.get(f"{RBAC}/clusterroles/kubeflow-{name}").get("rules") or ()
        return any("inferenceservices" in rule["resources"] for rule in rules)

    eventually("they have models", lambda: all(map(has_models, ("view", "edit", "admin"))))


def make_profile(plane: ControlPlane, name: str | None = None) -> str:
    """A namespace with the policy that a profile's owner has from the start; its name."""
    if name is None:
        namespace = plane.make_namespace("profile")
    else:
        namespace = name
        plane.admin.create("/api/v1/namespaces", make("v1", "Namespace", name))
    path = f"/apis/security.istio.io/v1/namespaces/{namespace}/authorizationpolicies"
    owner = {"key": "request.headers[kubeflow-userid]", "values": ["owner@example.com"]}
    spec = {"rules": [{"when": [owner]}]}
    policy = make("security.istio.io/v1", "AuthorizationPolicy", "ns-owner-access-istio", spec=spec)
    plane.admin.create(path, policy)
    return namespace


def _apply(plane: ControlPlane, name: str, document: Document) -> None:
    whole = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", **document}
    whole["metadata"] = {"name": name, **document.get("metadata", {})}
    plane.admin.apply(f"{RBAC}/clusterroles/{name}", whole)
