"""The whole of `daypass.yaml`, and what follows from several of its sections."""

from collections.abc import Mapping
from itertools import combinations, product
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from daypass._core.errors import UsageError
from daypass._core.text import did_you_mean
from daypass.config.addresses import Address, Prefix, is_public_name, not_public, overlap_hint
from daypass.config.domain import EXAMPLE, AnyDomain, ClusterDomain, Domain
from daypass.config.errors import fault, one_of, shown
from daypass.config.gate import AnyGate, ClusterGate, Gate, IstioGate, check_authorize
from daypass.config.settings import (
    DEFAULT_LONGEST_LIFETIME_SECONDS,
    IN_CLUSTER,
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
    Added,
    Changed,
    Harmless,
    Label,
    Removed,
    Section,
)
from daypass.rules.claims import Bound
from daypass.rules.decision import Rules
from daypass.rules.patterns import EVERY_HOST, HostPattern, Place, overlap

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

    domains: Added[Mapping[Label, AnyDomain]] = Field(
        min_length=1, examples=[{"kubeflow": EXAMPLE}]
    )
    """Public names under which the door is published, each with a short name of your choice."""

    door: Door = Field(default_factory=Door)
    """The door's Deployment."""

    policy: Removed[Policy | None] = None
    """Rules for short-lived tokens, enforced by the API server. Default: no rules; clients decide
    whether tokens are bound."""

    gates: Removed[Mapping[Label, AnyGate]] = Field(default_factory=dict)
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
        return fitting

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


_AUDIENCES_OF_API_SERVERS = frozenset({IN_CLUSTER, f"{IN_CLUSTER}.cluster.local"})


def fit_gate(gate: AnyGate, info: ValidationInfo, *at: str) -> AnyGate:
    """Return a gate with its default hosts. Raises a fault if it does not fit the other sections.

    `info`: of the config. `at`: leads from the value that is validated to the gate.
    """
    _check_audience(gate.audience, info, *at, "audience")
    for audience in gate.audiences:
        further = (*at, "audiences", audience)
        _check_audience(audience, info, *further)
        if audience == gate.audience:
            raise fault("it is the gate's audience, which opens all", "leave it out", at=further)
    if not gate.asks_authorizer and "Pod" in gate.bound_to:
        raise fault(
            "only TokenReview knows whether a Pod still exists, and check: jwt asks for none",
            "write check: review, or leave Pod out",
            at=(*at, "boundTo", gate.bound_to.index("Pod")),
        )
    if not gate.asks_authorizer and gate.authorize:
        raise fault(
            "only the authorizer asks Kubernetes who may call a model, and check: jwt has none",
            "write check: review",
            at=(*at, "authorize"),
        )
    _check_hosts(gate, *at)
    guarding = _with_hosts(gate, info, *at)
    if not isinstance(gate, ClusterGate):
        _check_is_rendered(guarding, info.data.get("domains") or {}, *at)
    if guarding.hosts:
        _check_verify_host(guarding, *at)
        _check_places(guarding, *at)
        for index, rule in enumerate(guarding.authorize):
            check_authorize(rule, guarding.hosts, *at, "authorize", index)
        if guarding.authorize:
            _check_rules_are_complete(guarding, *at)
    return guarding


def _check_verify_host(gate: Gate, *at: str) -> None:
    """Raise a fault if the gate does not guard the host that verify calls."""
    host = gate.verify_host
    patterns = (HostPattern.parse(each) for each in gate.hosts if each != EVERY_HOST)
    if host is None or gate.guards_every_host or any(each.matches(host) for each in patterns):
        return
    raise fault(
        f"the gate does not guard {shown(host)}", "write it into hosts", at=(*at, "verifyHost")
    )


def _check_rules_are_complete(gate: Gate, *at: str) -> None:
    """Raise a fault for hosts of models that every caller may call."""
    ruled = {rule.host for rule in gate.authorize}
    for index, host in enumerate(gate.hosts):
        if host not in ruled and HostPattern.parse(host).names_a_model:
            raise fault(
                f"no rule of authorize is for {shown(host)}: every caller may call its models",
                "add a rule with this host, or write * for a label that names no model",
                at=(*at, "hosts", index),
            )


def _check_hosts(gate: Gate, *at: str) -> None:
    """Raise a fault for a host that the gate's engine cannot guard."""
    for index, host in enumerate(gate.hosts):
        if host == EVERY_HOST and not isinstance(gate, IstioGate):
            fact = f"{shown(host)} is every host, which only the engine istio guards"
            raise fault(fact, "name the hosts", at=(*at, "hosts", index))
        if isinstance(gate, ClusterGate) and not is_public_name(host):
            raise not_public(host, *at, "hosts", index)


def _check_is_rendered(gate: Gate, domains: Mapping[str, Domain], *at: str) -> None:
    """Raise a fault for a gate of one machine where a cluster serves its hosts, or all domains."""
    served = [each for each in domains.values() if isinstance(each, ClusterDomain)]
    if served and (len(served) == len(domains) or any(map(gate.guards, served))):
        raise fault(
            f"engine: envoy is for one machine, and a cluster serves {shown(served[0].host)}",
            "write the engine of its gateway, or list hosts of domains with front: envoy alone",
            at=(*at, "engine"),
        )


def _with_hosts(gate: AnyGate, info: ValidationInfo, *at: str) -> AnyGate:
    """Return a gate with its hosts, by default those of all domains; none if these are wrong."""
    domains = info.data.get("domains")
    if gate.hosts or domains is None:
        return gate
    hosts = [domain.host for domain in domains.values()]
    if isinstance(gate, ClusterGate):
        hosts = [host for host in hosts if is_public_name(host)]
    if not hosts:
        raise fault(
            f"no domain has a public name for the engine {gate.engine} to guard",
            "list its hosts, or write engine: envoy for one machine",
            at=at,
        )
    return gate.model_copy(update={"hosts": tuple(hosts)})


def _check_places(gate: Gate, *at: str) -> None:
    """Raise a fault for a place of an audience whose host the gate does not guard."""
    guarded = [HostPattern.parse(host) for host in gate.hosts]
    for audience, places in gate.audiences.items():
        for index, text in enumerate(places):
            host = Place.parse(text).host
            is_wider = host.text == EVERY_HOST and not gate.guards_every_host
            if is_wider or not any(overlap(host, each) for each in guarded):
                raise fault(
                    f"the gate guards no host {shown(host.text)}",
                    f"write one of {one_of([shown(each) for each in gate.hosts[:3]])}",
                    at=(*at, "audiences", audience, index),
                )


def _check_audience(audience: str, info: ValidationInfo, *at: str) -> None:
    """Raise a fault unless tokens with this audience can be issued, and open nothing else."""
    policy, cluster = info.data.get("policy"), info.data.get("cluster")
    issuer = {cluster.issuer} if cluster is not None else set()
    if policy is not None and audience not in policy.audiences:
        known = one_of([shown(each) for each in policy.audiences[:3]])
        raise fault(
            f"{shown(audience)} is not in policy.audiences: no token can be issued for it",
            f"write {known}, or add it there",
            at=at,
        )
    if audience in _AUDIENCES_OF_API_SERVERS | issuer:
        raise fault(
            f"{shown(audience)} is the API server's own audience",
            "use one for the gate alone: tokens with this audience would be valid at the API"
            " server",
            at=at,
        )


def check_gates(gates: Mapping[str, AnyGate]) -> None:
    """Raise a fault unless these gates can be next to each other."""
    in_cluster = {name: gate for name, gate in gates.items() if isinstance(gate, ClusterGate)}
    if len(gates) > 1 and (others := gates.keys() - in_cluster.keys()):
        raise fault(
            "engine: envoy is for one machine, where there is one gate and no watch of a cluster",
            "leave the other gates out, or write another engine",
            at=(min(others), "engine"),
        )
    for (other, first), (name, gate) in combinations(in_cluster.items(), 2):
        if first.is_at_gateway_of(gate):
            keys = "gatewayNamespace, gatewayLabels" if isinstance(gate, IstioGate) else "gateway"
            raise fault(
                f"the gate {shown(other)} may be at the same gateway",
                f"a gateway has one gate: list all hosts in it, or name another gateway ({keys})",
                at=(name,),
            )
        guarded = [HostPattern.parse(host) for host in first.hosts if host != EVERY_HOST]
        for (index, host), theirs in product(enumerate(gate.hosts), guarded):
            ours = HostPattern.parse(host)
            if host != EVERY_HOST and overlap(ours, theirs):
                raise fault(
                    f"{shown(host)} and {shown(theirs.text)} of the gate {shown(other)} match the"
                    " same host",
                    overlap_hint(ours, theirs, "a host belongs to one gate"),
                    at=(name, "hosts", index),
                )
