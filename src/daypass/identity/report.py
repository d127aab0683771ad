"""An inventory as people read it, and as programs do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daypass._core import labels
from daypass._core.clock import Clock
from daypass.identity.health import Examined
from daypass.identity.inventory import EVERYWHERE, Right, TokenUsage
from daypass.identity.model import age_seconds

HEADINGS = ("NAMESPACE", "NAME", "GRANTS", "DOOR", "AGE", "LAST USED", "DEADLINE", "HEALTH")
SHOWN_GRANTS = 3
NOTHING = "-"


def rows(examined: Sequence[Examined], clock: Clock, *, wide: bool = False) -> list[list[str]]:
    """A row an identity, as HEADINGS has it; `wide`: all grants, and health in whole sentences."""
    return [_row(each, clock, wide=wide) for each in examined]


def _row(each: Examined, clock: Clock, *, wide: bool) -> list[str]:
    entry = each.entry
    annotations = entry.account.annotations if entry.account else {}
    grants = [right.shown for right in sorted(entry.rights)]
    if not wide and len(grants) > SHOWN_GRANTS:
        grants[SHOWN_GRANTS - 1 :] = [f"and {len(grants) - SHOWN_GRANTS + 1} more"]
    worst_first = sorted(each.findings, key=lambda finding: not finding.is_problem)
    health = [finding.text if wide else finding.code for finding in worst_first]
    return [
        entry.name.namespace,
        entry.name.name,
        ", ".join(grants) or NOTHING,
        annotations.get(labels.DOOR, NOTHING),
        age(age_seconds(entry.created, clock)) if entry.created else NOTHING,
        each.last_used or NOTHING,
        annotations.get(labels.DEADLINE, NOTHING),
        ("; " if wide else ", ").join(dict.fromkeys(health)) or "ok",
    ]


def age(seconds: float) -> str:
    """As kubectl writes it, roughly: 12s, 5m, 3h, 12d, 2y."""
    for unit, length, until in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(seconds, 0) // length:.0f}{unit}"
    days = seconds // 86_400
    return f"{days:.0f}d" if days < 730 else f"{days // 365:.0f}y"


def document(each: Examined) -> dict[str, Any]:
    """One identity for a program; times are RFC 3339, `lastUsed` is a date."""
    entry = each.entry
    annotations = entry.account.annotations if entry.account else {}
    return {
        "namespace": entry.name.namespace,
        "name": entry.name.name,
        "exists": entry.account is not None,
        "federated": entry.is_federated,
        "door": annotations.get(labels.DOOR),
        "audience": annotations.get(labels.AUDIENCE),
        "created": entry.created or None,
        "deadline": annotations.get(labels.DEADLINE),
        "lastUsed": each.last_used,
        "grants": [_grant(right) for right in sorted(entry.rights)],
        "tokens": [_token_document(token, live=token in each.live) for token in entry.tokens],
        "findings": [
            {"code": each.code, "problem": each.is_problem, "text": each.text}
            for each in each.findings
        ],
    }


def _grant(right: Right) -> dict[str, Any]:
    return {
        "namespace": None if right.namespace == EVERYWHERE else right.namespace,
        "role": right.role,
        "kind": right.role_kind,
        "binding": right.binding,
        "daypass": right.is_ours,
        "authorizationPolicy": right.has_policy,
    }


def _token_document(token: TokenUsage, *, live: bool) -> dict[str, Any]:
    return {
        "secret": token.secret.name,
        "created": token.secret.created,
        "lastUsed": token.last_used,
        "retireAfter": token.secret.retire_after,
        "daypass": token.secret.is_ours,
        "live": live,
    }
