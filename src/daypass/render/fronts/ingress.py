"""Any ingress controller, by a plain Prefix. What is not in the standard is up to the controller:
whether it speaks TLS to a Service, and whether it verifies it.
"""

from daypass.render.names import DOOR, SERVICE_PORT
from daypass.render.objects import Object, annotated, new_object
from daypass.render.published import Published


def ingress(domain: Published) -> list[Object]:
    """The Ingress of a domain."""
    spec = ingress_spec(domain, domain.domain.class_name, domain.config.prefix, "Prefix", DOOR)
    return [ingress_object(domain, spec, {})]


def ingress_object(domain: Published, spec: Object, annotations: dict[str, str]) -> Object:
    """The Ingress of a domain with this spec."""
    document = new_object(
        "networking.k8s.io/v1", "Ingress", domain.object_name, domain.namespace, spec=spec
    )
    return annotated(document, {**annotations, **domain.dns_annotations})


def ingress_spec(
    domain: Published, class_name: str | None, path: str, path_type: str, service: str
) -> Object:
    """The spec of an Ingress for one host and one path."""
    backend = {"service": {"name": service, "port": {"number": SERVICE_PORT}}}
    paths = [{"path": path, "pathType": path_type, "backend": backend}]
    spec: Object = {"rules": [{"host": domain.domain.host, "http": {"paths": paths}}]}
    if class_name is not None:
        spec["ingressClassName"] = class_name
    if domain.pair_secret is not None:
        spec["tls"] = [{"hosts": [domain.domain.host], "secretName": domain.pair_secret}]
    return spec
