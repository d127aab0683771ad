"""Istio's gateway: a Gateway for the host (or one that is there), a VirtualService, and a
DestinationRule that verifies the door.

Gateway API: an HTTPRoute on a listener with TLS; a BackendTLSPolicy verifies the door.
"""

from daypass.render.errors import RenderError
from daypass.render.objects import (
    DOOR,
    DOOR_TRUST,
    SERVICE_PORT,
    Object,
    annotated,
    door_host,
    new_object,
)
from daypass.render.published_domain import PublishedDomain

VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1")
_USUAL_SELECTOR = {"istio": "ingressgateway"}
TIMEOUT = "30s"
"""Longer than the door takes, which says in words what was too slow."""


def istio(domain: PublishedDomain) -> list[Object]:
    """Gateway and VirtualService of a domain."""
    if domain.domain.gateway is None and domain.pair_secret is None:
        raise RenderError(
            f"domains.{domain.name} has its certificate outside, and names no Gateway that has it",
            "write gateway: NAMESPACE/NAME, or tls: {secret: NAME}",
        )
    gateway = domain.domain.gateway or f"{domain.front_namespace}/{domain.object_name}"
    made = [] if domain.domain.gateway is not None else [_istio_gateway(domain)]
    return [*made, _virtual_service(domain, gateway)]


def destination_rule(domain: PublishedDomain) -> Object:
    """How Istio speaks to the door; one for all domains, since it belongs to the Service.

    The Secret with the authority is looked for in the namespace of the gateway's pods.
    """
    version, host = _version(domain, "DestinationRule"), door_host(domain.config)
    return verified_service(version, DOOR, domain.namespace, DOOR_TRUST, host)


def verified_service(
    version: str, service: str, namespace: str, trust: str, certificate_name: str
) -> Object:
    """How Istio speaks to a Service of ours: TLS, by the authority in the Secret `trust` and by the
    name that the certificate holds.
    """
    tls = {
        "mode": "SIMPLE",
        "credentialName": trust,
        "sni": certificate_name,
        # Without it Istio verifies the chain and takes every name.
        "subjectAltNames": [certificate_name],
    }
    spec = {"host": service, "trafficPolicy": {"tls": tls}}
    return new_object(version, "DestinationRule", service, namespace, spec=spec)


def _istio_gateway(domain: PublishedDomain) -> Object:
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        # Nobody else's VirtualService can take requests to this host from this server.
        "hosts": [f"{domain.namespace}/{domain.domain.host}"],
        "tls": {
            "mode": "SIMPLE",
            "credentialName": domain.pair_secret,
            "minProtocolVersion": "TLSV1_2",
        },
    }
    document = new_object(
        _version(domain, "Gateway"),
        "Gateway",
        domain.object_name,
        domain.front_namespace or "",
        spec={"selector": dict(_USUAL_SELECTOR), "servers": [server]},
    )
    return annotated(document, domain.dns_annotations)


def _virtual_service(domain: PublishedDomain, gateway: str) -> Object:
    prefix = domain.config.prefix
    route = {
        # With a slash: Istio's prefix is one of text, and would take /kubernetesx as well.
        "match": [{"uri": {"prefix": f"{prefix}/"}}, {"uri": {"exact": prefix}}],
        "route": [{"destination": {"host": DOOR, "port": {"number": SERVICE_PORT}}}],
        # To another door where none was reached. What was sent is sent once: some of Istio's own
        # defaults would also repeat what was answered 503.
        "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
        "timeout": TIMEOUT,
    }
    document = new_object(
        _version(domain, "VirtualService"),
        "VirtualService",
        domain.object_name,
        domain.namespace,
        spec={"gateways": [gateway], "hosts": [domain.domain.host], "http": [route]},
    )
    return annotated(document, domain.dns_annotations if domain.domain.gateway else {})


def _version(domain: PublishedDomain, kind: str) -> str:
    return domain.facts.api_version(kind, *VERSIONS)


_GROUP = "gateway.networking.k8s.io"
LISTENER = "https"


def gateway_api(domain: PublishedDomain) -> list[Object]:
    """HTTPRoute of a domain, and its Gateway where none is named."""
    if domain.domain.gateway is not None:
        return [_route(domain)]
    if domain.domain.class_name is None or domain.pair_secret is None:
        raise RenderError(
            f"domains.{domain.name} names no Gateway, and leaves open what to make one of",
            "write gateway: NAMESPACE/NAME, or className and tls: {secret: NAME}",
        )
    return [
        _gateway_api_gateway(domain, domain.domain.class_name, domain.pair_secret),
        _route(domain),
    ]


def backend_tls_policy(domain: PublishedDomain) -> Object:
    """How implementations speak to the door; one for all domains, since it is the Service's.

    The authority is in a ConfigMap, which every implementation reads; Istio's reads no Secret.
    """
    authority = {"group": "", "kind": "ConfigMap", "name": DOOR_TRUST}
    host = door_host(domain.config)
    spec = {
        "targetRefs": [{"group": "", "kind": "Service", "name": DOOR}],
        "validation": {"caCertificateRefs": [authority], "hostname": host},
    }
    version = domain.facts.api_version("BackendTLSPolicy", f"{_GROUP}/v1", f"{_GROUP}/v1alpha3")
    return new_object(version, "BackendTLSPolicy", DOOR, domain.namespace, spec=spec)


def _gateway_api_gateway(domain: PublishedDomain, class_name: str, secret: str) -> Object:
    listener = {
        "name": LISTENER,
        "port": 443,
        "protocol": "HTTPS",
        "hostname": domain.domain.host,
        "tls": {"mode": "Terminate", "certificateRefs": [{"name": secret}]},
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    return new_object(
        f"{_GROUP}/v1",
        "Gateway",
        domain.object_name,
        domain.namespace,
        spec={"gatewayClassName": class_name, "listeners": [listener]},
    )


def gateway_of(domain: PublishedDomain) -> tuple[str, str, str]:
    """Namespace, name and listener of the Gateway that a domain is published by."""
    named = domain.domain.gateway or f"{domain.namespace}/{domain.object_name}"
    namespace, name, *listener = named.split("/")
    return namespace, name, listener[0] if listener else LISTENER


def _route(domain: PublishedDomain) -> Object:
    namespace, name, listener = gateway_of(domain)
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": domain.config.prefix}}],
        "backendRefs": [{"name": DOOR, "port": SERVICE_PORT}],
    }
    spec = {
        # One listener, by name: on another one the prefix might be served over plain http.
        "parentRefs": [{"namespace": namespace, "name": name, "sectionName": listener}],
        "hostnames": [domain.domain.host],
        "rules": [rule],
    }
    document = new_object(
        f"{_GROUP}/v1", "HTTPRoute", domain.object_name, domain.namespace, spec=spec
    )
    return annotated(document, domain.dns_annotations)
