"""What commands print with `-o json` and `-o yaml`, as types.

The JSON Schema of all outputs is made from them. Commands import this module for type checkers
only. The text in `Annotated` describes a field for users.
"""

from typing import Annotated, Any, Literal, TypedDict

from daypass._core.findings import Finding
from daypass.cli.output import KubernetesList, TokenOutput
from daypass.config import Problem
from daypass.kube.cluster import DryRun
from daypass.rules.reasons import Reason

ObjectNames = Annotated[list[str], "the objects, as `resource/name in namespace`"]
Diff = Annotated[str, "what changes, as a unified diff"]


class Named(TypedDict):
    namespace: Annotated[str, "the namespace of the identity"]
    name: Annotated[str, "the name of the identity, and of its ServiceAccount"]


class CallableModel(TypedDict):
    resource: Annotated[
        Literal["inferenceservices", "llminferenceservices"], "the resource that it may get"
    ]
    name: Annotated[str | None, "the name of the model; null: every model"]


class ReportedGrant(TypedDict):
    namespace: Annotated[str | None, "where it holds; null: in every namespace"]
    role: Annotated[str, "the name of the role"]
    kind: Annotated[str, "Role or ClusterRole"]
    binding: Annotated[str, "the name of the RoleBinding or ClusterRoleBinding"]
    daypass: Annotated[bool, "whether daypass created it"]
    authorizationPolicy: Annotated[bool | None, "whether it has its policy; null: it needs none"]
    models: Annotated[
        list[CallableModel] | None,
        "the models that it lets the identity call; null: you may not see the role",
    ]


class ReportedSecret(TypedDict):
    secret: Annotated[str, "the name of its Secret"]
    anchor: Annotated[bool, "whether it is an anchor of a federated identity, without a token"]
    created: Annotated[str, "when it was created (RFC 3339)"]
    lastUsed: Annotated[
        str | None, "the date of its last use; null: never, or of an anchor: unknown"
    ]
    retireAfter: Annotated[
        str | None, "from when a replaced token may be deleted (RFC 3339); null: not replaced"
    ]
    daypass: Annotated[bool, "whether daypass created it"]
    live: Annotated[bool, "whether the API server accepts it"]


class IdentityProblem(TypedDict):
    code: Annotated[str, "its stable code"]
    problem: Annotated[bool, "whether it is a problem; false: a note"]
    text: Annotated[str, "the finding as a sentence"]


class IdentityData(Named):
    """One identity for programs."""

    exists: Annotated[bool, "whether its ServiceAccount exists"]
    federated: Annotated[bool, "whether it is for users with tokens of another issuer"]
    users: Annotated[list[str], "the users of another issuer that may request its tokens"]
    door: Annotated[str | None, "the URL of its door; null: not known"]
    audience: Annotated[str | None, "the audience of its tokens; null: not known"]
    created: Annotated[str | None, "when its ServiceAccount was created (RFC 3339)"]
    deadline: Annotated[str | None, "when it expires (RFC 3339); null: never"]
    lastUsed: Annotated[
        str | None, "the last date on which a token was used; null: never, or unknown"
    ]
    grants: Annotated[list[ReportedGrant], "its roles"]
    tokens: Annotated[list[ReportedSecret], "its long-lived tokens and anchors"]
    findings: Annotated[list[IdentityProblem], "its problems, and notes about it"]


class Identities(TypedDict):
    """The identities of a namespace, or of all. With --watch, one document after each change."""

    identities: Annotated[list[IdentityData], "the identities, by namespace and name"]


class MayBeDry(TypedDict):
    dryRun: Annotated[DryRun | None, "where changes were checked, and none made; null: no dry run"]


class Unauthorized(Named, MayBeDry):
    removed: ObjectNames


class Rotated(Named, MayBeDry):
    secret: Annotated[str, "the Secret of the new token"]
    door: Annotated[str, "the URL of the door in the credentials file"]
    credentials: Annotated[str, "the path of the credentials file that was written"]
    retired: Annotated[list[str], "the Secrets of earlier tokens that keep working for a while"]
    retireAfter: Annotated[str | None, "from when those may be deleted (RFC 3339); null: none"]
    deleted: Annotated[list[str], "the Secrets of earlier tokens that were deleted"]
    error: Annotated[None, "null: it was rotated"]


class RotationFailed(Named, MayBeDry):
    error: Annotated[str, "why it could not be rotated"]


class Revoked(Named, MayBeDry):
    deleted: Annotated[list[str], "the Secrets that were deleted"]
    left: Annotated[list[str], "Secrets with a token of it that daypass did not create"]
    unboundDenied: Annotated[
        bool | None, "whether the policy denies it tokens that no revocation ends; null: a dry run"
    ]


class Deleted(Named, MayBeDry):
    deleted: ObjectNames
    left: Annotated[list[str], "objects that stay, since daypass did not create them"]


class Reaped(MayBeDry):
    ended: Annotated[list[str], "the identities after their deadline, as NAMESPACE/NAME"]
    deleted: ObjectNames
    errors: Annotated[list[str], "what could not be revoked, and why"]


class Step(TypedDict):
    number: Annotated[int, "the number of the check, from 1"]
    found: Annotated[str, "what it found, as a sentence"]


class Explained(TypedDict):
    gate: Annotated[str, "the name of the gate"]
    allowed: Annotated[bool, "whether no check refuses the token"]
    reason: Annotated[Reason, "the code of the decision"]
    message: Annotated[str, "the decision as a sentence"]
    steps: Annotated[list[Step], "the checks that it passed, in order"]
    notChecked: Annotated[list[str], "what was not checked, and why"]
    user: Annotated[str | None, "the user that services would see; null: it is not known"]


class Denied(MayBeDry):
    namespace: Annotated[str, "the namespace of the ConfigMap"]
    configMap: Annotated[str, "the ConfigMap with the deny list"]
    key: Annotated[str, "the key of the entry: `jti.JTI` or `uid.UID`"]
    gates: Annotated[list[str], "the gates of the config, at all of which it holds"]
    until: Annotated[str | None, "when the denial expires (RFC 3339); null: it was removed"]


class PolicyApplied(MayBeDry):
    objects: Annotated[list[str], "the objects of the policy, as `resource/name`"]
    mode: Annotated[str, "deny, warn or audit"]
    seenIn: Annotated[str | None, "a namespace where it was seen to deny; null: none could show it"]


class _Object(TypedDict):
    group: Annotated[str, "the API group; empty: the core group"]
    kind: Annotated[str, "the kind"]
    namespace: Annotated[str, "the namespace; empty: the object belongs to none"]
    name: Annotated[str, "the name"]


class ChangedObject(_Object):
    action: Annotated[Literal["create", "change", "take over"], "take over: only the field owner"]
    diff: Diff


class RemovedObject(_Object):
    action: Annotated[Literal["remove", "release", "keep", "leave"], "what happens to it"]
    why: Annotated[str, "why it stays; empty if it is removed or released"]


class Removals(MayBeDry):
    objects: Annotated[list[RemovedObject], "the objects"]
    widens: Annotated[list[str], "what it opens"]
    identities: Annotated[
        list[str] | None, "those that stay, as NAMESPACE/NAME; null: you may not list them"
    ]


class Plan(TypedDict):
    objects: Annotated[list[ChangedObject | RemovedObject], "the objects that change"]
    unchanged: Annotated[int, "how many objects stay as they are"]
    widens: Annotated[list[str], "what it opens more than is open now"]
    findings: Annotated[
        list[Finding],
        "what works no longer after it, what is wrong in the cluster, and what you may not see",
    ]
    missing: Annotated[list[str], "what has to exist in addition, as `Kind namespace/name`"]


class Applied(Plan, MayBeDry):
    """What `daypass apply` is about to do, or in a dry run would do."""


class ChangedFile(TypedDict):
    path: Annotated[str, "its path in the folder"]
    diff: Diff


class FilesChecked(TypedDict):
    files: Annotated[list[ChangedFile], "the files that differ from the config"]
    uncommitted: Annotated[list[str], "the files that git does not have as they are"]


class Compared(FilesChecked, Plan):
    """What `daypass diff` finds: in the files, in git and in the cluster."""


class Initialized(MayBeDry):
    files: Annotated[list[ChangedFile], "the files that change"]
    commit: Annotated[str | None, "the short name of the commit; null: there is none"]
    applied: Annotated[list[str], "the folders of the overlays that were applied"]
    next: Annotated[list[str], "the commands to run next"]


class Verified(TypedDict):
    domains: Annotated[dict[str, list[Finding]], "the findings, by the name or URL of the domain"]


class Validated(TypedDict):
    valid: Annotated[bool, "whether there is no mistake in the config file"]
    problems: Annotated[list[Problem], "the first 20 mistakes, by line and column"]
    omitted: Annotated[int, "how many more mistakes there are"]


class Listening(TypedDict):
    doors: Annotated[list[str], "the URLs of the door, one for each host"]
    gates: Annotated[list[str], "the URLs of the gate; empty: there is none"]
    listen: Annotated[dict[str, str], "HOST:PORT of each, by `door`, `gate` and `metrics`"]
    certificateAuthority: Annotated[str, "the PEM file of the authority that signs certificates"]
    kubeconfig: Annotated[str | None, "an administrator's, with the embedded API server"]


OUTPUTS: dict[str, Any] = {
    "apply": Applied,
    "config validate": Validated,
    "diff": Compared,
    "gate deny": Denied,
    "gate explain": Explained,
    "identity authorize": KubernetesList,
    "identity create": KubernetesList,
    "identity delete": Deleted,
    "identity federate": dict[str, Any],
    "identity list": Identities,
    "identity reap": Reaped | KubernetesList,
    "identity revoke": Revoked,
    "identity rotate": Rotated | list[Rotated | RotationFailed],
    "identity show": IdentityData,
    "identity unauthorize": Unauthorized,
    "init": Initialized,
    "policy apply": PolicyApplied,
    "policy render": KubernetesList,
    "remove": Removals,
    "render": KubernetesList | FilesChecked | Compared,
    "token": TokenOutput,
    "up": Listening,
    "verify": Verified,
}
"""By command: of those whose modules have no `OUTPUT` yet."""
