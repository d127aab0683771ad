"""Labels and annotations by which daypass knows its own objects again, and what they promise.

An object belongs to an identity by the annotation IDENTITY alone (a label's value is too short for
some names); the label MANAGED_BY makes all of them one cheap list.
"""

from daypass.render.policy.marks import ENFORCED as POLICY_ON
from daypass.render.policy.marks import LABEL as POLICY

__all__ = [
    "ADOPTED", "AUDIENCE", "AUTHORITY", "DEADLINE", "DOMAIN", "DOOR", "IDENTITY", "LIFETIME",
    "MANAGED_BY", "MANAGER", "POLICY", "POLICY_ON", "RETIRE_AFTER", "SELECTOR",
]  # fmt: skip

DOMAIN = "daypass.dev"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "daypass"
SELECTOR = f"{MANAGED_BY}={MANAGER}"

IDENTITY = f"{DOMAIN}/identity"
"""On every object of an identity: `NAMESPACE/NAME` of its ServiceAccount."""

DOOR = f"{DOMAIN}/door"
"""On the ServiceAccount: the URL of the door that its credentials name."""

AUDIENCE = f"{DOMAIN}/audience"
"""On the ServiceAccount: the audience that its credentials name."""

LIFETIME = f"{DOMAIN}/lifetime"
"""On the ServiceAccount: the lifetime that its credentials name, in seconds."""

AUTHORITY = f"{DOMAIN}/certificate-authority"
"""On the ServiceAccount: PEM of whom its credentials trust at the door; left out: the public
authorities of each machine. With DOOR, AUDIENCE and LIFETIME all of a credentials file but the
token, so that a rotation needs no config."""

ADOPTED = f"{DOMAIN}/adopted"
"""On a ServiceAccount that somebody else made, with the value `true`: it outlives the identity."""

DEADLINE = f"{DOMAIN}/deadline"
"""On the ServiceAccount: RFC 3339, UTC; the identity is to end then."""

REPLACES = f"{DOMAIN}/replaces"
"""On a Secret: the name of the one that a rotation made it for. While that one is live, the
rotation is not finished."""

RETIRE_AFTER = f"{DOMAIN}/retire-after"
"""On a Secret that was rotated out: RFC 3339, UTC; it is to be deleted then."""
