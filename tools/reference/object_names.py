"""docs/reference/labels.md: the labels, annotations and names of what daypass creates."""

from __future__ import annotations

from tools.reference.markdown import code, document, documented, table

from daypass._core import labels
from daypass.deploy import inventory
from daypass.identity.model import role_name
from daypass.render import flow_control, objects

INTRO = """\
How to find in a cluster what daypass created, and what its labels and annotations mean. For
administrators and reviewers; [apply](../how-to/apply.md) and [identities](../how-to/identities.md)
say when each object is created."""

EVERYWHERE = f"""## On every object

| label | value |
| --- | --- |
| `{labels.MANAGED_BY}` | `{labels.MANAGER}` |
| `{labels.PART_OF}` | `{labels.MANAGER}`; not on an adopted ServiceAccount |
| `{labels.COMPONENT}` | what the object belongs to, such as `door`, `gate` or `identity` |

`kubectl get all,secrets,configmaps -A -l {labels.SELECTOR}` lists them.
daypass changes and deletes no object without its labels. The field manager is `daypass`."""

OTHERS = {
    labels.POLICY_NAME: "ValidatingAdmissionPolicy and its binding.",
    flow_control.NAME: "FlowSchema and PriorityLevelConfiguration: the share of the API server that"
    " TokenRequests get.",
    inventory.NAME: "ConfigMap: what `daypass apply` has applied, so that `daypass remove` removes"
    " exactly that.",
    "NAME": "ServiceAccount of an identity.",
    f"NAME{labels.SECRET_INFIX}SUFFIX": f"Secret with a long-lived token; SUFFIX is"
    f" {labels.SECRET_SUFFIX_LENGTH} random letters and digits.",
    role_name("NAME"): "Role and RoleBinding: the identity may request its own tokens.",
    "NAME-daypass-federated": "RoleBinding: a user of another issuer may request them.",
    "daypass-reap": "CronJob and what it needs, of `daypass identity reap --render`.",
}
"""Names that no module lists."""


def page() -> str:
    """Return the page."""
    meaning = documented(labels)
    keys = {
        str(value): meaning[name]
        for name, value in vars(labels).items()
        if isinstance(value, str) and f"{labels.DOMAIN}/" in value and "=" not in value
    }
    (inventory_label,) = labels.HOLDS_INVENTORY
    keys[inventory_label] = meaning["HOLDS_INVENTORY"]
    values = {str(getattr(objects, name)): text for name, text in documented(objects).items()}
    names = {name: text for name, text in values.items() if name.startswith("daypass")} | OTHERS
    return document(
        "Labels, annotations and names",
        INTRO,
        EVERYWHERE,
        "## Labels and annotations",
        table(("key", "meaning"), ((code(key), text) for key, text in keys.items())),
        "## Names of objects",
        table(("name", "object"), ((code(name), text) for name, text in names.items())),
    )
