"""The objects that make up an identity, as plain dictionaries."""

import secrets
import string
from typing import Any

Object = dict[str, Any]

SUFFIX_LENGTH = 20
SUFFIX_ALPHABET = string.ascii_lowercase + string.digits
LABELS = {"app.kubernetes.io/managed-by": "daypass"}


def new_secret_name(service_account: str) -> str:
    """`<serviceaccount>-daypass-<20 random [a-z0-9]>`, a name that nobody can guess or reuse."""
    suffix = "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
    return f"{service_account}-daypass-{suffix}"


def identity_objects(namespace: str, name: str, secret_name: str) -> list[Object]:
    """ServiceAccount, Role and RoleBinding for its own TokenRequests, and the token Secret.

    In the order in which they are to be made: the Secret last, since a token is of use only once
    the rights are there. The Secret is never listed in `ServiceAccount.secrets`, where the API
    server's cleaner of unused tokens would find it.
    """
    role = f"{name}-daypass-token"
    rbac = "rbac.authorization.k8s.io"
    return [
        _object("v1", "ServiceAccount", namespace, name),
        {
            **_object(f"{rbac}/v1", "Role", namespace, role),
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
            **_object(f"{rbac}/v1", "RoleBinding", namespace, role),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
        token_secret(namespace, name, secret_name),
    ]


def token_secret(namespace: str, name: str, secret_name: str) -> Object:
    """A Secret that the cluster fills with a long-lived token of the ServiceAccount."""
    secret = _object("v1", "Secret", namespace, secret_name)
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": name}
    return {**secret, "type": "kubernetes.io/service-account-token"}


def _object(api_version: str, kind: str, namespace: str, name: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
