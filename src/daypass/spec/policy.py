"""What short-lived tokens the API server may issue (a ValidatingAdmissionPolicy)."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from daypass.spec.names import Audience, User
from daypass.spec.quantities import Duration
from daypass.spec.section import Section
from daypass.spec.unique import unique

SHORTEST_LIFETIME_SECONDS = 600
LONGEST_LIFETIME_SECONDS = 2**32
DEFAULT_LONGEST_LIFETIME_SECONDS = 86_400
"""What holds where the config says nothing."""

Binding: TypeAlias = Literal["required", "optional"]
Successors: TypeAlias = Literal["forbidden", "allowed"]
Mode: TypeAlias = Literal["audit", "warn", "deny"]

Lifetime: TypeAlias = Annotated[
    int,
    Duration(
        lowest=SHORTEST_LIFETIME_SECONDS,
        highest=LONGEST_LIFETIME_SECONDS,
        why_lowest="the API server issues no shorter token",
        why_highest="the API server issues no longer token (2^32 seconds)",
    ),
]


class Federated(Section):
    """What counts for users whom an issuer outside the cluster vouches for: no Secret of theirs
    could be deleted, so that their tokens end by time alone."""

    longest_lifetime_seconds: Lifetime = Field(default=3600, examples=["1h"])
    """Longest lifetime that they may ask for; a namespace's shorter one counts for them, too."""


class Policy(Section):
    """The rules that TokenRequests are held to in the namespaces of identities."""

    longest_lifetime_seconds: Lifetime = Field(
        default=DEFAULT_LONGEST_LIFETIME_SECONDS, examples=["24h"]
    )
    """Longest lifetime that may be asked for, such as 24h, 1h30m, 90d, or seconds."""

    audiences: Annotated[tuple[Audience, ...], AfterValidator(unique)] = Field(
        min_length=1,
        max_length=100,
        examples=[["istio-ingressgateway.istio-system.svc.cluster.local"]],
    )
    """Audiences that may be asked for."""

    binding: Binding = "required"
    """required: a short-lived token hangs on the Secret of the long-lived one, and ends with it."""

    successors: Successors = "forbidden"
    """forbidden: a short-lived token can't mint another."""

    federated: Federated = Field(default_factory=Federated)
    """Users without a long-lived token, such as a CI job with its own OIDC token."""

    exempt: Annotated[tuple[User, ...], AfterValidator(unique)] = Field(
        default_factory=tuple,
        max_length=100,
        examples=[["system:serviceaccount:vault:vault"]],
    )
    """User names of further requesters that are not held to it."""

    mode: Mode = "deny"
    """What happens to a request that breaks a rule."""
