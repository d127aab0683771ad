"""The objects of an ingress or gateway that publish a domain and route the prefix to the door.

- **istio**: a Gateway for the host (or an existing one), a VirtualService, and a DestinationRule
  that verifies the door.
- **gateway-api**: an HTTPRoute on a listener with TLS, and a BackendTLSPolicy that verifies the
  door.
- **ingress-nginx**: an Ingress with annotations that verify the door.
- **ingress**: an Ingress for any controller, by a plain Prefix; whether it speaks TLS to a Service
  and verifies it is up to the controller.
- **direct** (ingress-nginx without a door): a regex and a rewrite that lead to the API server, and
  refuse much less than the door: see docs/how-to/ingresses/direct.md.

All of them speak TLS to the door; those that can verify it do so by authority and name. None serves
or redirects the prefix over plain http: redirects are turned off, and the door refuses requests
that the front received over plain http.
"""

import base64
from collections.abc import Callable

from daypass._core.objects import Object, new_object
from daypass.config.models import IN_CLUSTER
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.names import API_SERVER_AUTHORITY, DOOR, DOOR_PAIR, SERVICE_PORT, door_host
from daypass.render.published_domain import PublishedDomain

_ISTIO_VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1")
_USUAL_SELECTOR = {"istio": "ingressgateway"}
_TIMEOUT = "30s"
"""Longer than the door's own timeouts, whose responses say what was too slow."""


def _istio(domain: PublishedDomain) -> list[Object]:
    if domain.domain.gateway is None and domain.pair_secret is None:
        raise RenderError(
            f"domains.{domain.name} has its certificate outside, and names no Gateway",
            "write gateway: NAMESPACE/NAME, or tls: {secret: NAME}",
        )
    gateway = domain.domain.gateway or f"{domain.front_namespace}/{domain.object_name}"
    made = [] if domain.domain.gateway is not None else [_istio_gateway(domain)]
    return [*made, _virtual_service(domain, gateway)]


def destination_rule(
    facts: ClusterFacts, service: str, namespace: str, trust: str, certificate_name: str
) -> Object:
    """Return how Istio speaks TLS to a Service; one for all domains.

    It verifies the Service by name, and by the authority in the Secret `trust`, for which it looks
    in the namespace of the gateway's pods.
    """
    tls = {
        "mode": "SIMPLE",
        "credentialName": trust,
        "sni": certificate_name,
        # Without it Istio verifies the chain and accepts every name.
        "subjectAltNames": [certificate_name],
    }
    version = facts.api_version("DestinationRule", *_ISTIO_VERSIONS)
    spec = {"host": service, "trafficPolicy": {"tls": tls}}
    return new_object(version, "DestinationRule", service, namespace, spec=spec)


def _istio_gateway(domain: PublishedDomain) -> Object:
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        # VirtualServices of other namespaces get no requests to this host from this server.
        "hosts": [f"{domain.namespace}/{domain.domain.host}"],
        "tls": {
            "mode": "SIMPLE",
            "credentialName": domain.pair_secret,
            "minProtocolVersion": "TLSV1_2",
        },
    }
    return new_object(
        domain.facts.api_version("Gateway", *_ISTIO_VERSIONS),
        "Gateway",
        domain.object_name,
        domain.front_namespace or "",
        annotations=domain.dns_annotations,
        spec={"selector": dict(_USUAL_SELECTOR), "servers": [server]},
    )


def _virtual_service(domain: PublishedDomain, gateway: str) -> Object:
    prefix = domain.config.prefix
    route = {
        # Envoy's route has it, too: docs/how-to/ingresses/istio.md takes that past a login.
        "name": domain.object_name,
        # With a slash: Istio compares text, and would also match /kubernetesx.
        "match": [{"uri": {"prefix": f"{prefix}/"}}, {"uri": {"exact": prefix}}],
        "route": [{"destination": {"host": DOOR, "port": {"number": SERVICE_PORT}}}],
        # Only if no door was reached: some of Istio's defaults also repeat what got a 503.
        "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
        "timeout": _TIMEOUT,
    }
    return new_object(
        domain.facts.api_version("VirtualService", *_ISTIO_VERSIONS),
        "VirtualService",
        domain.object_name,
        domain.namespace,
        annotations=domain.dns_annotations if domain.domain.gateway else {},
        spec={"gateways": [gateway], "hosts": [domain.domain.host], "http": [route]},
    )


GATEWAY_API = "gateway.networking.k8s.io"
_LISTENER = "https"


def _gateway_api(domain: PublishedDomain) -> list[Object]:
    if domain.domain.gateway is not None:
        return [_route(domain)]
    if domain.domain.class_name is None or domain.pair_secret is None:
        raise RenderError(
            f"domains.{domain.name} names no Gateway, and lacks what a new one needs",
            "write gateway: NAMESPACE/NAME, or className and tls: {secret: NAME}",
        )
    return [
        _gateway_api_gateway(domain, domain.domain.class_name, domain.pair_secret),
        _route(domain),
    ]


def backend_tls_policy(
    facts: ClusterFacts, service: str, namespace: str, trust: str, certificate_name: str
) -> Object:
    """Return how implementations of Gateway API speak TLS to a Service; one for all domains.

    The authority is in the ConfigMap `trust`, which every implementation reads; Istio reads no
    Secret here.
    """
    spec = {
        "targetRefs": [{"group": "", "kind": "Service", "name": service}],
        "validation": {
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": trust}],
            "hostname": certificate_name,
        },
    }
    versions = (f"{GATEWAY_API}/v1", f"{GATEWAY_API}/v1alpha3")
    version = facts.api_version("BackendTLSPolicy", *versions)
    return new_object(version, "BackendTLSPolicy", service, namespace, spec=spec)


def _gateway_api_gateway(domain: PublishedDomain, class_name: str, secret: str) -> Object:
    listener = {
        "name": _LISTENER,
        "port": 443,
        "protocol": "HTTPS",
        "hostname": domain.domain.host,
        "tls": {"mode": "Terminate", "certificateRefs": [{"name": secret}]},
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    return new_object(
        f"{GATEWAY_API}/v1",
        "Gateway",
        domain.object_name,
        domain.namespace,
        spec={"gatewayClassName": class_name, "listeners": [listener]},
    )


def gateway_of(domain: PublishedDomain) -> tuple[str, str, str]:
    """Return namespace, name and listener of the Gateway that publishes a domain."""
    named = domain.domain.gateway or f"{domain.namespace}/{domain.object_name}"
    namespace, name, *listener = named.split("/")
    return namespace, name, listener[0] if listener else _LISTENER


def _route(domain: PublishedDomain) -> Object:
    namespace, name, listener = gateway_of(domain)
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": domain.config.prefix}}],
        "backendRefs": [{"name": DOOR, "port": SERVICE_PORT}],
    }
    spec = {
        # One listener, by name: another one might serve the prefix over plain http.
        "parentRefs": [{"namespace": namespace, "name": name, "sectionName": listener}],
        "hostnames": [domain.domain.host],
        "rules": [rule],
    }
    return new_object(
        f"{GATEWAY_API}/v1",
        "HTTPRoute",
        domain.object_name,
        domain.namespace,
        annotations=domain.dns_annotations,
        spec=spec,
    )


def _ingress(domain: PublishedDomain) -> list[Object]:
    spec = _ingress_spec(domain, domain.domain.class_name, domain.config.prefix, "Prefix", DOOR)
    return [_new_ingress(domain, spec, {})]


def _new_ingress(domain: PublishedDomain, spec: Object, annotations: dict[str, str]) -> Object:
    return new_object(
        "networking.k8s.io/v1",
        "Ingress",
        domain.object_name,
        domain.namespace,
        annotations={**annotations, **domain.dns_annotations},
        spec=spec,
    )


def _ingress_spec(
    domain: PublishedDomain, class_name: str | None, path: str, path_type: str, service: str
) -> Object:
    backend = {"service": {"name": service, "port": {"number": SERVICE_PORT}}}
    paths = [{"path": path, "pathType": path_type, "backend": backend}]
    spec: Object = {"rules": [{"host": domain.domain.host, "http": {"paths": paths}}]}
    if class_name is not None:
        spec["ingressClassName"] = class_name
    if domain.pair_secret is not None:
        spec["tls"] = [{"hosts": [domain.domain.host], "secretName": domain.pair_secret}]
    return spec


def _ingress_nginx(domain: PublishedDomain) -> list[Object]:
    spec = _ingress_spec(domain, _class_of(domain), domain.config.prefix, "Prefix", DOOR)
    annotations = _verified_tls(f"{domain.namespace}/{DOOR_PAIR}", door_host(domain.config))
    return [_new_ingress(domain, spec, annotations)]


def _class_of(domain: PublishedDomain) -> str:
    return domain.domain.class_name or "nginx"


def _verified_tls(secret: str, name: str) -> dict[str, str]:
    """Return annotations for TLS to a backend, verified by name and by the authority in a Secret.

    The controller silently ignores a value that it does not know, and then verifies nothing: only
    `"on"` turns verification on. `secret` includes its namespace.
    """
    return _annotations(
        {
            "backend-protocol": "HTTPS",
            "proxy-ssl-verify": "on",
            "proxy-ssl-verify-depth": "2",
            "proxy-ssl-secret": secret,
            "proxy-ssl-name": name,
            "proxy-ssl-server-name": "on",
            # Plain http is not redirected: the door refuses it and says why.
            "ssl-redirect": "false",
            "force-ssl-redirect": "false",
        }
    )


def _annotations(values: dict[str, str]) -> dict[str, str]:
    return {f"nginx.ingress.kubernetes.io/{key}": value for key, value in values.items()}


_TAIL = "/api/v1/namespaces/[a-z0-9-]+/serviceaccounts/[a-z0-9.-]+/token"
"""In characters that the controller allows in a path. It ignores case, and `$` also matches before
a line feed at the end."""


def _direct(domain: PublishedDomain) -> list[Object]:
    # It is in `default`, the namespace of the Service `kubernetes`.
    config = domain.config
    if config.cluster.server != IN_CLUSTER:
        raise RenderError(
            f"domains.{domain.name}.direct leads to the Service of the API server, and"
            f" cluster.server names {config.cluster.server}",
            f"leave cluster.server out (it is {IN_CLUSTER}), or direct",
        )
    path = f"{config.prefix}({_TAIL})$"
    spec = _ingress_spec(domain, _class_of(domain), path, "ImplementationSpecific", "kubernetes")
    annotations = {
        **_verified_tls(f"{domain.namespace}/{API_SERVER_AUTHORITY}", config.cluster.server_name),
        **_annotations(
            {
                "use-regex": "true",
                "rewrite-target": "/$1",
                "proxy-body-size": f"{config.limits.request_body_bytes}",
                "limit-rps": f"{config.limits.per_source_per_second}",
                # No door behind the front could refuse plain http.
                **({"force-ssl-redirect": "true"} if domain.ends_tls else {}),
            }
        ),
    }
    return [_new_ingress(domain, spec, annotations)]


def api_server_authority(domain: PublishedDomain) -> list[Object]:
    """Return the API server's authority, if the config names it; one for all domains.

    It is no secret, but nginx reads it only from a Secret.
    """
    if domain.config.cluster.certificate_authority is None:
        return []
    data = {"ca.crt": base64.b64encode(domain.facts.authority_pem.encode()).decode()}
    return [new_object("v1", "Secret", API_SERVER_AUTHORITY, domain.namespace, data=data)]


_FRONTS: dict[str, Callable[[PublishedDomain], list[Object]]] = {
    "gateway-api": _gateway_api,
    "ingress": _ingress,
    "ingress-nginx": _ingress_nginx,
    "istio": _istio,
}


def front_objects(domain: PublishedDomain) -> list[Object]:
    """Return what publishes a domain. Raises RenderError if its config leaves something open."""
    front = _direct if domain.domain.direct else _FRONTS[domain.domain.front]
    return front(domain)
