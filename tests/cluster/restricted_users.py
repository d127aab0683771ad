"""Users with some rights and no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from support.admin import Document
from support.clusters import account_token, write_kubeconfig
from support.controlplane import ControlPlane
from support.identities import RBAC, unique, wait_until_allowed

GROUP = "rbac.authorization.k8s.io"


def kubeconfig_with(
    plane: ControlPlane, folder: Path, grants: Iterable[tuple[str, Sequence[Document]]]
) -> Path:
    """A kubeconfig of a new user with these rules, each in a namespace or, if it is "", in all."""
    admin, name = plane.admin, unique("user")
    admin.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}})
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
    for number, (namespace, rules) in enumerate(grants):
        own = {"metadata": {"name": f"{name}-{number}"}}
        reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": f"{name}-{number}"}
        admin.create(f"{RBAC}/clusterroles", {**own, "rules": list(rules)})
        where = f"/namespaces/{namespace}/rolebindings" if namespace else "/clusterrolebindings"
        admin.create(f"{RBAC}{where}", {**own, "roleRef": reference, "subjects": [subject]})
        for rule in [each for each in rules if "resources" in each][-1:]:
            resource, _, subresource = rule["resources"][0].partition("/")
            attributes = {
                "namespace": namespace, "verb": rule["verbs"][-1], "group": rule["apiGroups"][0],
                "resource": resource, "subresource": subresource,
                "name": rule.get("resourceNames", [""])[0],
            }  # fmt: skip
            wait_until_allowed(admin, f"system:serviceaccount:default:{name}", attributes)
    file = folder / f"{name}.kubeconfig"
    write_kubeconfig(plane, account_token(plane, "default", name), file)
    return file
