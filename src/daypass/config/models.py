"""The whole of `daypass.yaml`, and its smaller sections: cluster, door, limits, local, policy."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from daypass._core.errors import UsageError
from daypass._core.kubernetes.syntax import LONGEST_TOKEN_SECONDS, SHORTEST_TOKEN_SECONDS
from daypass._core.text import did_you_mean
from daypass.config.domain import EXAMPLE, AnyDomain, ClusterDomain, Domain
from daypass.config.errors import SAME_HOST, fault
from daypass.config.exposure import DOOR_BODY_LIMIT_BYTES
from daypass.config.gate import AnyGate, ClusterGate, Gate, GatePods, WatchSettings
from daypass.config.gates import IN_CLUSTER, check_gates, fit_gate
from daypass.config.hosts import Host, IpAddress
from daypass.config.locations import (
    Address,
    FilePath,
    HttpsOrigin,
    Issuer,
    ListenAddress,
    Prefix,
    UpstreamOrigin,
    split_origin,
)
from daypass.config.metrics import Metrics
from daypass.config.opens import HIGHER, Added, Changed, Harmless, Higher, Opens, Removed
from daypass.config.pods import PodSettings
from daypass.config.types import (
    AS_DICT,
    READ_ONLY,
    Audience,
    Duration,
    Image,
    Label,
    Section,
    Size,
    Subdomain,
    User,
    unique,
)
from daypass.rules.claims import Bound
from daypass.rules.decision import Rules
from daypass.rules.patterns import HostPattern, Place


def _host_of_server(validated: dict[str, Any]) -> str:
    return split_origin(validated["server"])[0]


class ClusterConfig(Section):
    """The API server behind the door, and how it is verified."""

    server: Changed[HttpsOrigin] = Field(default=IN_CLUSTER, examples=["https://10.0.0.1:6443"])
    """URL of the API server as seen from the door: https, a host and an optional port."""

    certificate_authority: Changed[FilePath | None] = Field(default=None, examples=["ca.crt"])
    """PEM file, relative to this file, of the authority that signed the API server's certificate.
    Default in a cluster: the ConfigMap kube-root-ca.crt."""

    server_name: Changed[Host] = Field(
        default_factory=_host_of_server, examples=["kubernetes.default.svc"]
    )
    """The name (or IP address) that the API server's certificate must contain. Default: the host of
    `server`."""

    addresses: Added[Annotated[tuple[IpAddress, ...], AfterValidator(unique)]] = Field(
        default_factory=tuple, max_length=100, examples=[["10.0.0.1", "10.0.0.2"]]
    )
    """IP addresses of the API servers as pods reach them (kubectl get endpointslices -n default);
    the door may connect to no others. Default: any address, on the ports of API servers."""

    issuer: Changed[Issuer | None] = Field(default=None, examples=[IN_CLUSTER])
    """The exact claim `iss` of short-lived tokens. Default: read from the cluster."""

    keys: Changed[FilePath | None] = Field(default=None, examples=["keys.json"])
    """JSON Web Key Set, relative to this file, of the keys that sign short-lived tokens, for an API
    server that does not publish them. Default: read from the cluster, again and again."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that rendering reads, in addition to the config itself."""
        return tuple(filter(None, (self.certificate_authority, self.keys)))

    @property
    def server_host(self) -> str:
        """The host of `server`; an IPv6 address without brackets."""
        return split_origin(self.server)[0]

    @property
    def server_port(self) -> int:
        """The port of `server`; 443 if it names none."""
        return split_origin(self.server)[1]


class _Door(Section):
    namespace: Harmless[Label] = Field(default="daypass", examples=["daypass"])
    """Namespace of the door's objects."""

    replicas: Harmless[int] = Field(default=2, ge=1, le=1000)
    """Number of the door's Pods at least; an autoscaler adds more, up to four times as many."""

    trusted_hops: Higher[int] = Field(default=1, ge=0, le=10)
    """How many proxies in front of the door append to X-Forwarded-For, the ingress or gateway
    included. If this is too large, clients can forge their source address."""

    certificate_issuer: Changed[Subdomain | None] = Field(
        default=None, examples=["internal-authority"]
    )
    """ClusterIssuer of cert-manager that issues the certificate that the door shows to the ingress
    or gateway; it needs its own authority (not ACME). Default: `daypass apply` makes and renews
    a certificate."""

    image: Harmless[Image | None] = Field(
        default=None, examples=["registry.example.com/envoy:distroless-v1.40.0"]
    )
    """Image of Envoy, such as a copy of the official one in your registry, by tag or digest. It
    must be of the version that daypass names. Default: the official image, by tag."""


class Door(PodSettings, _Door):
    """The Deployment that publishes the TokenRequest API."""


class Limits(Section):
    """Rate and size limits of one replica of the door."""

    requests_per_second: Higher[int] = Field(default=200, ge=1, le=100_000)
    """Requests per second of all clients together; more get 429."""

    per_source_per_second: Higher[int] = Field(default=10, ge=1, le=100_000)
    """Requests per second of one client address; more get 429."""

    request_body_bytes: Annotated[
        int,
        Size(lowest=1024, highest=65536, why="a TokenRequest has a few hundred bytes"),
        HIGHER,
    ] = Field(default=DOOR_BODY_LIMIT_BYTES, examples=["8Ki"])
    """Largest body of a request, such as 8Ki, or bytes."""


ApiServer: TypeAlias = Literal["embedded", "external"]


class Local(Section):
    """Door and gate on this machine."""

    door: ListenAddress = Field(default=Address("127.0.0.1", 8443), examples=["127.0.0.1:8443"])
    """Where the door listens: HOST:PORT; port 0 is any free port."""

    gate: ListenAddress = Field(default=Address("127.0.0.1", 8444), examples=["127.0.0.1:8444"])
    """Where the gate listens: HOST:PORT; port 0 is any free port."""

    metrics: ListenAddress | None = Field(default=None, examples=["127.0.0.1:9002"])
    """Where the metrics of door and gate are served, over http at /metrics. Default: nowhere."""

    upstream: UpstreamOrigin | None = Field(
        default=None, examples=["http://127.0.0.1:8080", "h2c://127.0.0.1:50051"]
    )
    """What the gate protects: a URL with a host and an optional port. http: HTTP/1.1. https: HTTP/2
    if the server offers it. h2c: HTTP/2 without TLS (gRPC). Default: an echo service."""

    api_server: ApiServer = "embedded"
    """embedded: an API server in daypass, for a first run. external: that at `cluster.server`."""

    @field_validator("gate", "metrics")
    @classmethod
    def _each_has_its_own(cls, address: Address | None, info: ValidationInfo) -> Address | None:
        for other in ("door", "gate"):
            taken = info.data.get(other)
            same = {str(each).replace("localhost", "127.0.0.1") for each in (address, taken)}
            if address is not None and address.port and len(same) == 1:
                raise fault(f"the {other} already listens on {taken}", "choose another port")
        return address


DEFAULT_LONGEST_LIFETIME_SECONDS = 86_400
"""The default, also without a policy."""

Binding: TypeAlias = Literal["required", "optional"]
Successors: TypeAlias = Literal["forbidden", "allowed"]
Mode: TypeAlias = Literal["audit", "warn", "deny"]

Lifetime: TypeAlias = Annotated[
    int,
    Duration(
        lowest=SHORTEST_TOKEN_SECONDS,
        highest=LONGEST_TOKEN_SECONDS,
        why_lowest="the API server issues no shorter token",
        why_highest="the API server issues no longer token (2^32 seconds)",
    ),
    HIGHER,
]


class Federated(Section):
    """Rules for users of an issuer outside the cluster, whose tokens are bound to anchors."""

    longest_lifetime_seconds: Lifetime = Field(default=3600, examples=["1h"])
    """Longest lifetime that they may request; a shorter one of a namespace applies to them, too."""


class Policy(Section):
    """The rules for TokenRequests in the namespaces of identities."""

    longest_lifetime_seconds: Lifetime = Field(
        default=DEFAULT_LONGEST_LIFETIME_SECONDS, examples=["24h"]
    )
    """Longest lifetime that may be requested, such as 24h, 1h30m, 90d, or seconds."""

    audiences: Added[Annotated[tuple[Audience, ...], AfterValidator(unique)]] = Field(
        min_length=1,
        max_length=100,
        examples=[["istio-ingressgateway.istio-system.svc.cluster.local"]],
    )
    """Audiences that may be requested. A token for any other audience is refused, also one for the
    API server itself."""

    binding: Annotated[Binding, Opens("laxer", ("required", "optional"))] = "required"
    """required: a short-lived token is bound to a Secret of its identity. optional: it may be
    unbound, and then a deleted Secret does not revoke it; never to another identity's Secret."""

    successors: Annotated[Successors, Opens("laxer", ("forbidden", "allowed"))] = "forbidden"
    """forbidden: a short-lived token can't be used to request another. allowed: it can."""

    federated: Federated = Field(default_factory=Federated)
    """Users without a long-lived token, such as a CI job with its own OIDC token."""

    exempt: Added[Annotated[tuple[User, ...], AfterValidator(unique)]] = Field(
        default_factory=tuple,
        max_length=100,
        examples=[["system:serviceaccount:vault:vault"]],
    )
    """User names that the policy does not apply to, in addition to nodes, the control plane and the
    ServiceAccounts of kube-system."""

    mode: Annotated[Mode, Opens("laxer", ("deny", "warn", "audit"))] = "deny"
    """What happens to a request that breaks a rule. deny: it is refused. warn: the token is issued,
    and the client gets a warning. audit: only the audit log of the API server has it."""


VERSION = 1

ADD_A_GATE = "add one: gates: {default: {audience: YOUR-AUDIENCE}}"
"""What to do about a config without a gate."""


def repeated_hosts(hosts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield domains with the host of an earlier domain: (the later domain, the earlier one)."""
    first: dict[str, str] = {}
    for domain, host in hosts.items():
        earlier = first.setdefault(host, domain)
        if earlier != domain:
            yield domain, earlier


class Config(Section):
    """daypass.yaml: where the door and the gate are, and what they let through."""

    version: Harmless[Literal[1]]
    """Version of the format of this file: 1."""

    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    """The API server behind the door. Default: that of the cluster in which the door runs."""

    prefix: Changed[Prefix] = Field(default="/kubernetes", examples=["/kubernetes"])
    """Path under which the door is published on every domain. A door's URL is https://HOST and this
    path."""

    domains: Added[Annotated[Mapping[Label, AnyDomain], READ_ONLY, AS_DICT]] = Field(
        min_length=1,
        max_length=100,
        examples=[{"kubeflow": EXAMPLE}],
    )
    """Public names under which the door is published, each with a short name of your choice."""

    door: Door = Field(default_factory=Door)
    """The door's Deployment."""

    policy: Removed[Policy | None] = None
    """Rules for short-lived tokens, enforced by the API server. Default: no rules; clients decide
    whether tokens are bound."""

    gates: Removed[Annotated[Mapping[Label, AnyGate], READ_ONLY, AS_DICT]] = Field(
        default_factory=dict,
        max_length=20,
        examples=[{"serving": {"audience": "serving.example.com"}}],
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
    """How many requests, and of what size, one replica of the door lets through."""

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
        hosts = {name: domain.host for name, domain in domains.items()}
        for later, earlier in repeated_hosts(hosts):
            raise PydanticCustomError(
                SAME_HOST, "{later} has the host of {earlier}", {"later": later, "earlier": earlier}
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
