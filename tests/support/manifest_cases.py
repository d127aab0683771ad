"""Configs whose rendered manifests are committed, linted, and applied to a real API server."""

from __future__ import annotations

from dataclasses import dataclass, field

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_folders, render_objects, render_tree
from support.rendered import config_of

AUTHORITY_PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A config and what is known of its cluster."""

    text: str
    facts: ClusterFacts = field(default_factory=ClusterFacts)

    @property
    def config(self) -> Config:
        return config_of(self.text)

    def objects(self) -> list[Object]:
        return render_objects(self.config, self.facts)

    def tree(self) -> dict[str, str]:
        return render_tree(render_folders(self.config, self.facts))


FRONTS = """\
version: 1
domains:
  any:
    host: any.example.com
    front: ingress
    className: traefik
    frontNamespace: traefik
    tls: {issuer: letsencrypt}
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}, dns: external-dns}
  gw: {host: gw.example.com, front: gateway-api, className: eg, tls: {issuer: letsencrypt}}
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}, dns: external-dns}
  here: {host: localhost, front: envoy}
policy: {audiences: [gate.example.com]}
"""

# What is there already: Gateways that have their certificates, an authority of cert-manager's, an
# API server elsewhere. Every key that changes something is set.
THERE = """\
version: 1
cluster:
  server: https://10.0.0.10:6444
  certificateAuthority: ca.crt
  serverName: api.example.com
  addresses: [10.0.0.11, 'fd00::11']
prefix: /apis/kubernetes
domains:
  alb: {host: alb.example.com, front: ingress-nginx, className: internal, tls: outside}
  gw:
    host: gw.example.com
    front: gateway-api
    gateway: infra/public/tls
    frontNamespace: infra
    tls: outside
    dns: external-dns
  istio:
    host: istio.example.com
    front: istio
    gateway: istio-ingress/public
    frontNamespace: istio-ingress
    tls: outside
    dns: external-dns
  serving:
    host: serving.example.com
    front: istio
    tls: {issuer: letsencrypt}
door: {namespace: edge, replicas: 3, trustedHops: 2, certificateIssuer: internal-authority}
limits: {requestsPerSecond: 50, perSourcePerSecond: 5}
"""

ISTIO = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
policy: {audiences: [gate.example.com]}
gates: {default: {audience: gate.example.com}}
gatePods: {image: 'registry.example.com/daypass:1'}
"""

# The gate on Envoy Gateway, with a door on the same Gateway, and a bound for streams.
ENVOY_GATEWAY = """\
version: 1
cluster: {issuer: https://kubernetes.default.svc}
domains:
  ekf: {host: ekf.example.com, front: gateway-api, gateway: infra/public, tls: outside}
gates:
  default:
    audience: gate.example.com
    engine: envoy-gateway
    check: review
    forwardToken: true
    gateway: infra/public
    maxStreamDuration: 1h
gatePods:
  image: registry.example.com/daypass:1
"""

# Three gateways of Istio, two of them in one namespace, and a gate next to a login.
GATES = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
policy:
  audiences: [ekf.example.com, serving.example.com, alice.serving.example.com, inside.example.com]
domains:
  ekf: {host: ekf.example.com, front: istio, tls: {secret: ekf-tls}}
  serving:
    host: serving.example.com
    front: istio
    frontNamespace: istio-ingress
    frontLabels: {istio: serving-gateway}
    tls: {secret: serving-tls}
gates:
  default:
    audience: ekf.example.com
    hosts: [ekf.example.com]
    login: keep
    headers: {user: x-user, groups: x-groups}
    boundTo: [Secret, none]
  serving:
    audience: serving.example.com
    check: review
    hosts: ['{name}.{namespace}.example.com', serving.example.com]
    audiences:
      alice.serving.example.com: ['{name}.alice.example.com', serving.example.com/alice/]
    allow: {namespaces: [alice], identities: [bob/bot]}
    maxStreamDuration: 1h
    gatewayNamespace: istio-ingress
    gatewayLabels: {istio: serving-gateway}
    authorize:
    - {host: '{name}.{namespace}.example.com', resource: inferenceservices.serving.kserve.io}
    - host: serving.example.com
      path: /{namespace}/{name}/
      resource: llminferenceservices.serving.kserve.io
  inside:
    audience: inside.example.com
    check: review
    boundTo: [Secret, Pod]
    hosts: ['{name}.{namespace}.svc.cluster.local']
    gatewayLabels: {istio: cluster-local-gateway}
    authorize:
    - {host: '{name}.{namespace}.svc.cluster.local', resource: inferenceservices.serving.kserve.io}
gatePods: {image: 'registry.example.com/daypass:1'}
"""

# A whole Gateway and two listeners of another one, next to a gateway of Istio, with one authorizer,
# and everything that a monitoring system can have but the dashboard.
METRICS = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  ekf: {host: ekf.example.com, front: gateway-api, gateway: infra/public, tls: outside}
gates:
  ekf:
    engine: envoy-gateway
    audience: ekf.example.com
    hosts: [ekf.example.com]
    gateway: infra/public
  models:
    engine: envoy-gateway
    audience: models.example.com
    hosts: ['{name}.{namespace}.models.example.com']
    gateway: infra/shared/models
  notebooks:
    engine: envoy-gateway
    audience: notebooks.example.com
    hosts: [notebooks.example.com]
    gateway: infra/shared/notebooks
  serving:
    audience: serving.example.com
    check: review
    hosts: [serving.example.com]
gatePods: {image: 'registry.example.com/daypass:1'}
metrics:
  prometheusNamespaces: [monitoring]
  podMonitor: true
  labels: {release: prometheus}
  alerts: true
"""

CASES = {
    "envoy-gateway": Case(text=ENVOY_GATEWAY),
    "fronts": Case(text=FRONTS),
    "gates": Case(text=GATES),
    "istio": Case(text=ISTIO),
    "metrics": Case(text=METRICS),
    "there": Case(text=THERE, facts=ClusterFacts(authority_pem=AUTHORITY_PEM)),
}
