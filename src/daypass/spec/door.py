"""The door's Deployment, and how much of everything it lets through."""

from typing import Annotated

from pydantic import Field

from daypass.spec.names import Label, Subdomain
from daypass.spec.quantities import Size
from daypass.spec.section import Section


class Door(Section):
    """The Deployment that publishes the TokenRequest API."""

    namespace: Label = Field(default="daypass", examples=["daypass"])
    """Namespace of the door's objects."""

    replicas: int = Field(default=2, ge=1, le=1000)
    """How many of it run."""

    trusted_hops: int = Field(default=1, ge=0, le=10)
    """How many proxies before the door append to X-Forwarded-For, the front included. Too many, and
    a client can pretend to come from anywhere."""

    certificate_issuer: Subdomain | None = Field(default=None, examples=["internal-authority"])
    """ClusterIssuer of cert-manager that gives the door the certificate it shows to the fronts, and
    has an authority of its own (not ACME). Left out: `daypass apply` makes one and renews it."""


class Limits(Section):
    """What one replica of the door lets through."""

    requests_per_second: int = Field(default=200, ge=1, le=100_000)
    """Of all clients together."""

    per_source_per_second: int = Field(default=10, ge=1, le=100_000)
    """Of one client address."""

    request_body_bytes: Annotated[
        int,
        Size(lowest=1024, highest=65536, why="a TokenRequest takes a few hundred bytes"),
    ] = Field(default=8192, examples=["8Ki"])
    """Largest body of a request, such as 8Ki, or bytes."""
