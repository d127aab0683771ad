"""A public name under which the door is published, and what terminates it."""

from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from daypass.spec.faults import fault
from daypass.spec.hosts import Host, is_address
from daypass.spec.section import Section
from daypass.spec.tls import OUTSIDE, Tls, TlsFiles
from daypass.spec.wording import shown

Front: TypeAlias = Literal["ingress-nginx", "ingress", "istio", "gateway-api", "envoy"]
Dns: TypeAlias = Literal["external-dns", "none"]

EXAMPLE: dict[str, JsonValue] = {
    "host": "ekf.example.com",
    "front": "istio",
    "tls": {"secret": "ekf-tls"},
}
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
    ]
}


class Domain(Section):
    """A public name, its front, its certificate."""

    model_config = ConfigDict(json_schema_extra=dict(_ENVOY_RULES))

    # `front` comes first: the other fields are checked against it, each at its own place.
    front: Front = Field(examples=["istio"])
    """What terminates the name: ingress-nginx, ingress (any controller, plain Prefix), istio,
    gateway-api, or envoy (one machine)."""

    host: Host = Field(examples=["ekf.example.com"])
    """The DNS name, in lower case; an IP address or localhost only with the front envoy."""

    tls: Tls | None = Field(default=None, validate_default=True)
    """Where the certificate comes from: {secret: NAME}, {issuer: NAME}, {files: {certificate: FILE,
    key: FILE}} or the word outside. The front envoy takes files, or makes a certificate of its own
    where this is left out; the other fronts take anything else."""

    dns: Dns = "none"
    """Who makes the DNS record: external-dns, or none (you)."""

    direct: bool = False
    """ingress-nginx straight to the API server, with no door in between: it can't refuse all that
    the door refuses."""

    @field_validator("host")
    @classmethod
    def _only_envoy_has_addresses(cls, host: str, info: ValidationInfo) -> str:
        front = info.data.get("front", "envoy")
        if front != "envoy" and is_address(host):
            raise fault(
                f"{shown(host)} is no public name, and the front {front} needs one",
                "write the DNS name; front: envoy takes addresses, for one machine",
            )
        return host

    @field_validator("tls")
    @classmethod
    def _the_front_can_get_the_certificate(cls, tls: Tls | None, info: ValidationInfo) -> Any:
        front = info.data.get("front")
        if front == "envoy" and tls == OUTSIDE:
            raise fault(
                "the front envoy serves no plain http, so its certificate can't be outside",
                "name its files, or leave tls out: a local authority makes one",
            )
        if front == "envoy" and not isinstance(tls, TlsFiles | None):
            raise fault(
                "the front envoy runs on one machine, where no Secret or Issuer is",
                "write {files: {certificate: FILE, key: FILE}}, or leave tls out:"
                " a local authority makes one",
            )
        if front not in (None, "envoy") and isinstance(tls, TlsFiles):
            raise fault(
                f"the front {front} runs in a cluster and reads no files",
                "put them into a Secret and write {secret: NAME}",
            )
        if front not in (None, "envoy") and tls is None:
            raise fault(
                f"missing, and the front {front} needs a certificate",
                "write tls: {secret: NAME}, tls: {issuer: NAME} or tls: outside",
            )
        return tls

    @field_validator("dns")
    @classmethod
    def _envoy_has_no_dns_controller(cls, dns: Dns, info: ValidationInfo) -> Dns:
        if dns != "none" and info.data.get("front") == "envoy":
            raise fault("external-dns does not see the front envoy", "write none")
        return dns

    @field_validator("direct")
    @classmethod
    def _only_nginx_goes_direct(cls, direct: bool, info: ValidationInfo) -> bool:
        front = info.data.get("front", "ingress-nginx")
        if direct and front != "ingress-nginx":
            raise fault(
                f"the front {front} always goes through the door", "leave direct out, or false"
            )
        return direct
