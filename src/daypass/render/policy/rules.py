"""The policy's rules in Python: which of them a TokenRequest breaks, as the API server decides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from daypass._core import labels
from daypass._core.duration import parse_seconds
from daypass.config.models import Policy
from daypass.render.policy.policy_objects import (
    AUDIENCES,
    BINDINGS,
    LIFETIME,
    MOST_AUDIENCES,
    SUCCESSORS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """The user of a TokenRequest. `groups`: those that Kubernetes adds may be left out."""

    user: str
    groups: tuple[str, ...] = ()
    has_credential_id: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundObject:
    """`spec.boundObjectRef`, without the UID, which no rule reads."""

    api_version: str = "v1"
    kind: str = "Secret"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequestAttributes:
    """A TokenRequest for `service_account`, with the API server's defaults filled in."""

    requester: Requester
    service_account: str
    lifetime_seconds: int
    audiences: tuple[str, ...]
    bound: BoundObject | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the Namespace."""


def is_exempt(policy: Policy, requester: Requester) -> bool:
    """Return whether the policy does not apply to a requester."""
    user = requester.user
    return (
        (user.startswith(labels.NODE) and labels.NODES in requester.groups)
        or user in labels.CONTROL_PLANE
        or user.startswith(labels.KUBE_SYSTEM)
        or user in policy.exempt
    )


def broken_rules(policy: Policy, request: TokenRequestAttributes) -> list[str]:
    """Return the rules that a request breaks, in the policy's order; none if it is exempt.

    They are `overrides`, `lifetime`, `audiences`, `binding` and `successors`.
    """
    requester = request.requester
    if is_exempt(policy, requester):
        return []
    annotations = request.annotations
    federated = requester.user.startswith(labels.FEDERATED_PREFIX)
    longest = annotations.get(labels.POLICY_LONGEST_LIFETIME, str(policy.longest_lifetime_seconds))
    audiences = annotations.get(labels.POLICY_AUDIENCES, " ".join(policy.audiences)).split(" ")
    broken = {
        "overrides": bool(mistakes(annotations)),
        "lifetime": request.lifetime_seconds > _seconds(policy, longest, annotations, federated),
        "audiences": len(request.audiences) > MOST_AUDIENCES
        or not set(request.audiences) <= set(audiences),
        "binding": annotations.get(labels.POLICY_BINDING, policy.binding) == "required"
        and not federated
        and not _is_bound_to_own_secret(request),
        "successors": annotations.get(labels.POLICY_SUCCESSORS, policy.successors) == "forbidden"
        and requester.user.startswith(labels.SERVICE_ACCOUNT)
        and requester.has_credential_id,
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def mistakes(annotations: Mapping[str, str]) -> list[str]:
    """Return the malformed annotations of a Namespace; with any, no token is issued."""
    return [
        key
        for key, text in annotations.items()
        if key.startswith(labels.OVERRIDES) and not _is_sound(key, text)
    ]


def _is_sound(key: str, text: str) -> bool:
    match key:
        case labels.POLICY_LONGEST_LIFETIME:
            return text != "" and re.fullmatch(LIFETIME, text) is not None
        case labels.POLICY_AUDIENCES:
            return re.fullmatch(AUDIENCES, text) is not None
        case labels.POLICY_BINDING:
            return text in BINDINGS
        case labels.POLICY_SUCCESSORS:
            return text in SUCCESSORS
    return False


def _seconds(policy: Policy, text: str, annotations: Mapping[str, str], federated: bool) -> int:
    if mistakes(annotations):
        return 0
    seconds = parse_seconds(text)
    return min(seconds, policy.federated.longest_lifetime_seconds) if federated else seconds


def _is_bound_to_own_secret(request: TokenRequestAttributes) -> bool:
    bound = request.bound
    if bound is None or (bound.api_version, bound.kind) != ("v1", "Secret"):
        return False
    name = re.escape(request.service_account + labels.SECRET_INFIX) + labels.SECRET_SUFFIX
    return re.fullmatch(name, bound.name) is not None
