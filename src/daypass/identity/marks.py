"""Labels and annotations by which daypass knows its own objects again, and what they promise.

An object belongs to an identity by the annotation IDENTITY alone (a label's value is too short for
some names); the label MANAGED_BY makes all of them one cheap list.
"""

DOMAIN = "daypass.dev"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "daypass"
SELECTOR = f"{MANAGED_BY}={MANAGER}"

IDENTITY = f"{DOMAIN}/identity"
"""On every object of an identity: `NAMESPACE/NAME` of its ServiceAccount."""

POLICY = f"{DOMAIN}/policy"
"""Label of a Namespace whose TokenRequests are held to the policy, with the value POLICY_ON."""

POLICY_ON = "enforced"

DOOR = f"{DOMAIN}/door"
"""On the ServiceAccount: the URL of the door that its credentials name."""

AUDIENCE = f"{DOMAIN}/audience"
"""On the ServiceAccount: the audience that its credentials name."""

DEADLINE = f"{DOMAIN}/deadline"
"""On the ServiceAccount: RFC 3339, UTC; the identity is to end then."""

RETIRE_AFTER = f"{DOMAIN}/retire-after"
"""On a Secret that was rotated out: RFC 3339, UTC; it is to be deleted then."""
