"""The check in front of the APIs that short-lived tokens are for."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from daypass.spec.faults import fault
from daypass.spec.hosts import Host, is_address
from daypass.spec.names import Audience, Header
from daypass.spec.section import Section
from daypass.spec.unique import unique
from daypass.spec.wording import shown

Engine: TypeAlias = Literal["istio", "envoy-gateway", "envoy"]
Check: TypeAlias = Literal["jwt", "review", "both"]


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

    audience: Audience = Field(examples=["istio-ingressgateway.istio-system.svc.cluster.local"])
    """The audience that a token must have been made for. Nothing else may take tokens of it."""

    engine: Engine = "istio"
    """What checks: istio, envoy-gateway, or envoy (one machine)."""

    check: Check = "jwt"
    """jwt: signature, issuer, audience and lifetime, in the proxy. review: ask the API server
    (TokenReview), and cache. both: one after the other."""

    require_bound: bool = True
    """Refuse tokens that hang on no Secret: they can't be revoked."""

    hosts: Annotated[tuple[Host, ...], AfterValidator(unique)] = Field(
        default_factory=tuple, min_length=1, max_length=100, examples=[["ekf.example.com"]]
    )
    """Hosts that the gate guards. Left out: the hosts of all domains."""

    headers: IdentityHeaders = Field(default_factory=IdentityHeaders)
    """Headers that the gate sets, and that it removes from what clients send."""

    forward_token: bool = False
    """Whether the APIs behind the gate get the token, too."""

    @field_validator("hosts")
    @classmethod
    def _only_envoy_has_addresses(
        cls, hosts: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        engine = info.data.get("engine", "envoy")
        for index, host in enumerate(hosts):
            if engine != "envoy" and is_address(host):
                raise fault(
                    f"{shown(host)} is no public name, and the engine {engine} needs one",
                    "write the DNS name",
                    at=(index,),
                )
        return hosts
