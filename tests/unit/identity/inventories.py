"""The objects of one healthy identity as an API server would list them, to be spoilt by tests."""

from __future__ import annotations

from typing import Any

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.identity.accounts import IdentityName
from daypass.identity.grants import KUBEFLOW, role_grant
from daypass.identity.records import ClusterObjects
from support.lifecycle import identity_objects

BOT = IdentityName(namespace="team", name="bot")
SECRET = "bot-daypass-aaaaaaaaaaaaaaaaaaaa"
MADE = "2027-01-10T08:00:00Z"
"""Five days before the fake clock's noon."""


class ListedObjects:
    """Lists of objects, by the fields of `ClusterObjects`; a test changes what it likes."""

    def __init__(self) -> None:
        account, role, binding, secret = identity_objects(BOT, SECRET)
        self.account = stored(account)
        self.role = stored(role)
        self.own_binding = stored(binding)
        self.secret = stored(secret)
        self.secret["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"] = "2027-01-14"
        self.secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] = "uid-bot"
        self.account["metadata"]["uid"] = "uid-bot"
        self.binding, self.policy = grant(BOT, "alice", "kubeflow-view")
        self.namespace = stored({"kind": "Namespace", "metadata": {"name": "team"}})
        self.namespace["metadata"]["labels"] = {labels.POLICY: labels.POLICY_ENFORCED}
        self.lists: dict[str, Any] = {
            "accounts": [self.account],
            "roles": [self.role],
            "bindings": [self.own_binding, self.binding],
            "secrets": [self.secret],
            "policies": [self.policy],
            "namespaces": [self.namespace],
            "cluster_roles": [
                cluster_role("kubeflow-view", "get", "pods"),
                cluster_role("kubeflow-edit", "get", "secrets"),
            ],
            "cluster_bindings": [],
            "policy_bindings": [{"metadata": {"name": "daypass"}}],
        }

    def objects(self) -> ClusterObjects:
        return ClusterObjects(**self.lists)


def stored(document: Object) -> Object:
    """An object as it is once an API server has it."""
    metadata = document["metadata"]
    metadata |= {"uid": f"uid-{metadata['name']}", "creationTimestamp": MADE}
    return document


def grant(identity: IdentityName, namespace: str, role: str) -> tuple[Object, Object]:
    given = role_grant(identity=identity, namespace=namespace, cluster_role=role)
    binding, policy = given.objects(given.names[0], KUBEFLOW)
    return stored(binding), stored(policy)


def cluster_role(name: str, verb: str, resource: str) -> Object:
    rule = {"apiGroups": [""], "resources": [resource], "verbs": [verb]}
    return {"metadata": {"name": name}, "rules": [rule]}


def binding(
    name: str, namespace: str | None, role: str, *subjects: Object, kind: str = "ClusterRole"
) -> Object:
    """A binding that somebody else made; `namespace=None`: a ClusterRoleBinding."""
    place = {} if namespace is None else {"namespace": namespace}
    return {
        "metadata": {"name": name, **place},
        "roleRef": {"kind": kind, "name": role},
        "subjects": list(subjects),
    }
