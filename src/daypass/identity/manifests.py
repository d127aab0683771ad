"""The objects that make up an identity, as plain dictionaries."""

import secrets
import string
from collections.abc import Mapping
from typing import Any

from daypass.identity import marks

Object = dict[str, Any]

SUFFIX_LENGTH = 20
SUFFIX_ALPHABET = string.ascii_lowercase + string.digits
TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secrets
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
LABELS = {
    marks.MANAGED_BY: marks.MANAGER,
    "app.kubernetes.io/part-of": "daypass",
    "app.kubernetes.io/component": "identity",
}


def new_secret_name(service_account: str) -> str:
    """`<serviceaccount>-daypass-<20 random [a-z0-9]>`, a name that nobody can guess or reuse."""
    suffix = "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
    return f"{service_account}-daypass-{suffix}"


def role_name(service_account: str) -> str:
    """What the Role and the RoleBinding for an identity's own TokenRequests are called."""
    return f"{service_account}-daypass-token"


def identity_objects(
    namespace: str, name: str, secret_name: str, annotations: Mapping[str, str] | None = None
) -> list[Object]:
    """ServiceAccount, Role and RoleBinding for its own TokenRequests, and the token Secret.

    In the order in which they are to be made: the Secret last, since a token is of use only once
    the rights are there. The Secret is never listed in `ServiceAccount.secrets`, where the API
    server's cleaner of unused tokens would find it. `annotations`: further ones of the
    ServiceAccount. One that was adopted (marks.ADOPTED) keeps its own labels.
    """
    role = role_name(name)
    rbac = "rbac.authorization.k8s.io"
    account = _object("v1", "ServiceAccount", namespace, name, name)
    account["metadata"]["annotations"] |= annotations or {}
    if marks.ADOPTED in account["metadata"]["annotations"]:
        account["metadata"]["labels"] = {marks.MANAGED_BY: marks.MANAGER}
    return [
        account,
        {
            **_object(f"{rbac}/v1", "Role", namespace, role, name),
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["serviceaccounts/token"],
                    "resourceNames": [name],
                    "verbs": ["create"],
                }
            ],
        },
        {
            **_object(f"{rbac}/v1", "RoleBinding", namespace, role, name),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
        token_secret(namespace, name, secret_name),
    ]


def token_secret(
    namespace: str, name: str, secret_name: str, *, replaces: str | None = None
) -> Object:
    """A Secret that the cluster fills with a long-lived token of the ServiceAccount.

    `replaces`: the Secret that a rotation makes it for.
    """
    secret = _object("v1", "Secret", namespace, secret_name, name)
    secret["metadata"]["annotations"][ACCOUNT_ANNOTATION] = name
    if replaces is not None:
        secret["metadata"]["annotations"][marks.REPLACES] = replaces
    return {**secret, "type": TOKEN_TYPE}


def _object(api_version: str, kind: str, namespace: str, name: str, identity: str) -> Object:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": dict(LABELS),
        "annotations": {marks.IDENTITY: f"{namespace}/{identity}"},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
