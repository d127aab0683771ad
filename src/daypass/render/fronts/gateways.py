"""The fronts istio and gateway-api.

Istio: a Gateway for the host (or an existing one), a VirtualService, and a DestinationRule that
verifies the door. Gateway API: an HTTPRoute on a listener with TLS, and a BackendTLSPolicy that
verifies the door.
"""

from daypass.render.objects import (
    DOOR,
    DOOR_TRUST,
    SERVICE_PORT,
    Object,
    RenderError,
    annotated,
    door_host,
    new_object,
)
from daypass.render.published_domain import PublishedDomain

VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1")
_USUAL_SELECTOR = {"istio": "ingressgateway"}
_TIMEOUT = "30s"
"""Longer than the door's own timeouts, whose responses say what was too slow."""


def istio(domain: PublishedDomain) -> list[Object]:
    """Return Gateway and VirtualService of a domain."""
    if domain.domain.gateway is None and domain.pair_secret is None:
        raise RenderError(
            f"domains.{domain.name} has its certificate outside, and names no Gateway",
            "write gateway: NAMESPACE/NAME, or tls: {secret: NAME}",
        )
    gateway = domain.domain.gateway or f"{domain.front_namespace}/{domain.object_name}"
    made = [] if domain.domain.gateway is not None else [_istio_gateway(domain)]
    return [*made, _virtual_service(domain, gateway)]


def destination_rule(domain: PublishedDomain) -> Object:
    """Return how Istio speaks to the door; one for all domains, since it is for the Service.

    Istio looks for the Secret with the authority in the namespace of the gateway's pods.
    """
    version, host = _version(domain, "DestinationRule"), door_host(domain.config)
    return verified_service(version, DOOR, domain.namespace, DOOR_TRUST, host)


def verified_service(
    version: str, service: str, namespace: str, trust: str, certificate_name: str
) -> Object:
    """Return a DestinationRule: TLS to a Service, verified by name and by the Secret `trust`."""
    tls = {
        "mode": "SIMPLE",
        "credentialName": trust,
        "sni": certificate_name,
        # Without it Istio verifies the chain and accepts every name.
        "subjectAltNames": [certificate_name],
    }
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
        # With a slash: Istio compares text, and would also match /kubernetesx.
        "match": [{"uri": {"prefix": f"{prefix}/"}}, {"uri": {"exact": prefix}}],
        "route": [{"destination": {"host": DOOR, "port": {"number": SERVICE_PORT}}}],
        # Only if no door was reached: some of Istio's defaults also repeat what got a 503.
        "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
        "timeout": _TIMEOUT,
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
    """Return the HTTPRoute of a domain, and its Gateway if none is named."""
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


def backend_tls_policy(domain: PublishedDomain) -> Object:
    """Return how implementations speak to the door; one for all domains, as it is for the Service.

    The authority is in a ConfigMap, which every implementation reads; Istio reads no Secret here.
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
    """Return namespace, name and listener of the Gateway that publishes a domain."""
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
        # One listener, by name: another one might serve the prefix over plain http.
        "parentRefs": [{"namespace": namespace, "name": name, "sectionName": listener}],
        "hostnames": [domain.domain.host],
        "rules": [rule],
    }
    document = new_object(
        f"{_GROUP}/v1", "HTTPRoute", domain.object_name, domain.namespace, spec=spec
    )
    return annotated(document, domain.dns_annotations)
