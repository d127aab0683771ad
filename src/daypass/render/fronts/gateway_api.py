"""Gateway API: an HTTPRoute on a listener with TLS; a BackendTLSPolicy verifies the door."""

from daypass.render.errors import RenderError
from daypass.render.names import DOOR, DOOR_TRUST, SERVICE_PORT, door_host
from daypass.render.objects import Object, annotated, new_object
from daypass.render.published import Published

_GROUP = "gateway.networking.k8s.io"
LISTENER = "https"


def gateway_api(domain: Published) -> list[Object]:
    """HTTPRoute of a domain, and its Gateway where none is named."""
    if domain.domain.gateway is not None:
        return [_route(domain)]
    if domain.domain.class_name is None or domain.pair_secret is None:
        raise RenderError(
            f"domains.{domain.name} names no Gateway, and leaves open what to make one of",
            "write gateway: NAMESPACE/NAME, or className and tls: {secret: NAME}",
        )
    return [_gateway(domain, domain.domain.class_name, domain.pair_secret), _route(domain)]


def backend_tls_policy(domain: Published) -> Object:
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


def _gateway(domain: Published, class_name: str, secret: str) -> Object:
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


def gateway_of(domain: Published) -> tuple[str, str, str]:
    """Namespace, name and listener of the Gateway that a domain is published by."""
    named = domain.domain.gateway or f"{domain.namespace}/{domain.object_name}"
    namespace, name, *listener = named.split("/")
    return namespace, name, listener[0] if listener else LISTENER


def _route(domain: Published) -> Object:
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
