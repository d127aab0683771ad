"""docs/reference/labels.md: the labels, annotations and names of what daypass creates."""

from __future__ import annotations

from tools.reference.markdown import code, documented, table

from daypass._core.kubernetes import labels
from daypass.deploy.cluster_state import INVENTORY
from daypass.identity.accounts import role_name
from daypass.render import names as rendered
from daypass.render.manifests import FLOW_CONTROL

OTHERS = {
    labels.POLICY_NAME: "ValidatingAdmissionPolicy and its binding.",
    FLOW_CONTROL: "FlowSchema and PriorityLevelConfiguration: the share of the API server that"
    " TokenRequests get.",
    INVENTORY: "ConfigMap: what `daypass apply` has applied, so that `daypass remove` removes"
    " exactly that.",
    "NAME": "ServiceAccount of an identity.",
    f"NAME{labels.SECRET_INFIX}SUFFIX": f"Secret with a long-lived token; SUFFIX is"
    f" {labels.SECRET_SUFFIX_LENGTH} random letters and digits.",
    f"NAME{labels.ANCHOR_INFIX}SUFFIX": "Secret without data: the anchor of a federated identity.",
    role_name("NAME"): "Role and RoleBinding: the identity may request its own tokens.",
    "NAME-daypass-federated": "RoleBinding: a user of another issuer may request them.",
}
"""Names that no module lists."""


def keys() -> str:
    """Return the table of labels and annotations."""
    meaning = documented(labels)
    found = {
        str(value): meaning[name]
        for name, value in vars(labels).items()
        if isinstance(value, str) and f"{labels.DOMAIN}/" in value and "=" not in value
    }
    (inventory_label,) = labels.HOLDS_INVENTORY
    found[inventory_label] = meaning["HOLDS_INVENTORY"]
    return table(("key", "meaning"), ((code(key), text) for key, text in found.items()))


def names() -> str:
    """Return the table of names."""
    values = {str(getattr(rendered, name)): text for name, text in documented(rendered).items()}
    found = {name: text for name, text in values.items() if name.startswith("daypass")} | OTHERS
    return table(("name", "object"), ((code(name), text) for name, text in found.items()))
