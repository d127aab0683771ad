"""What commands print with `-o json` and `-o yaml`, as types.

The JSON Schema of all outputs is made from them. Commands import this module for type checkers
only. The text in `Annotated` describes a field for users.
"""

from typing import Annotated, Any, Literal, TypedDict

from daypass.cli.output import KubernetesList
from daypass.kube.cluster import DryRun

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


OUTPUTS: dict[str, Any] = {
    "identity authorize": KubernetesList,
    "identity create": KubernetesList,
    "identity federate": dict[str, Any],
    "identity list": Identities,
    "identity revoke": Revoked,
    "identity rotate": Rotated | list[Rotated | RotationFailed],
    "identity show": IdentityData,
    "identity unauthorize": Unauthorized,
}
"""By command: of those whose modules have no `OUTPUT` yet."""
