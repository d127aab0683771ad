"""A public name of the door: what serves it, and where its certificate comes from.

`front` selects one of the classes at the end. What a front allows follows from its fields.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from daypass.config.addresses import FilePath, Host, PublicName
from daypass.config.errors import EXPECTED, fault
from daypass.config.types import (
    Changed,
    GatewayName,
    GatewayOrListener,
    Harmless,
    Label,
    LabelName,
    LabelValue,
    Opens,
    Section,
    SelectedBy,
    Subdomain,
    tag,
)


class TlsSecret(Section):
    """An existing Secret of type kubernetes.io/tls, where the ingress or gateway looks for it."""

    secret: Subdomain = Field(examples=["kubeflow-tls"])
    """Name of the Secret."""


class TlsIssuer(Section):
    """cert-manager issues the certificate."""

    issuer: Subdomain = Field(examples=["letsencrypt"])
    """Name of the ClusterIssuer."""


class TlsFilePair(Section):
    """A certificate and its key, as PEM files."""

    certificate: FilePath = Field(examples=["kubeflow.crt"])
    """The chain, the server's own certificate first; relative to this file."""

    key: FilePath = Field(examples=["kubeflow.key"])
    """The private key; relative to this file."""


class TlsFiles(Section):
    """Files on this machine, for `front: envoy`."""

    files: TlsFilePair
    """The certificate and its key."""


Outside: TypeAlias = Literal["outside"]
"""The ingress or gateway already has a certificate, which daypass does not manage."""

OUTSIDE: Outside = "outside"
INSIDE = "inside"
"""Where TLS ends with any other source."""


def _tls_source(value: Any) -> str | None:
    """Return the tag of a source, which pydantic's locations have after `tls`."""
    if value == OUTSIDE:
        return tag(OUTSIDE)
    keys = type(value).model_fields if isinstance(value, Section) else value
    found = [each for each in ("secret", "issuer") if isinstance(keys, dict) and each in keys]
    return tag(found[0]) if len(found) == 1 else None


Tls: TypeAlias = Annotated[
    Annotated[TlsSecret, Tag(tag("secret"))]
    | Annotated[TlsIssuer, Tag(tag("issuer"))]
    | Annotated[Outside, Tag(tag(OUTSIDE))],
    Discriminator(
        _tls_source,
        custom_error_type=EXPECTED,
        custom_error_message="expected {what}",
        custom_error_context={"what": "{secret: NAME}, {issuer: NAME} or the word outside"},
    ),
]

Dns: TypeAlias = Literal["external-dns", "none"]

EXAMPLE: dict[str, JsonValue] = {
    "host": "kubeflow.example.com",
    "front": "istio",
    "tls": {"secret": "kubeflow-tls"},
}


# Config validates all kinds as one; none needs a validator of its own at each start.
class Domain(Section, defer_build=True):
    """A public name of the door, the ingress or gateway that serves it, and its certificate."""

    front: str
    """The ingress or gateway that serves the name; ingress is any controller, with a plain Prefix,
    and envoy is one machine."""

    host: Host = Field(examples=["kubeflow.example.com"])
    """The DNS name, in lower case; an IP address or localhost only with `front: envoy`."""

    tls: TlsSecret | TlsIssuer | Outside | TlsFiles | None
    """Where the certificate comes from."""


class ClusterDomain(Domain):
    """A domain that an ingress or gateway of a cluster serves."""

    host: Harmless[PublicName] = Field(examples=["kubeflow.example.com"])

    tls: Annotated[Tls, Opens("laxer", (INSIDE, OUTSIDE))] = Field(
        examples=[{"secret": "kubeflow-tls"}, {"issuer": "letsencrypt"}, OUTSIDE]
    )
    """Where the certificate comes from: {secret: NAME}, {issuer: NAME} or the word outside."""

    dns: Harmless[Dns] = "none"
    """What creates the DNS record: external-dns, or none (you do)."""

    front_namespace: Changed[Label | None] = None
    """Namespace of the pods of the ingress or gateway; no others reach the door. Default:
    ingress-nginx and istio-system for these two, and any pod for the others."""

    @property
    def ends_tls(self) -> bool:
        """Whether TLS ends at the ingress or gateway, so that it knows what used plain http."""
        return self.tls != OUTSIDE


class ClassDomain(ClusterDomain):
    """A domain whose ingress or gateway has a class."""

    class_name: Changed[Subdomain | None] = None
    """IngressClass, or GatewayClass of the new Gateway. Default: nginx for
    ingress-nginx, the cluster's default for ingress; gateway-api needs it, or `gateway`."""


class IngressNginxDomain(ClassDomain):
    """A domain that ingress-nginx serves."""

    front: Changed[Literal["ingress-nginx"]]


class IngressDomain(ClassDomain):
    """A domain that any other ingress controller serves."""

    front: Changed[Literal["ingress"]]


class GatewayDomain(ClusterDomain):
    """A domain that a new Gateway serves, or an existing one."""

    gateway: Changed[GatewayOrListener | None] = None
    """An existing Gateway, or with gateway-api its https listener. It has the certificate, so tls
    is outside. Default: a new one for this host."""

    @property
    def ends_tls(self) -> bool:
        """Whether TLS ends at the gateway: at an existing Gateway it does."""
        return self.tls != OUTSIDE or self.gateway is not None

    @model_validator(mode="after")
    def _a_gateway_has_its_certificate(self) -> Self:
        if self.gateway is not None and self.tls != OUTSIDE:
            raise fault(
                f"the Gateway {self.gateway} already has its certificate",
                "write tls: outside, or leave gateway out for a new one",
                at=("gateway",),
            )
        return self


GATEWAY_LABELS = {"istio": "ingressgateway"}
"""The labels of the pods of Istio's ingress gateway, and of their Service."""


class IstioDomain(GatewayDomain):
    """A domain that Istio's gateway serves."""

    front: Changed[Literal["istio"]]

    gateway: Changed[GatewayName | None] = None
    front_labels: Changed[Mapping[LabelName, LabelValue]] = Field(
        default=GATEWAY_LABELS, min_length=1
    )
    """Labels of the pods of the gateway that gets a new Gateway."""


class GatewayApiDomain(GatewayDomain, ClassDomain):
    """A domain that an implementation of the Gateway API serves."""

    front: Changed[Literal["gateway-api"]]

    @model_validator(mode="after")
    def _a_gateway_has_its_class(self) -> Self:
        if self.gateway is not None and self.class_name is not None:
            raise fault(
                f"the Gateway {self.gateway} already has its class",
                "leave className out",
                at=("gateway",),
            )
        return self


class EnvoyDomain(Domain):
    """A domain that Envoy on one machine serves."""

    front: Changed[Literal["envoy"]]

    tls: TlsFiles | None = None
    """Files of the certificate: {files: {certificate: FILE, key: FILE}}. Default: a local authority
    makes one."""


AnyDomain: TypeAlias = Annotated[
    IngressNginxDomain | IngressDomain | IstioDomain | GatewayApiDomain | EnvoyDomain,
    SelectedBy(key="front"),
]
