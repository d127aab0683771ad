"""A cluster in which all kinds of fronts publish hosts already, for what looks around in it."""

from __future__ import annotations

from contextlib import closing

import yaml

from support.clusters import admin_cluster
from support.controlplane import ControlPlane

OBJECTS = """\
{apiVersion: v1, kind: Namespace, metadata: {name: rok}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: istio-ingress}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: serving}}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: public}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: alb}
spec: {controller: ingress.k8s.aws/alb}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: rok, namespace: rok}
spec:
  ingressClassName: public
  tls: [{hosts: [ekf.test], secretName: ekf}]
  rules:
  - host: ekf.test
    http:
      paths:
      - {path: /rok, pathType: Prefix, backend: {service: {name: rok, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: theirs, namespace: rok}
spec:
  ingressClassName: public
  rules:
  - host: taken.test
    http:
      paths:
      - path: /kubernetes/api
        pathType: Prefix
        backend: {service: {name: theirs, port: {number: 80}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: daypass-domain-mine
  namespace: rok
  labels: {app.kubernetes.io/managed-by: daypass, app.kubernetes.io/part-of: daypass}
spec:
  ingressClassName: public
  rules:
  - host: mine.test
    http:
      paths:
      - path: /kubernetes
        pathType: Prefix
        backend: {service: {name: daypass-door, port: {number: 443}}}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: letsencrypt}
spec: {selfSigned: {}}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-ingress, labels: {istio: ingressgateway}}
spec: {ports: [{port: 443}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: serving}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["*/*.serving.test"]
    tls: {mode: SIMPLE, credentialName: serving}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: model, namespace: serving}
spec:
  hosts: [models.serving.test]
  gateways: [public]
  http:
  - match: [{uri: {prefix: /kube}}]
    route: [{destination: {host: model}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.test/eg}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: eg, namespace: serving}
spec:
  gatewayClassName: eg
  listeners:
  - name: web
    port: 443
    protocol: HTTPS
    hostname: gw.test
    tls: {certificateRefs: [{name: gw}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: theirs, namespace: serving}
spec:
  hostnames: [gw.test]
  rules:
  - matches: [{path: {type: Exact, value: /kubernetes}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: external-dns, namespace: serving}
spec:
  selector: {matchLabels: {app: external-dns}}
  template:
    metadata: {labels: {app: external-dns}}
    spec: {containers: [{name: external-dns, image: external-dns}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: api
  namespace: default
  labels: {kubernetes.io/service-name: kubernetes}
addressType: IPv4
endpoints: [{addresses: [10.1.0.2]}, {addresses: [10.1.0.1]}]
"""


def furnish(plane: ControlPlane) -> None:
    """Make the objects; the kinds have to be there."""
    with closing(admin_cluster(plane)) as cluster:
        for document in yaml.safe_load_all(OBJECTS):
            cluster.create(document)
