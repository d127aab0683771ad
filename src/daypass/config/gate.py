"""The check in front of the APIs that short-lived tokens are for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    WrapSerializer,
    field_validator,
)

from daypass.config.base import Section, key_of
from daypass.config.errors import fault, shown
from daypass.config.types import (
    EVERY_HOST,
    Audience,
    Duration,
    GatewayName,
    GuardedHost,
    Header,
    Image,
    Label,
    LabelName,
    LabelValue,
    is_public_name,
    unique,
)

Engine: TypeAlias = Literal["istio", "envoy-gateway", "envoy"]
Check: TypeAlias = Literal["jwt", "review", "both"]
Others: TypeAlias = Literal["refuse", "login"]

_ENGINES_WITH: dict[str, tuple[str, ...]] = {
    "frontLabels": ("istio",),
    "gateway": ("envoy-gateway",),
    "image": ("istio", "envoy-gateway"),
}
_ISTIO: JsonValue = {"properties": {"engine": {"const": "istio"}}}


def _only_with(key: str, engines: tuple[str, ...]) -> JsonValue:
    # istio is the engine where none is named.
    named: list[JsonValue] = [] if "istio" in engines else ["engine"]
    known: JsonValue = {"properties": {"engine": {"enum": [*engines]}}, "required": named}
    return {"if": {"required": [key]}, "then": known}


_ENGINE_RULES: dict[str, JsonValue] = {
    "allOf": [
        *(_only_with(key, engines) for key, engines in _ENGINES_WITH.items()),
        {
            "if": {"properties": {"others": {"const": "login"}}, "required": ["others"]},
            "then": _ISTIO,
        },
        {
            "if": {
                "properties": {"hosts": {"contains": {"const": EVERY_HOST}}},
                "required": ["hosts"],
            },
            "then": _ISTIO,
        },
    ]
}


def _read_only(labels: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(labels))


def _write(labels: Mapping[str, str], handler: Any) -> Any:
    return handler(dict(labels))


class IdentityHeaders(Section):
    """How the gate tells the APIs behind it who the caller is."""

    user: Header = Field(default="kubeflow-userid", examples=["kubeflow-userid"])
    """Header for the user: system:serviceaccount:NAMESPACE:NAME."""

    groups: Header = Field(default="kubeflow-groups", examples=["kubeflow-groups"])
    """Header for the groups, joined by commas."""

    @field_validator("groups")
    @classmethod
    def _differ(cls, groups: str, info: ValidationInfo) -> str:
        if groups == info.data.get("user"):
            raise fault(f"{shown(groups)} is the header for the user", "name another")
        return groups


class Gate(Section):
    """Which requests pass the gate, and what it adds to them."""

    model_config = ConfigDict(json_schema_extra=dict(_ENGINE_RULES))

    audience: Audience = Field(examples=["istio-ingressgateway.istio-system.svc.cluster.local"])
    """The audience that a token must have been made for. Nothing else may take tokens of it."""

    engine: Engine = "istio"
    """What checks: istio, envoy-gateway, or envoy (one machine)."""

    check: Check = "jwt"
    """jwt: signature, issuer, audience and lifetime, in the proxy. review: ask the API server
    (TokenReview), and cache. both: one after the other."""

    require_bound: bool = True
    """Refuse tokens that hang on no Secret: they can't be revoked."""

    hosts: Annotated[tuple[GuardedHost, ...], AfterValidator(unique)] = Field(
        default_factory=tuple, min_length=1, max_length=100, examples=[["ekf.example.com"]]
    )
    """Hosts that the gate guards. istio: * is every host that the gateway serves, whatever a client
    calls it; others beside it are where `daypass verify` asks. Left out: the hosts of all domains.
    """

    headers: IdentityHeaders = Field(default_factory=IdentityHeaders)
    """Headers that the gate sets, and that it removes from what clients send."""

    forward_token: bool = False
    """Whether the APIs behind the gate get the token, too."""

    others: Others = "refuse"
    """istio: what happens to requests that carry no token of this cluster's. refuse: they are
    refused. login: they are left to the browser login on the same gateway (oauth2-proxy,
    AuthService), with whatever other token they carry."""

    remember_seconds: Annotated[
        int,
        Duration(
            lowest=1,
            highest=3600,
            why_lowest="an API server remembers its own answers for longer",
            why_highest="what the API server says of a token is to be asked again within an hour",
        ),
    ] = Field(default=60, examples=["60s"])
    """check review: for how long the API server's good word for a token counts, at most. A
    revocation that is seen by the watch ends it at once."""

    close_after_seconds: Annotated[
        int,
        Duration(
            lowest=10,
            highest=86_400,
            why_lowest="a watch is silent for longer in ordinary life",
            why_highest="whoever hears nothing for a day knows nothing",
        ),
    ] = Field(default=600, examples=["10m"])
    """How long nothing may be heard of what is revoked before every token is refused."""

    front_namespace: Label | None = Field(default=None, examples=["istio-system"])
    """Namespace of the gateway's pods. Left out: istio-system, or envoy-gateway-system."""

    front_labels: Annotated[
        Mapping[LabelName, LabelValue] | None,
        AfterValidator(_read_only),
        WrapSerializer(_write),
    ] = Field(default=None, min_length=1, max_length=10, examples=[{"istio": "ingressgateway"}])
    """istio: labels of the gateway's pods. Left out: istio: ingressgateway."""

    gateway: GatewayName | None = Field(default=None, examples=["envoy-gateway-system/public"])
    """envoy-gateway: the Gateway that is guarded, as NAMESPACE/NAME; for one listener of it, as
    NAMESPACE/NAME/LISTENER."""

    image: Image | None = Field(default=None, examples=["registry.example.com/daypass:0.1.0"])
    """In a cluster: the image that `daypass gate watch` and `daypass gate serve` run in, built from
    the Containerfile. The gate's parts of a cluster cannot be rendered without it."""

    replicas: int = Field(default=2, ge=1, le=1000)
    """In a cluster, check review: how many of `daypass gate serve` run."""

    @property
    def guards_every_host(self) -> bool:
        """Whether it guards what a client asks for by any name."""
        return EVERY_HOST in self.hosts

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The hosts that are named."""
        return tuple(host for host in self.hosts if host != EVERY_HOST)

    @field_validator("hosts")
    @classmethod
    def _the_engine_can_guard_them(
        cls, hosts: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        engine = info.data.get("engine")
        for index, host in enumerate(hosts):
            if engine in ("envoy", "envoy-gateway") and host == EVERY_HOST:
                raise fault(
                    f"the engine {engine} guards no host that has no name",
                    "it refuses what nobody has named: list the hosts",
                    at=(index,),
                )
            if engine in ("istio", "envoy-gateway") and not is_public_name(host):
                raise fault(
                    f"{shown(host)} is no public name, and the engine {engine} needs one",
                    "write the DNS name",
                    at=(index,),
                )
        return hosts

    @field_validator("others")
    @classmethod
    def _only_istio_has_a_login(cls, others: Others, info: ValidationInfo) -> Others:
        engine = info.data.get("engine", "istio")
        if others == "login" and engine != "istio":
            raise fault(f"the engine {engine} leaves nothing to a login", "write refuse")
        return others

    @field_validator("front_labels", "gateway", "image")
    @classmethod
    def _the_engine_knows_the_key(cls, value: Any, info: ValidationInfo) -> Any:
        engine, key = info.data.get("engine"), key_of(str(info.field_name))
        if value is not None and engine is not None and engine not in _ENGINES_WITH[key]:
            raise fault(
                f"the engine {engine} has none",
                f"leave it out: it is for {', '.join(_ENGINES_WITH[key])}",
            )
        return value
