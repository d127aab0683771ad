"""Identities and their health as table rows and as JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from daypass._core import labels
from daypass._core.clock import Clock
from daypass._core.findings import Finding, Level
from daypass.identity.credential_secrets import CredentialSecret
from daypass.identity.health import IdentityHealth
from daypass.identity.inventory import EVERYWHERE, BoundRole
from daypass.identity.model import age_seconds

_SHOWN_GRANTS = 2
_NOTHING = "-"
_UNKNOWN = "unknown"
"""The last use of an anchor: the API server notes none."""


def table_rows(
    identities: Sequence[IdentityHealth], clock: Clock, *, wide: bool = False
) -> list[dict[str, str]]:
    """Return a row per identity: its cells by their headings.

    `wide`: with the door, all grants, the time of the deadline, and findings as sentences.
    """
    return [_row(each, clock, wide=wide) for each in identities]


def _row(health: IdentityHealth, clock: Clock, *, wide: bool) -> dict[str, str]:
    record, annotations = health.record, health.record.annotations
    grants = [role.display for role in sorted(record.roles)]
    if not wide and len(grants) > _SHOWN_GRANTS:
        grants[_SHOWN_GRANTS - 1 :] = [f"and {len(grants) - _SHOWN_GRANTS + 1} more"]
    worst_first = sorted(health.findings, key=lambda finding: not is_problem(finding))
    findings = [finding.sentence if wide else finding.check for finding in worst_first]
    age = display_age(age_seconds(record.created, clock)) if record.created else _NOTHING
    is_unknown = any(secret.is_anchor for secret in health.live)
    deadline = annotations.get(labels.DEADLINE, _NOTHING)
    return {
        "NAMESPACE": record.name.namespace,
        "NAME": record.name.name,
        "GRANTS": ", ".join(grants) or _NOTHING,
        **({"DOOR": annotations.get(labels.DOOR, _NOTHING)} if wide else {}),
        "AGE": age,
        "LAST USED": health.last_used or (_UNKNOWN if is_unknown else _NOTHING),
        "DEADLINE": deadline if wide else deadline.partition("T")[0],
        "HEALTH": ("; " if wide else ", ").join(dict.fromkeys(findings)) or "ok",
    }


def is_problem(finding: Finding) -> bool:
    """Return whether a finding is a problem; else it is a note."""
    return finding.level is Level.FAILURE


def display_age(seconds: float) -> str:
    """Return an age roughly as kubectl shows it: 12s, 5m, 3h, 12d, 2y."""
    for unit, length, until in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(seconds, 0) // length:.0f}{unit}"
    days = seconds // 86_400
    return f"{days:.0f}d" if days < 730 else f"{days // 365:.0f}y"


class Named(TypedDict):
    namespace: Annotated[str, "the namespace of the identity"]
    name: Annotated[str, "the name of the identity, and of its ServiceAccount"]


class ReportedGrant(TypedDict):
    namespace: Annotated[str | None, "where it holds; null: in every namespace"]
    role: Annotated[str, "the name of the role"]
    kind: Annotated[str, "Role or ClusterRole"]
    binding: Annotated[str, "the name of the RoleBinding or ClusterRoleBinding"]
    daypass: Annotated[bool, "whether daypass created it"]
    authorizationPolicy: Annotated[bool | None, "whether it has its policy; null: it needs none"]


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


def json_document(health: IdentityHealth) -> IdentityData:
    """Return one identity for programs."""
    record, annotations = health.record, health.record.annotations
    return {
        "namespace": record.name.namespace,
        "name": record.name.name,
        "exists": record.account is not None,
        "federated": record.is_federated,
        "users": list(record.users or ()),
        "door": annotations.get(labels.DOOR),
        "audience": annotations.get(labels.AUDIENCE),
        "created": record.created or None,
        "deadline": annotations.get(labels.DEADLINE),
        "lastUsed": health.last_used,
        "grants": [_grant(role) for role in sorted(record.roles)],
        "tokens": [_token(secret, live=secret in health.live) for secret in record.secrets],
        "findings": [
            {"code": each.check, "problem": is_problem(each), "text": each.sentence}
            for each in health.findings
        ],
    }


def _grant(role: BoundRole) -> ReportedGrant:
    return {
        "namespace": None if role.namespace == EVERYWHERE else role.namespace,
        "role": role.role,
        "kind": role.role_kind,
        "binding": role.binding,
        "daypass": role.is_ours,
        "authorizationPolicy": role.has_policy,
    }


def _token(secret: CredentialSecret, *, live: bool) -> ReportedSecret:
    return {
        "secret": secret.name,
        "anchor": secret.is_anchor,
        "created": secret.created,
        "lastUsed": secret.last_used,
        "retireAfter": secret.retire_after,
        "daypass": secret.is_ours,
        "live": live,
    }
