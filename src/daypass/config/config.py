"""The whole of `daypass.yaml`, and what follows from several of its sections."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from daypass._core.errors import UsageError
from daypass._core.text import did_you_mean
from daypass.config.domain import EXAMPLE, AnyDomain, ClusterDomain, Domain
from daypass.config.errors import fault, shown
from daypass.config.gate import AnyGate, ClusterGate, Gate
from daypass.config.gates import check_gates, fit_gate
from daypass.config.locations import Address, Prefix
from daypass.config.settings import (
    DEFAULT_LONGEST_LIFETIME_SECONDS,
    ClusterConfig,
    Door,
    GatePods,
    Limits,
    Local,
    Metrics,
    Policy,
    WatchSettings,
)
from daypass.config.types import (
    AS_DICT,
    READ_ONLY,
    Added,
    Changed,
    Harmless,
    Label,
    Removed,
    Section,
)
from daypass.rules.claims import Bound
from daypass.rules.decision import Rules
from daypass.rules.patterns import HostPattern, Place

VERSION = 1

ADD_A_GATE = "add one: gates: {default: {audience: YOUR-AUDIENCE}}"
"""What to do about a config without a gate."""


class Config(Section):
    """daypass.yaml: where the door and the gate are, and what they let through."""

    version: Harmless[Literal[1]] = Field(examples=[1])
    """Version of the format of this file: 1."""

    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    """The API server behind the door. Default: that of the cluster in which the door runs."""

    prefix: Changed[Prefix] = "/kubernetes"
    """Path under which the door is published on every domain. A door's URL is https://HOST and this
    path."""

    domains: Added[Annotated[Mapping[Label, AnyDomain], READ_ONLY, AS_DICT]] = Field(
        min_length=1, examples=[{"kubeflow": EXAMPLE}]
    )
    """Public names under which the door is published, each with a short name of your choice."""

    door: Door = Field(default_factory=Door)
    """The door's Deployment."""

    policy: Removed[Policy | None] = None
    """Rules for short-lived tokens, enforced by the API server. Default: no rules; clients decide
    whether tokens are bound."""

    gates: Removed[Annotated[Mapping[Label, AnyGate], READ_ONLY, AS_DICT]] = Field(
        default_factory=dict
    )
    """The checks in front of the APIs, one at each gateway, each with a short name of your choice.
    Default: only the door is set up."""

    watch: WatchSettings = Field(default_factory=WatchSettings)
    """Which credentials the gates accept, and for how long without news of them."""

    gate_pods: GatePods = Field(default_factory=GatePods)
    """The Deployments of `daypass gate watch` and `daypass gate serve`."""

    metrics: Metrics = Field(default_factory=Metrics)
    """Metrics for Prometheus, and who may read them."""

    limits: Limits = Field(default_factory=Limits)
    """How many requests one replica of the door lets through."""

    local: Harmless[Local] = Field(default_factory=Local)
    """One machine: what `daypass up` does."""

    def find_domain(self, name: str) -> Domain:
        """Return the domain of this name. Raises UsageError if there is none."""
        if name not in self.domains:
            known = f"it has: {', '.join(sorted(self.domains))}"
            raise UsageError(
                f"the config has no domain {name[:80]!r}", did_you_mean(name, self.domains, known)
            )
        return self.domains[name]

    @property
    def cluster_domains(self) -> Mapping[str, ClusterDomain]:
        """The domains that a cluster serves, by name. The others are for one machine."""
        return {
            name: domain
            for name, domain in sorted(self.domains.items())
            if isinstance(domain, ClusterDomain)
        }

    @property
    def cluster_gates(self) -> Mapping[str, ClusterGate]:
        """The gates in a cluster by name, sorted; none if there is one on one machine."""
        return {name: gate for name, gate in self.gates.items() if isinstance(gate, ClusterGate)}

    def find_gate(self, name: str | None) -> tuple[str, Gate]:
        """Return the gate of this name or, if there is one gate, that one, with its name.

        Raises UsageError.
        """
        gates = self.gates
        if name is None and len(gates) == 1:
            return next(iter(gates.items()))
        if name is not None and name in gates:
            return name, gates[name]
        known = ", ".join(gates)
        if not gates:
            raise UsageError("the config has no gate", ADD_A_GATE)
        if name is None:
            raise UsageError("the config has several gates", f"name one: {known}")
        fact = f"the config has no gate {name[:80]!r}"
        raise UsageError(fact, did_you_mean(name, gates, f"it has: {known}"))

    @property
    def local_gate(self) -> tuple[str, Gate] | None:
        """The gate that runs on one machine, with its name; None without gates.

        Raises UsageError if there are several.
        """
        if len(self.gates) > 1:
            raise UsageError(
                "the config has several gates, and one machine runs one",
                "write a config with one of them for this machine",
            )
        return self.find_gate(None) if self.gates else None

    @property
    def accepts_unbound(self) -> bool:
        """Whether some gate accepts tokens that are bound to nothing."""
        return any("none" in gate.bound_to for gate in self.gates.values())

    def gate_of(self, domain: Domain) -> tuple[str, Gate] | None:
        """Return the gate that answers at a domain's host, and its name: one that names the host,
        or else one that guards every host of its gateway."""
        found = [(name, gate) for name, gate in self.gates.items() if gate.guards(domain)]
        return min(found, key=lambda each: each[1].guards_every_host, default=None)

    def port_of(self, domain: Domain, listen: Address) -> int:
        """Return the port of a domain's door or gate, which on one machine is that of `listen`."""
        return 443 if isinstance(domain, ClusterDomain) else listen.port

    @property
    def longest_lifetime_seconds(self) -> int:
        """The longest lifetime of a token that the gate accepts."""
        if self.policy is None:
            return DEFAULT_LONGEST_LIFETIME_SECONDS
        return self.policy.longest_lifetime_seconds

    def rules_of(self, gate: Gate, issuer: str) -> Rules:
        """Return what its gate requires of a token. `issuer`: the `iss` of the cluster's tokens."""
        return Rules(
            hosts=tuple(map(HostPattern.parse, gate.hosts)),
            issuer=issuer,
            audience=gate.audience,
            longest_lifetime_seconds=self.longest_lifetime_seconds,
            audiences={
                name: tuple(map(Place.parse, places)) for name, places in gate.audiences.items()
            },
            bound=frozenset(map(Bound, gate.bound_to)),
            allow=None if gate.allow is None else gate.allow.rule,
            authorize=tuple(each.rule for each in gate.authorize),
        )

    @field_validator("domains")
    @classmethod
    def _no_host_twice(cls, domains: Mapping[str, AnyDomain]) -> Mapping[str, AnyDomain]:
        first: dict[str, str] = {}
        for name, domain in domains.items():
            if (earlier := first.setdefault(domain.host, name)) != name:
                raise fault(
                    f"{shown(domain.host)} is already the host of {shown(earlier)}",
                    "a host belongs to one domain",
                    at=(name, "host"),
                )
        return domains

    @field_validator("gates")
    @classmethod
    def _the_gates_fit(
        cls, gates: Mapping[str, AnyGate], info: ValidationInfo
    ) -> Mapping[str, AnyGate]:
        if len(gates) > 1 and (name := next((n for n, g in gates.items() if not g.hosts), None)):
            raise fault("it guards the hosts of all domains", "list its hosts", at=(name,))
        fitting = {name: fit_gate(gate, info, name) for name, gate in sorted(gates.items())}
        check_gates(fitting)
        return MappingProxyType(fitting)

    @field_validator("local")
    @classmethod
    def _an_external_api_server_is_somewhere(cls, local: Local, info: ValidationInfo) -> Local:
        cluster = info.data.get("cluster")
        external = local.api_server == "external"
        if external and cluster is not None and "server" not in cluster.model_fields_set:
            raise fault(
                "'external' needs the URL of an API server",
                "add cluster.server, such as https://10.0.0.1:6443",
                at=("apiServer",),
            )
        return local
