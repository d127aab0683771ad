"""The check in front of the APIs that short-lived tokens are for.

`engine` selects one of the classes at the end. What an engine allows follows from its fields.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from daypass._core.kubernetes.syntax import LABEL, SUBDOMAIN
from daypass.config.addresses import GuardedHost, Host, PathForm, PlaceForm, overlap_hint
from daypass.config.domain import GATEWAY_LABELS, Domain, IstioDomain
from daypass.config.errors import fault, shown
from daypass.config.types import (
    HIGHER,
    Added,
    Audience,
    Changed,
    Duration,
    Enabled,
    GatewayOrListener,
    Harmless,
    Header,
    Label,
    LabelName,
    LabelValue,
    Opens,
    Removed,
    Section,
    SelectedBy,
    Text,
    Unique,
    unique,
)
from daypass.rules.decision import Allow
from daypass.rules.models import LLM, ModelRule
from daypass.rules.patterns import EVERY_HOST, HostPattern, PathPattern, overlap

T = TypeVar("T")
Listed: TypeAlias = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(unique)]
DEFAULT_GATE = "default"
"""The gate whose objects have no name of a gate in theirs."""

Check: TypeAlias = Literal["jwt", "review"]
BoundTo: TypeAlias = Literal["Secret", "Pod", "none"]
Login: TypeAlias = Literal["none", "keep"]


ModelResource: TypeAlias = Literal[
    "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
]


Account = Annotated[str, Text(f"{LABEL}/{SUBDOMAIN}", "an identity", "write NAMESPACE/NAME", 317)]
Verb = Annotated[str, Text("[a-z]+", "a verb", "write one such as get", 30)]


class AllowedCallers(Section):
    """Who may pass a gate at all: either list is enough."""

    namespaces: Added[Unique[Label]] = ()
    """Namespaces whose identities may."""

    identities: Added[Unique[Account]] = ()
    """Single identities, as NAMESPACE/NAME."""

    @property
    def rule(self) -> Allow:
        """The same for the decision."""
        return Allow(namespaces=frozenset(self.namespaces), identities=frozenset(self.identities))

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        if not self.namespaces and not self.identities:
            raise fault("it names nobody", "add namespaces or identities, or leave allow out")
        return self


class Authorize(Section):
    """Which requests are for a model, and what its callers have to be allowed in RBAC."""

    host: GuardedHost = Field(examples=["{name}.{namespace}.example.com"])
    """One of the gate's hosts, as it is written there."""

    path: PathForm | None = None
    """Paths that name a model, if the host names none."""

    resource: ModelResource = Field(examples=["inferenceservices.serving.kserve.io"])
    """The resource that the model is."""

    verb: Verb = "get"
    """What a caller has to be allowed to do with it."""

    @property
    def rule(self) -> ModelRule:
        """The same for the decision."""
        return ModelRule(
            host=HostPattern.parse(self.host),
            path=None if self.path is None else PathPattern.parse(self.path),
            resource=self.resource,
            verb=self.verb,
        )


def check_authorize(rule: Authorize, hosts: tuple[str, ...], *at: str | int) -> None:
    """Raise a fault unless a rule is for one of these hosts, and names a model in a namespace.

    `at`: leads to the rule.
    """
    if rule.host not in hosts:
        raise fault(
            f"the gate does not guard {shown(rule.host)}",
            "add it to hosts, or write it as it is written there",
            at=(*at, "host"),
        )
    place = rule.rule
    of_host = place.host.names_a_model
    if of_host and place.path is not None:
        raise fault("the host names a model already", "leave path out", at=(*at, "path"))
    if not (place.path or place.host).names_a_model:
        raise fault(
            "it names no model and its namespace",
            "write {name} and {namespace} in host or in path",
            at=(*at, "host" if place.path is None else "path"),
        )
    if of_host and rule.resource == LLM:
        raise fault(
            "an LLMInferenceService has no host of its own",
            "write path: /{namespace}/{name}/ and the gateway's host",
            at=(*at, "resource"),
        )


class IdentityHeaders(Section):
    """The headers in which the gate passes the caller's identity to the APIs."""

    user: Changed[Header] = "kubeflow-userid"
    """Header for the user: system:serviceaccount:NAMESPACE:NAME."""

    groups: Changed[Header] = "kubeflow-groups"
    """Header for the groups, joined by commas."""

    @field_validator("groups")
    @classmethod
    def _differ(cls, groups: str, info: ValidationInfo) -> str:
        if groups == info.data.get("user"):
            raise fault(f"{shown(groups)} is already the header for the user", "use another name")
        return groups


# As with domains, Config validates all kinds as one.
class Gate(Section, defer_build=True):
    """Which requests pass a gate, and what it adds to them."""

    audience: Changed[Audience] = Field(
        examples=["istio-ingressgateway.istio-system.svc.cluster.local"]
    )
    """The audience that a token must have. No other service may accept tokens with it."""

    engine: str
    """The proxy that checks: istio, envoy-gateway, or envoy (one machine)."""

    check: Annotated[Check, Opens("laxer", ("review", "jwt"))] = "jwt"
    """What is checked. jwt: signature, claims, and whether the credential exists. review: the same,
    then a TokenReview of the API server, cached."""

    bound_to: Added[Listed[BoundTo]] = ("Secret",)
    """What a token may be bound to. Secret: it is revoked with that Secret. Pod: Kubernetes mounts
    it into a Pod; needs check: review. none: it is revoked only with its ServiceAccount."""

    hosts: Removed[Listed[GuardedHost]] = Field(default_factory=tuple)
    """Hosts that the gate guards: names, and patterns such as {name}.{namespace}.example.com or
    *.serving.example.com, where * is one label. istio: * alone is every host of the gateway, by any
    name. Default: the hosts of all domains."""

    verify_host: Harmless[Host | None] = None
    """The host that `daypass verify` calls. Default: that of the domain, if the gate guards it, or
    the first of hosts without a wildcard."""

    headers: IdentityHeaders = Field(default_factory=IdentityHeaders)
    """Headers that the gate sets, and that it removes from what clients send."""

    forward_token: Enabled = False
    """Whether the token is passed on to the APIs behind the gate."""

    audiences: Added[Mapping[Audience, Listed[PlaceForm]]] = Field(default_factory=dict)
    """Further audiences. A token with one of them opens only its places: hosts or patterns of hosts
    that the gate guards, and with a path only what is below it."""

    allow: Removed[AllowedCallers | None] = None
    """Who may pass. Default: every identity."""

    authorize: Removed[tuple[Authorize, ...]] = ()
    """Which requests are for a model. Kubernetes' RBAC decides who may call which: it needs check:
    review. Default: every caller may call every model."""

    max_stream_duration_seconds: Annotated[
        int | None,
        Duration(
            lowest=10,
            highest=604_800,
            why_lowest="ordinary requests would end, too",
            why_highest="leave it out for no bound",
        ),
        HIGHER,
    ] = None
    """How long a request, a stream or a WebSocket may last: it is cut then, whatever its token.
    Default: no bound."""

    cache_ttl_seconds: Annotated[
        int,
        Duration(
            lowest=1,
            highest=3600,
            why_lowest="an API server caches its own answers for longer",
            why_highest="a token must be reviewed again within an hour",
        ),
        HIGHER,
    ] = 60
    """check: review: how long a successful TokenReview or SubjectAccessReview is cached, at most. A
    credential that the watch no longer sees ends it at once."""

    @field_validator("hosts")
    @classmethod
    def _each_host_has_one_pattern(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        patterns = [HostPattern.parse(host) for host in hosts]
        for index, pattern in enumerate(patterns):
            for earlier in patterns[:index]:
                if EVERY_HOST not in (pattern.text, earlier.text) and overlap(pattern, earlier):
                    raise fault(
                        f"{shown(pattern.text)} and {shown(earlier.text)} match the same host",
                        overlap_hint(pattern, earlier, "leave one out"),
                        at=(index,),
                    )
        return hosts

    @property
    def asks_authorizer(self) -> bool:
        """Whether the authorizer is asked about each request, and sends TokenReviews."""
        return self.check == "review"

    @property
    def has_login(self) -> bool:
        """Whether requests without a token of the cluster go on to a login."""
        return False

    def guards(self, domain: Domain) -> bool:
        """Return whether the gate answers at the host of a domain.

        The host of another ingress need not lead to the gateway that has the gate.
        """
        return any(
            HostPattern.parse(host).matches(domain.host)
            for host in self.hosts
            if host != EVERY_HOST
        )

    @property
    def guards_every_host(self) -> bool:
        """Whether it guards every host, by any name."""
        return EVERY_HOST in self.hosts

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The hosts with a name of their own."""
        return tuple(host for host in self.hosts if HostPattern.parse(host).is_literal)


ISTIO_ROOT = "istio-system"
"""Istio's root namespace by default: what is there for pods applies to pods of every namespace."""


class ClusterGate(Gate):
    """A gate at a gateway of a cluster."""

    gateway_namespace: Label = Field(examples=["istio-system"])
    """Namespace of the gateway's pods."""

    def is_at_gateway_of(self, other: "ClusterGate") -> bool:
        """Return whether a gateway may have both gates."""
        return False


class IstioGate(ClusterGate):
    """A gate at Istio's gateway."""

    engine: Changed[Literal["istio"]] = "istio"

    login: Annotated[Login, Opens("laxer", ("none", "keep"))] = "none"
    """What happens to requests without a token of this cluster. none: they are refused. keep: they
    pass on to the browser login on the same gateway (oauth2-proxy, AuthService), with any other
    token they carry."""

    login_may_call_models: Harmless[bool] = False
    """With authorize and login: keep, browser sessions may call every model: a finding, unless this
    is true."""

    gateway_namespace: Changed[Label] = ISTIO_ROOT

    gateway_labels: Changed[Mapping[LabelName, LabelValue]] = Field(
        default=GATEWAY_LABELS, min_length=1
    )
    """Labels of the gateway's pods."""

    @property
    def has_login(self) -> bool:
        """Whether requests without a token of the cluster go on to a login."""
        return self.login == "keep"

    def is_at_gateway_of(self, other: ClusterGate) -> bool:
        """Return whether a pod may have the labels of both, where the objects of both apply."""
        if not isinstance(other, IstioGate):
            return False
        namespaces = {self.gateway_namespace, other.gateway_namespace}
        if len(namespaces) > 1 and ISTIO_ROOT not in namespaces:
            return False
        mine, others = self.gateway_labels, other.gateway_labels
        return all(mine[name] == others[name] for name in mine.keys() & others.keys())

    def guards(self, domain: Domain) -> bool:
        """Return whether the gate answers at the host of a domain."""
        return super().guards(domain) or (
            self.guards_every_host and isinstance(domain, IstioDomain)
        )


class EnvoyGatewayGate(ClusterGate):
    """A gate at a Gateway of Envoy Gateway."""

    engine: Changed[Literal["envoy-gateway"]]

    check: Annotated[Literal["review"], Opens("laxer", ("review", "jwt"))] = "review"
    gateway: Changed[GatewayOrListener] = Field(examples=["envoy-gateway-system/public"])
    """The Gateway to guard, or one of its listeners."""

    gateway_namespace: Changed[Label] = "envoy-gateway-system"

    def is_at_gateway_of(self, other: ClusterGate) -> bool:
        """Return whether both are for one Gateway, or one of its listeners."""
        if not isinstance(other, EnvoyGatewayGate):
            return False
        shorter, longer = sorted((self.gateway, other.gateway), key=len)
        return f"{longer}/".startswith(f"{shorter}/")

    @field_validator("gateway")
    @classmethod
    def _a_listener_keeps_its_settings(cls, gateway: str, info: ValidationInfo) -> str:
        if gateway.count("/") > 1 and info.data.get("max_stream_duration_seconds") is not None:
            raise fault(
                "maxStreamDuration at one listener would replace all settings of the Gateway's own"
                " ClientTrafficPolicy there",
                "leave maxStreamDuration out, or guard the whole Gateway: NAMESPACE/NAME",
            )
        return gateway

    @field_validator("check", mode="before")
    @classmethod
    def _its_jwt_filter_is_no_check(cls, check: object) -> object:
        if check == "jwt":
            raise fault(
                "Envoy Gateway splits the claim kubernetes.io.secret.uid at its dots and does not"
                " find it, so revoked tokens would pass",
                "write check: review",
            )
        return check


class EnvoyGate(Gate):
    """A gate of Envoy on one machine."""

    engine: Changed[Literal["envoy"]]


AnyGate: TypeAlias = Annotated[
    IstioGate | EnvoyGatewayGate | EnvoyGate, SelectedBy(key="engine", default="istio")
]
