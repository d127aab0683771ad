"""The smaller sections of `daypass.yaml`: cluster, door, limits, local, policy, watch, metrics."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from daypass._core.kubernetes.syntax import LONGEST_TOKEN_SECONDS, SHORTEST_TOKEN_SECONDS
from daypass._core.text import did_you_mean
from daypass.config.addresses import (
    Address,
    FilePath,
    Host,
    HttpsOrigin,
    IpAddress,
    Issuer,
    ListenAddress,
    UpstreamOrigin,
    split_origin,
)
from daypass.config.errors import expected, fault, shown
from daypass.config.types import (
    HIGHER,
    Added,
    Audience,
    Changed,
    Duration,
    Harmless,
    Higher,
    Image,
    Label,
    LabelName,
    Opens,
    Section,
    Subdomain,
    Unique,
    User,
)

IN_CLUSTER = "https://kubernetes.default.svc"


POD_FIELDS = (
    "affinity",
    "dnsConfig",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "tolerations",
    "topologySpreadConstraints",
)
"""The fields of a PodSpec that a config may have. They pass unread: the API server checks them."""
_POD_KEYS = (*POD_FIELDS, "labels", "resources")

# Those of a mesh and of Azure add a sidecar, or a ServiceAccount's token, to the pods.
_OWN_LABELS = re.compile(
    r"([^/]*\.)?"
    r"(daypass\.dev|istio\.io|kuma\.io|azure\.workload\.identity|kubernetes\.io|k8s\.io)/"
)


def _own_labels(labels: Mapping[str, str], *at: str) -> Mapping[str, str]:
    """Return labels that have no meaning for daypass, a mesh or Kubernetes."""
    for name in labels:
        if _OWN_LABELS.match(name):
            raise fault(
                f"{shown(name)} has a meaning for daypass, a mesh or Kubernetes",
                "use a prefix of your own, such as example.com/team, or none",
                at=(*at, name),
            )
    return labels


def _pod(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a config says about pods: some fields of Kubernetes, whatever is in them."""
    for key in pod:
        if key not in _POD_KEYS:
            hint = did_you_mean(key, _POD_KEYS, f"known here: {', '.join(_POD_KEYS)}")
            raise fault(f"unknown key {shown(key)}", hint, at=(key,))
    resources = pod.get("resources", {})
    for section in ("labels", "resources"):
        if not isinstance(pod.get(section, {}), dict):
            raise expected("a mapping", at=(section,))
    _own_labels(pod.get("labels", {}), "labels")
    for section, amounts in resources.items():
        if not isinstance(amounts, dict):
            raise expected("a mapping", at=("resources", section))
    plain: Mapping[str, Any] = json.loads(json.dumps(pod))  # lists for tuples
    return plain


OwnLabels: TypeAlias = Annotated[Mapping[LabelName, str], AfterValidator(_own_labels)]
Pod: TypeAlias = Annotated[
    Mapping[str, Any],
    AfterValidator(_pod),
    WithJsonSchema({"type": "object", "propertyNames": {"enum": [*_POD_KEYS]}}),
]


def _host_of_server(validated: dict[str, Any]) -> str:
    return split_origin(validated["server"])[0]


class ClusterConfig(Section):
    """The API server behind the door, and how it is verified."""

    server: Changed[HttpsOrigin] = IN_CLUSTER
    """URL of the API server as seen from the door: https, a host and an optional port."""

    certificate_authority: Changed[FilePath | None] = None
    """PEM file, relative to this file, of the authority that signed the API server's certificate.
    Default in a cluster: the ConfigMap kube-root-ca.crt."""

    server_name: Changed[Host] = Field(default_factory=_host_of_server)
    """The name (or IP address) that the API server's certificate must contain. Default: the host of
    `server`."""

    addresses: Added[Unique[IpAddress]] = ()
    """IP addresses of the API servers (kubectl get endpointslices -n default); the door may connect
    to no others. Default: any address, on the ports of API servers."""

    issuer: Changed[Issuer | None] = None
    """The exact claim `iss` of short-lived tokens. Default: read from the cluster."""

    keys: Changed[FilePath | None] = None
    """JSON Web Key Set, relative to this file, of an API server that does not publish its signing
    keys. Default: read from the cluster, again and again."""

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


class Door(Section):
    """The Deployment that publishes the TokenRequest API."""

    namespace: Harmless[Label] = "daypass"
    """Namespace of the door's objects."""

    replicas: Harmless[int] = Field(default=2, ge=1)
    """Number of the door's Pods at least; an autoscaler adds more, up to four times as many."""

    trusted_hops: Higher[int] = Field(default=1, ge=0)
    """How many proxies in front of the door append to X-Forwarded-For, the ingress or gateway
    included. If this is too large, clients can forge their source address."""

    certificate_issuer: Changed[Subdomain | None] = None
    """ClusterIssuer of cert-manager for the certificate that the door shows to the ingress or
    gateway; not ACME. Default: `daypass apply` makes and renews a certificate."""

    image: Harmless[Image | None] = None
    """A copy of Envoy's official image, of the version that daypass names. Default: that one."""

    pod: Harmless[Pod] = Field(default_factory=dict)
    """Fields of Kubernetes for its Pods, such as nodeSelector."""


class Limits(Section):
    """Rate limits of one replica of the door."""

    requests_per_second: Higher[int] = Field(default=200, ge=1)
    """Requests per second of all clients together; more get 429."""

    per_source_per_second: Higher[int] = Field(default=10, ge=1)
    """Requests per second of one client address; more get 429."""


ApiServer: TypeAlias = Literal["embedded", "external"]


class Local(Section):
    """Door and gate on this machine."""

    door: ListenAddress = Address("127.0.0.1", 8443)
    """Where the door listens: HOST:PORT; port 0 is any free port."""

    gate: ListenAddress = Address("127.0.0.1", 8444)
    """Where the gate listens: HOST:PORT; port 0 is any free port."""

    metrics: ListenAddress | None = None
    """Where the metrics of door and gate are served, over http at /metrics. Default: nowhere."""

    upstream: UpstreamOrigin | None = None
    """What the gate protects. http: HTTP/1.1. https: HTTP/2 if the server offers it. h2c: HTTP/2
    without TLS (gRPC). Default: an echo service."""

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

    longest_lifetime_seconds: Lifetime = 3600
    """Longest lifetime that they may request; a shorter one of a namespace applies to them, too."""


class Policy(Section):
    """The rules for TokenRequests in the namespaces of identities."""

    longest_lifetime_seconds: Lifetime = DEFAULT_LONGEST_LIFETIME_SECONDS
    """Longest lifetime that may be requested, such as 24h, 1h30m, 90d, or seconds."""

    audiences: Added[Unique[Audience]] = Field(
        min_length=1, examples=[["istio-ingressgateway.istio-system.svc.cluster.local"]]
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

    exempt: Added[Unique[User]] = ()
    """User names that the policy does not apply to, in addition to nodes, the control plane and the
    ServiceAccounts of kube-system."""

    mode: Annotated[Mode, Opens("laxer", ("deny", "warn", "audit"))] = "deny"
    """What happens to a request that breaks a rule. deny: it is refused. warn: the token is issued,
    and the client gets a warning. audit: only the audit log of the API server has it."""


class WatchSettings(Section):
    """The watch, which publishes to every gate which credentials exist."""

    close_after_seconds: Annotated[
        int,
        Duration(
            lowest=10,
            highest=86_400,
            why_lowest="the API server is asked three times within it, and may be slow",
            why_highest="a credential that was deleted could be accepted for longer than a day",
        ),
        HIGHER,
    ] = 600
    """How long after the last listing of what exists at the API server the gates still accept
    tokens."""

    credentials_per_namespace: Higher[int] = Field(default=2000, ge=1)
    """How many credentials of one namespace the gates accept: the oldest ones. So no tenant can
    fill them."""


class GatePods(Section):
    """The pods of watch and authorizer, which all gates of a cluster share."""

    image: Harmless[Image | None] = None
    """The image for `daypass gate watch` and `daypass gate serve`, built from the Containerfile.
    Required to render them."""

    replicas: Harmless[int] = Field(default=2, ge=1)
    """With check review, the number of Pods of `daypass gate serve` at least; an autoscaler adds
    more, up to four times as many."""

    pod: Harmless[Pod] = Field(default_factory=dict)
    """Fields of Kubernetes for its Pods, such as nodeSelector."""


class Metrics(Section):
    """Metrics for Prometheus: who may read them, and the objects of the Prometheus Operator and
    Grafana. Default: nobody, and none."""

    prometheus_namespaces: Added[Unique[Label]] = ()
    """Namespaces whose Pods may reach the ports with metrics: of the door (9002), of the watch
    (9004) and of the authorizer (9003)."""

    pod_monitor: Harmless[bool] = False
    """Whether there are PodMonitors for the door, the watch, the authorizer, and the gateways of
    gates."""

    labels: Harmless[OwnLabels] = Field(default_factory=dict)
    """Labels of these objects, by which a Prometheus selects them."""

    alerts: Harmless[bool] = False
    """Whether there is a PrometheusRule with alerts."""

    dashboard: Harmless[bool] = False
    """Whether there is a ConfigMap with a dashboard, which Grafana's sidecar finds by the label
    grafana_dashboard."""

    @model_validator(mode="after")
    def _monitors_reach_the_ports(self) -> "Metrics":
        if self.pod_monitor and not self.is_served:
            raise fault(
                "no Pod may reach the ports with metrics",
                "add prometheusNamespaces: [NAMESPACE], with the namespace of Prometheus",
            )
        return self

    @property
    def is_served(self) -> bool:
        """Whether anyone may reach the ports with metrics."""
        return bool(self.prometheus_namespaces)
