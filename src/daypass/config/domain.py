"""A public name of the door: what terminates it, and where its certificate comes from."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
)

from daypass.config.errors import expected, fault, shown, unknown_key
from daypass.config.locations import FilePath
from daypass.config.types import (
    GatewayName,
    Host,
    Label,
    Section,
    Subdomain,
    is_public_name,
    key_of,
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

WAYS: dict[str, type[Section]] = {"secret": TlsSecret, "issuer": TlsIssuer, "files": TlsFiles}
OUTSIDE: Outside = "outside"
_HINT = (
    "write {secret: NAME}, {issuer: NAME}, {files: {certificate: FILE, key: FILE}}"
    " or the word outside"
)


def _known_way(value: Any) -> Any:
    """Refuse anything but the four ways, with a better message than a union of types has."""
    if isinstance(value, Section) or value == OUTSIDE:
        return value
    if isinstance(value, str):
        raise fault(f"{shown(value)} is not a source of certificates", _HINT)
    if not isinstance(value, dict):
        raise expected("a mapping, or the word outside")
    ways = [key for key in value if key in WAYS]
    if len(ways) > 1:
        raise fault(f"both {ways[0]} and {ways[1]}", "use one of them")
    if not value:
        raise fault("an empty mapping", _HINT)
    if not ways:
        raise unknown_key(str(next(iter(value))))
    return value


def _way(value: Any) -> str:
    """Return the tag of a way, which pydantic's locations have after `tls`."""
    keys = (
        value
        if isinstance(value, dict)
        else type(value).model_fields
        if isinstance(value, Section)
        else ()
    )
    return next((f"<{way}>" for way in WAYS if way in keys), "<outside>")


Tls: TypeAlias = Annotated[
    Annotated[TlsSecret, Tag("<secret>")]
    | Annotated[TlsIssuer, Tag("<issuer>")]
    | Annotated[TlsFiles, Tag("<files>")]
    | Annotated[Outside, Tag("<outside>")],
    Discriminator(_way),
    BeforeValidator(_known_way),
]

Front: TypeAlias = Literal["ingress-nginx", "ingress", "istio", "gateway-api", "envoy"]
Dns: TypeAlias = Literal["external-dns", "none"]

EXAMPLE: dict[str, JsonValue] = {
    "host": "kubeflow.example.com",
    "front": "istio",
    "tls": {"secret": "kubeflow-tls"},
}
_FRONTS_WITH: dict[str, tuple[str, ...]] = {
    "className": ("ingress-nginx", "ingress", "gateway-api"),
    "gateway": ("istio", "gateway-api"),
    "frontNamespace": ("ingress-nginx", "ingress", "istio", "gateway-api"),
}


def _only_with(key: str, fronts: tuple[str, ...]) -> JsonValue:
    return {"if": {"required": [key]}, "then": {"properties": {"front": {"enum": [*fronts]}}}}


_ENVOY: JsonValue = {"properties": {"front": {"const": "envoy"}}, "required": ["front"]}
_ENVOY_RULES: dict[str, JsonValue] = {
    "allOf": [
        {
            "if": _ENVOY,
            "then": {
                "properties": {
                    "tls": {"type": "object", "required": ["files"]},
                    "dns": {"const": "none"},
                }
            },
            "else": {
                "properties": {
                    "tls": {"not": {"type": "object", "required": ["files"]}},
                    "host": {
                        "not": {"anyOf": [{"const": "localhost"}, {"pattern": ":|^[0-9.]+$"}]}
                    },
                },
                "required": ["tls"],
            },
        },
        {
            "if": {"properties": {"direct": {"const": True}}, "required": ["direct"]},
            "then": {"properties": {"front": {"const": "ingress-nginx"}}},
        },
        *(_only_with(key, fronts) for key, fronts in _FRONTS_WITH.items()),
        {
            "if": {"required": ["gateway"]},
            "then": {"properties": {"tls": {"const": "outside"}, "className": False}},
        },
    ]
}


class Domain(Section):
    """A public name of the door, the ingress or gateway that serves it, and its certificate."""

    model_config = ConfigDict(json_schema_extra=dict(_ENVOY_RULES))

    # `front` comes first: the other fields are checked against it, each at its own place.
    front: Front = Field(examples=["istio"])
    """The ingress or gateway that serves the name: ingress-nginx, ingress (any controller, plain
    Prefix), istio, gateway-api, or envoy (one machine)."""

    host: Host = Field(examples=["kubeflow.example.com"])
    """The DNS name, in lower case; an IP address or localhost only with `front: envoy`."""

    tls: Tls | None = Field(default=None, validate_default=True)
    """Where the certificate comes from: {secret: NAME}, {issuer: NAME}, {files: {certificate: FILE,
    key: FILE}} or the word outside. `front: envoy` needs files, or makes its own certificate if
    this is left out; all others accept the other three."""

    dns: Dns = "none"
    """What creates the DNS record: external-dns, or none (you do)."""

    direct: bool = False
    """ingress-nginx forwards to the API server without the door. It can't refuse all that the
    door refuses."""

    class_name: Subdomain | None = Field(default=None, examples=["nginx"])
    """IngressClass of the Ingress, or GatewayClass of the new Gateway. Default: nginx for
    ingress-nginx, the cluster's default for ingress; gateway-api needs it, or `gateway`."""

    gateway: GatewayName | None = Field(default=None, examples=["istio-system/ingress"])
    """istio and gateway-api: an existing Gateway, as NAMESPACE/NAME, or for gateway-api
    NAMESPACE/NAME/LISTENER (https). It has the certificate, so tls is outside. Default: a new
    Gateway for this host."""

    front_namespace: Label | None = Field(default=None, examples=["ingress-nginx"])
    """Namespace of the pods of the ingress or gateway; no others reach the door. Default:
    ingress-nginx and istio-system for these two, and any pod for the others."""

    @field_validator("host")
    @classmethod
    def _only_envoy_has_addresses(cls, host: str, info: ValidationInfo) -> str:
        front = info.data.get("front", "envoy")
        if front != "envoy" and not is_public_name(host):
            raise fault(
                f"{shown(host)} is not a public name, which front: {front} needs",
                "write the DNS name; only front: envoy (one machine) accepts addresses",
            )
        return host

    @field_validator("tls")
    @classmethod
    def _the_front_can_get_the_certificate(cls, tls: Tls | None, info: ValidationInfo) -> Any:
        front = info.data.get("front")
        if front == "envoy" and tls == OUTSIDE:
            raise fault(
                "front: envoy does not serve plain http, so its certificate cannot be outside",
                "name its files, or leave tls out: a local authority makes one",
            )
        if front == "envoy" and not isinstance(tls, TlsFiles | None):
            raise fault(
                "front: envoy runs on one machine, without Secrets and Issuers",
                "write {files: {certificate: FILE, key: FILE}}, or leave tls out:"
                " a local authority makes one",
            )
        if front not in (None, "envoy") and isinstance(tls, TlsFiles):
            raise fault(
                f"front: {front} runs in a cluster and does not read files",
                "put them into a Secret, and write {secret: NAME}",
            )
        if front not in (None, "envoy") and tls is None:
            raise fault(
                f"is missing, and front: {front} needs a certificate",
                "write tls: {secret: NAME}, tls: {issuer: NAME} or tls: outside",
            )
        return tls

    @field_validator("dns")
    @classmethod
    def _envoy_has_no_dns_controller(cls, dns: Dns, info: ValidationInfo) -> Dns:
        if dns != "none" and info.data.get("front") == "envoy":
            raise fault("external-dns does not support front: envoy", "write none")
        return dns

    @field_validator("direct")
    @classmethod
    def _only_nginx_goes_direct(cls, direct: bool, info: ValidationInfo) -> bool:
        front = info.data.get("front", "ingress-nginx")
        if direct and front != "ingress-nginx":
            raise fault(f"front: {front} always forwards to the door", "leave direct out")
        return direct

    @field_validator("class_name", "gateway", "front_namespace")
    @classmethod
    def _the_front_knows_the_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        front, key = info.data.get("front"), key_of(str(info.field_name))
        if value is not None and front is not None and front not in _FRONTS_WITH[key]:
            raise fault(
                f"front: {front} does not have it",
                f"leave it out (it is for {', '.join(_FRONTS_WITH[key])})",
            )
        return value

    @field_validator("gateway")
    @classmethod
    def _a_gateway_brings_its_certificate(
        cls, gateway: str | None, info: ValidationInfo
    ) -> str | None:
        if gateway is None:
            return gateway
        if info.data.get("tls", OUTSIDE) != OUTSIDE:
            raise fault(
                f"the Gateway {gateway} already has its certificate",
                "write tls: outside, or leave gateway out for a new one",
            )
        if info.data.get("class_name") is not None:
            raise fault(f"the Gateway {gateway} already has its class", "leave className out")
        if gateway.count("/") == 2 and info.data.get("front") == "istio":
            raise fault("a Gateway of Istio has no named listeners", "write NAMESPACE/NAME")
        return gateway
