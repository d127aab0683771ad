"""The whole of `daypass.yaml`."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, WrapSerializer, field_validator
from pydantic_core import PydanticCustomError

from daypass.spec.cluster import IN_CLUSTER, Cluster
from daypass.spec.domain import EXAMPLE, Domain
from daypass.spec.door import Door, Limits
from daypass.spec.faults import SAME_HOST, fault
from daypass.spec.gate import Gate
from daypass.spec.hosts import is_address
from daypass.spec.local import Local
from daypass.spec.locations import Prefix
from daypass.spec.names import Label
from daypass.spec.policy import Policy
from daypass.spec.section import Section
from daypass.spec.wording import one_of, shown

VERSION = 1
_AUDIENCES_OF_API_SERVERS = frozenset({IN_CLUSTER, f"{IN_CLUSTER}.cluster.local"})


def repeated_hosts(hosts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Domains whose host is another's already: (the later domain, the earlier one)."""
    first: dict[str, str] = {}
    for domain, host in hosts.items():
        earlier = first.setdefault(host, domain)
        if earlier != domain:
            yield domain, earlier


def _read_only(domains: Mapping[str, Domain]) -> Mapping[str, Domain]:
    return MappingProxyType(dict(domains))


def _write(domains: Mapping[str, Domain], handler: Any) -> Any:
    return handler(dict(domains))


class Config(Section):
    """daypass.yaml: where the door and the gate are, and what they let through."""

    version: Literal[1]
    """Version of the format of this file: 1."""

    cluster: Cluster = Field(default_factory=Cluster)
    """The API server behind the door. Left out: the one of the cluster that the door runs in."""

    prefix: Prefix = Field(default="/kubernetes", examples=["/kubernetes"])
    """Path under which the door is published on every domain."""

    domains: Annotated[
        Mapping[Label, Domain], AfterValidator(_read_only), WrapSerializer(_write)
    ] = Field(
        min_length=1,
        max_length=100,
        json_schema_extra={"additionalProperties": False},
        examples=[{"ekf": EXAMPLE}],
    )
    """Public names under which the door is published, each with a short name of your choice."""

    door: Door = Field(default_factory=Door)
    """The door's Deployment."""

    policy: Policy | None = None
    """Rules for short-lived tokens, enforced by the API server. Left out: none are set up, and
    binding is up to the client."""

    gate: Gate | None = None
    """The check in front of the APIs. Left out: there is only the door."""

    limits: Limits = Field(default_factory=Limits)
    """How many requests, and how large, one replica of the door lets through."""

    local: Local = Field(default_factory=Local)
    """One machine: what `daypass up` does."""

    @field_validator("domains")
    @classmethod
    def _no_host_twice(cls, domains: Mapping[str, Domain]) -> Mapping[str, Domain]:
        hosts = {name: domain.host for name, domain in domains.items()}
        for later, earlier in repeated_hosts(hosts):
            raise PydanticCustomError(
                SAME_HOST, "{later} has the host of {earlier}", {"later": later, "earlier": earlier}
            )
        return domains

    @field_validator("gate")
    @classmethod
    def _tokens_for_the_gate_can_be_made(
        cls, gate: Gate | None, info: ValidationInfo
    ) -> Gate | None:
        policy = info.data.get("policy")
        if gate is not None and policy is not None and gate.audience not in policy.audiences:
            known = one_of([shown(audience) for audience in policy.audiences[:3]])
            raise fault(
                f"{shown(gate.audience)} is not in policy.audiences: no token can be made for it",
                f"write {known}, or add it there",
                at=("audience",),
            )
        return gate

    @field_validator("gate")
    @classmethod
    def _tokens_for_the_gate_open_nothing_else(
        cls, gate: Gate | None, info: ValidationInfo
    ) -> Gate | None:
        cluster = info.data.get("cluster")
        issuer = {cluster.issuer} if cluster is not None else set()
        if gate is not None and gate.audience in _AUDIENCES_OF_API_SERVERS | issuer:
            raise fault(
                f"{shown(gate.audience)} is the API server's own audience",
                "name one that is the gate's alone: whoever sees such a token could use it at the"
                " API server",
                at=("audience",),
            )
        return gate

    @field_validator("gate")
    @classmethod
    def _the_gate_guards_some_host(cls, gate: Gate | None, info: ValidationInfo) -> Gate | None:
        domains = info.data.get("domains")
        if gate is None or gate.hosts or domains is None:
            return gate
        hosts = [domain.host for domain in domains.values()]
        if gate.engine != "envoy":
            hosts = [host for host in hosts if not is_address(host)]
        if not hosts:
            raise fault(
                f"no domain has a public name that the engine {gate.engine} could guard",
                "list the hosts in gate.hosts, or write engine: envoy for one machine",
            )
        return gate.model_copy(update={"hosts": tuple(hosts)})

    @field_validator("local")
    @classmethod
    def _an_external_api_server_is_somewhere(cls, local: Local, info: ValidationInfo) -> Local:
        cluster = info.data.get("cluster")
        external = local.api_server == "external"
        if external and cluster is not None and "server" not in cluster.model_fields_set:
            raise fault(
                "'external' needs an API server to go to",
                "add cluster.server, such as https://10.0.0.1:6443",
                at=("apiServer",),
            )
        return local
