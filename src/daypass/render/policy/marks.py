"""Names that the policy knows namespaces, requesters and tokens by."""

DOMAIN = "daypass.dev"

LABEL = f"{DOMAIN}/policy"
"""Label of a Namespace whose TokenRequests are held to the policy, with the value ENFORCED."""

ENFORCED = "enforced"

OVERRIDES = f"policy.{DOMAIN}/"
"""What the annotations of a Namespace begin with that say otherwise there than the config. One
that is not among those below is a mistake and refuses every token: it was meant to say something.
"""

LONGEST_LIFETIME = f"{OVERRIDES}longest-lifetime"
"""A duration as in the config, or seconds. Federated users never get more than their own row."""

AUDIENCES = f"{OVERRIDES}audiences"
"""Audiences, with one space between two: no audience in a config holds one."""

BINDING = f"{OVERRIDES}binding"
"""`required` or `optional`."""

SUCCESSORS = f"{OVERRIDES}successors"
"""`forbidden` or `allowed`."""

NAME = "daypass"
"""Of the ValidatingAdmissionPolicy and of its binding."""

FEDERATED = "federated:"
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
