"""Names that the policy knows namespaces, requesters and tokens by.

Labels and annotations by which daypass knows its own objects again, and what they promise.

An object belongs to an identity by the annotation IDENTITY alone (a label's value is too short for
some names); the label MANAGED_BY makes all of them one cheap list.
"""

DOMAIN = "daypass.dev"

POLICY = f"{DOMAIN}/policy"
"""Label of a Namespace whose TokenRequests are held to the policy, with the value ENFORCED."""

POLICY_ENFORCED = "enforced"

OVERRIDES = f"policy.{DOMAIN}/"
"""What the annotations of a Namespace begin with that say otherwise there than the config. One
that is not among those below is a mistake and refuses every token: it was meant to say something.
"""

POLICY_LONGEST_LIFETIME = f"{OVERRIDES}longest-lifetime"
"""A duration as in the config, or seconds. Federated users never get more than their own row."""

POLICY_AUDIENCES = f"{OVERRIDES}audiences"
"""Audiences, with one space between two: no audience in a config holds one."""

POLICY_BINDING = f"{OVERRIDES}binding"
"""`required` or `optional`."""

POLICY_SUCCESSORS = f"{OVERRIDES}successors"
"""`forbidden` or `allowed`."""

POLICY_NAME = "daypass"
"""Of the ValidatingAdmissionPolicy and of its binding."""

FEDERATED_PREFIX = "federated:"
"""What the user names begin with of those whom an issuer outside the cluster vouches for."""

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
"""In a requester's extra where it came with a short-lived token (or with a certificate)."""

CONTROL_PLANE = (
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
)
NODE, NODES = "system:node:", "system:nodes"
SERVICE_ACCOUNT = "system:serviceaccount:"
KUBE_SYSTEM = f"{SERVICE_ACCOUNT}kube-system:"

SECRET_INFIX = "-daypass-"  # noqa: S105 - a part of names
SECRET_SUFFIX = "[a-z0-9]{20}"  # noqa: S105
SECRET_SUFFIX_LENGTH = 20


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
