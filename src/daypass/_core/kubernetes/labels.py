"""The labels, annotations and names by which daypass knows objects in a cluster.

An object is part of an identity if it has the label MANAGED_BY and the annotation IDENTITY. The
label makes one cheap list of all of them; its value is too short for some names.
"""

from collections.abc import Mapping
from typing import Any

DOMAIN = "daypass.dev"

# Labels of every object that daypass creates.
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "daypass"
SELECTOR = f"{MANAGED_BY}={MANAGER}"
APP_NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
OWNED = {MANAGED_BY: MANAGER, PART_OF: MANAGER}

# Annotations of an identity's objects. DOOR, AUDIENCE, LIFETIME and AUTHORITY are all of a
# credentials file but the token, so that a rotation needs no config.
IDENTITY = f"{DOMAIN}/identity"
"""On every object of an identity: `NAMESPACE/NAME` of its ServiceAccount."""

DOOR = f"{DOMAIN}/door"
"""On the ServiceAccount: the URL of the door."""

AUDIENCE = f"{DOMAIN}/audience"
"""On the ServiceAccount: the default audience."""

LIFETIME = f"{DOMAIN}/lifetime"
"""On the ServiceAccount: the default lifetime, in seconds."""

AUTHORITY = f"{DOMAIN}/certificate-authority"
"""On the ServiceAccount: PEM of the door's authority; absent for a public one."""

ADOPTED = f"{DOMAIN}/adopted"
"""On a ServiceAccount that daypass did not create, with the value `true`: `delete` keeps it."""

DEADLINE = f"{DOMAIN}/deadline"
"""On the ServiceAccount: until when gates accept its tokens (RFC 3339, UTC)."""

MODEL = f"{DOMAIN}/model"
"""On a grant to call models: the model's name, or `*` for every model of the namespace."""

REPLACES = f"{DOMAIN}/replaces"
"""On a Secret: the name of the one that it replaces. The rotation is unfinished while that is live.
"""

RETIRE_AFTER = f"{DOMAIN}/retire-after"
"""On a retired Secret: until when gates accept what is bound to it (RFC 3339, UTC)."""

SOURCE = f"{DOMAIN}/token-source"
"""On an anchor: where the client finds its own token, as `github:AUDIENCE`, `file:PATH` or
`variable:NAME`."""

SECRET_INFIX = "-daypass-"  # noqa: S105 - a part of names
ANCHOR_INFIX = f"{SECRET_INFIX}anchor-"
SECRET_SUFFIX = "[a-z0-9]{20}"  # noqa: S105
SECRET_SUFFIX_LENGTH = 20

ANCHOR_TYPE = f"{DOMAIN}/anchor"
"""The type of an anchor: an empty Secret that tokens of a federated identity are bound to."""

# Annotations of other objects.
RENEW_AFTER = f"{DOMAIN}/renew-after"
"""On a Secret with a certificate that `apply` made: when it makes a new one (RFC 3339, UTC)."""

EXPOSED = f"{DOMAIN}/exposed"
"""On the inventory: what was confirmed to be open, as JSON."""

CONFIG_HASH = f"{DOMAIN}/config-hash"
"""On Pods: a digest of the config that they have loaded, so that a change replaces them."""

TERM = f"{DOMAIN}/term"
"""On all that a watch publishes: the term of the leader that wrote it. An earlier one may not write
any more."""

PUBLISHED = f"{DOMAIN}/published"
"""Label, with the value `true`, of the ConfigMaps with what a gate knows."""

# Labels and annotations of namespaces. Only cluster administrators can set them.
GATE = f"{DOMAIN}/gate"
"""Label, with the value `true`, of the namespace where a gate keeps its state. No other user
can set it, and so forge what was published."""

HOLDS_INVENTORY = {f"{DOMAIN}/inventory": "true"}
"""Label, with the value `true`, of the namespace where the inventory of `apply` is."""

POLICY = f"{DOMAIN}/policy"
"""Label, with the value `enforced`, of a namespace in which the policy is enforced."""

POLICY_ENFORCED = "enforced"
POLICY_SELECTOR = f"{POLICY}={POLICY_ENFORCED}"

OVERRIDES = f"policy.{DOMAIN}/"
"""Prefix of the annotations that override the config in a namespace. One that is not listed below
is a mistake, and every token is refused: it was meant to change something."""

POLICY_LONGEST_LIFETIME = f"{OVERRIDES}longest-lifetime"
"""A duration as in the config, or seconds. It does not raise the limit of federated users."""

POLICY_AUDIENCES = f"{OVERRIDES}audiences"
"""Audiences, separated by one space: no audience in a config contains one."""

POLICY_BINDING = f"{OVERRIDES}binding"
"""`required` or `optional`."""

POLICY_SUCCESSORS = f"{OVERRIDES}successors"
"""`forbidden` or `allowed`."""

POLICY_NAME = "daypass"
"""The name of the ValidatingAdmissionPolicy and of its binding."""

# Users and groups.
FEDERATED_PREFIX = "federated:"
"""Prefix of the names of users whose tokens an issuer outside the cluster signs."""

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
"""In a requester's extra if it was authenticated by a short-lived token (or by a certificate)."""

CONTROL_PLANE = (
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
)
NODE, NODES = "system:node:", "system:nodes"
SERVICE_ACCOUNT = "system:serviceaccount:"
KUBE_SYSTEM = f"{SERVICE_ACCOUNT}kube-system:"


def is_managed(document: Mapping[str, Any]) -> bool:
    """Return whether an object has the label MANAGED_BY with daypass's value."""
    return bool(_labels(document).get(MANAGED_BY) == MANAGER)


def is_ours(document: Mapping[str, Any]) -> bool:
    """Return whether daypass made an object: whether it has all labels of OWNED."""
    return OWNED.items() <= _labels(document).items()


def has_policy_label(namespace: Mapping[str, Any]) -> bool:
    """Return whether the policy is enforced in a Namespace."""
    return bool(_labels(namespace).get(POLICY) == POLICY_ENFORCED)


def _labels(document: Mapping[str, Any]) -> dict[str, Any]:
    return document["metadata"].get("labels") or {}


def selector(labels: Mapping[str, str]) -> str:
    """Return the label selector that matches all of these labels."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
