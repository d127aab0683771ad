"""The check in front of the APIs that short-lived tokens are for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from daypass.config.errors import fault, shown
from daypass.config.pods import PodSettings
from daypass.config.types import (
    AS_DICT,
    READ_ONLY,
    Audience,
    Duration,
    GatewayName,
    GuardedHost,
    Header,
    Image,
    Label,
    LabelName,
    LabelValue,
    Section,
    is_public_name,
    key_of,
    unique,
)
from daypass.rules.decision import EVERY_HOST

Engine: TypeAlias = Literal["istio", "envoy-gateway", "envoy"]
Check: TypeAlias = Literal["jwt", "review"]
Others: TypeAlias = Literal["refuse", "login"]

_ENGINES_WITH: dict[str, tuple[str, ...]] = {
    "frontLabels": ("istio",),
    "gateway": ("envoy-gateway",),
    **{
        key: ("istio", "envoy-gateway") for key in ("image", *map(key_of, PodSettings.model_fields))
    },
}
_ISTIO: JsonValue = {"properties": {"engine": {"const": "istio"}}}


def _only_with(key: str, engines: tuple[str, ...]) -> JsonValue:
    # istio is the default engine.
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


class IdentityHeaders(Section):
    """The headers in which the gate passes the caller's identity to the APIs."""

    user: Header = Field(default="kubeflow-userid", examples=["kubeflow-userid"])
    """Header for the user: system:serviceaccount:NAMESPACE:NAME."""

    groups: Header = Field(default="kubeflow-groups", examples=["kubeflow-groups"])
    """Header for the groups, joined by commas."""

    @field_validator("groups")
    @classmethod
    def _differ(cls, groups: str, info: ValidationInfo) -> str:
        if groups == info.data.get("user"):
            raise fault(f"{shown(groups)} is already the header for the user", "use another name")
        return groups


class _Gate(Section):
    audience: Audience = Field(examples=["istio-ingressgateway.istio-system.svc.cluster.local"])
    """The audience that a token must have. No other service may accept tokens with it."""

    engine: Engine = "istio"
    """The proxy that checks: istio, envoy-gateway, or envoy (one machine)."""

    check: Check = "jwt"
    """jwt: signature, claims, and whether the credential exists, in the proxy. review: the same,
    then a TokenReview of the API server, cached."""

    require_bound: bool = True
    """Refuse tokens that are not bound to a Secret: they can't be revoked."""

    hosts: Annotated[tuple[GuardedHost, ...], AfterValidator(unique)] = Field(
        default_factory=tuple, min_length=1, max_length=100, examples=[["kubeflow.example.com"]]
    )
    """Hosts that the gate guards. istio: * is every host of the gateway, by any name; other hosts
    are those that `daypass verify` checks. Default: the hosts of all domains."""

    headers: IdentityHeaders = Field(default_factory=IdentityHeaders)
    """Headers that the gate sets, and that it removes from what clients send."""

    forward_token: bool = False
    """Whether the token is passed on to the APIs behind the gate."""

    others: Others = "refuse"
    """istio: what happens to requests without a token of this cluster. refuse: they are refused.
    login: they pass on to the browser login on the same gateway (oauth2-proxy, AuthService), with
    any other token they carry."""

    remember_seconds: Annotated[
        int,
        Duration(
            lowest=1,
            highest=3600,
            why_lowest="an API server caches its own answers for longer",
            why_highest="a token must be reviewed again within an hour",
        ),
    ] = Field(default=60, examples=["60s"])
    """check review: how long a successful TokenReview is cached, at most. A credential that
    the watch no longer sees ends it at once."""

    close_after_seconds: Annotated[
        int,
        Duration(
            lowest=10,
            highest=86_400,
            why_lowest="the API server is asked three times within it, and may be slow",
            why_highest="a credential that was deleted could be accepted for longer than a day",
        ),
    ] = Field(default=600, examples=["10m"])
    """How long after the last listing of what exists at the API server the gate still accepts
    tokens."""

    credentials_per_namespace: int = Field(default=2000, ge=1, le=100_000)
    """How many credentials of one namespace the gate accepts: the oldest ones. So no tenant can
    fill it."""

    front_namespace: Label | None = Field(default=None, examples=["istio-system"])
    """Namespace of the gateway's pods. Default: istio-system, or envoy-gateway-system."""

    front_labels: Annotated[
        Mapping[LabelName, LabelValue] | None,
        READ_ONLY,
        AS_DICT,
    ] = Field(default=None, min_length=1, max_length=10, examples=[{"istio": "ingressgateway"}])
    """istio: labels of the gateway's pods. Default: istio: ingressgateway."""

    gateway: GatewayName | None = Field(default=None, examples=["envoy-gateway-system/public"])
    """envoy-gateway: the Gateway to guard, as NAMESPACE/NAME; for one of its listeners, as
    NAMESPACE/NAME/LISTENER."""

    image: Image | None = Field(default=None, examples=["registry.example.com/daypass:0.1.0"])
    """In a cluster: the image for `daypass gate watch` and `daypass gate serve`, built from the
    Containerfile. Required to render them."""

    replicas: int = Field(default=2, ge=1, le=1000)
    """In a cluster, check review: number of Pods of `daypass gate serve` at least; an autoscaler
    adds more, up to four times as many."""

    @property
    def guards_every_host(self) -> bool:
        """Whether it guards every host, by any name."""
        return EVERY_HOST in self.hosts

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The hosts with a name."""
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
                    f"the engine {engine} cannot guard unnamed hosts",
                    "list the hosts by name",
                    at=(index,),
                )
            if engine in ("istio", "envoy-gateway") and not is_public_name(host):
                raise fault(
                    f"{shown(host)} is not a public name, which the engine {engine} needs",
                    "write the DNS name",
                    at=(index,),
                )
        return hosts

    @field_validator("others")
    @classmethod
    def _only_istio_has_a_login(cls, others: Others, info: ValidationInfo) -> Others:
        engine = info.data.get("engine", "istio")
        if others == "login" and engine != "istio":
            raise fault(f"the engine {engine} does not support a login", "write refuse")
        return others


class Gate(PodSettings, _Gate):
    """Which requests pass the gate, what it adds to them, and its pods in a cluster."""

    model_config = ConfigDict(json_schema_extra=dict(_ENGINE_RULES))

    @field_validator("front_labels", "gateway", "image", *PodSettings.model_fields)
    @classmethod
    def _the_engine_knows_the_key(cls, value: Any, info: ValidationInfo) -> Any:
        engine, key = info.data.get("engine"), key_of(str(info.field_name))
        if value is not None and engine is not None and engine not in _ENGINES_WITH[key]:
            raise fault(
                f"the engine {engine} does not have it",
                f"leave it out (it is for {', '.join(_ENGINES_WITH[key])})",
            )
        return value
