"""Any ingress controller, by a plain Prefix. What is not in the standard is up to the controller:
whether it speaks TLS to a Service, and whether it verifies it.

ingress-nginx to the door: verified TLS, and no redirect of what came in the clear.

ingress-nginx straight to the API server, by a regex and a rewrite, without a door.

For those who must. It refuses much less than the door does; docs/fronts/direct.md has the table.
"""

import base64

from daypass.config.models import IN_CLUSTER
from daypass.render.errors import RenderError
from daypass.render.objects import (
    API_SERVER_AUTHORITY,
    DOOR,
    DOOR_PAIR,
    SERVICE_PORT,
    Object,
    annotated,
    door_host,
    new_object,
)
from daypass.render.published_domain import PublishedDomain


def ingress(domain: PublishedDomain) -> list[Object]:
    """The Ingress of a domain."""
    spec = ingress_spec(domain, domain.domain.class_name, domain.config.prefix, "Prefix", DOOR)
    return [ingress_object(domain, spec, {})]


def ingress_object(domain: PublishedDomain, spec: Object, annotations: dict[str, str]) -> Object:
    """The Ingress of a domain with this spec."""
    document = new_object(
        "networking.k8s.io/v1", "Ingress", domain.object_name, domain.namespace, spec=spec
    )
    return annotated(document, {**annotations, **domain.dns_annotations})


def ingress_spec(
    domain: PublishedDomain, class_name: str | None, path: str, path_type: str, service: str
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


USUAL_CLASS = "nginx"


def ingress_nginx(domain: PublishedDomain) -> list[Object]:
    """The Ingress of a domain."""
    spec = ingress_spec(domain, class_of(domain), domain.config.prefix, "Prefix", DOOR)
    annotations = verified_tls(f"{domain.namespace}/{DOOR_PAIR}", door_host(domain.config))
    return [ingress_object(domain, spec, annotations)]


def class_of(domain: PublishedDomain) -> str:
    """The IngressClass."""
    return domain.domain.class_name or USUAL_CLASS


def verified_tls(secret: str, name: str) -> dict[str, str]:
    """Annotations for TLS to a backend that is known by the authority in a Secret and by name.

    The controller drops a value that it does not know without a word, and verifies nothing then:
    `"on"` is the only one that turns it on. The Secret is written with its namespace.
    """
    return _annotations(
        {
            "backend-protocol": "HTTPS",
            "proxy-ssl-verify": "on",
            "proxy-ssl-verify-depth": "2",
            "proxy-ssl-secret": secret,
            "proxy-ssl-name": name,
            "proxy-ssl-server-name": "on",
            # What came in the clear is not redirected: the door refuses it and says why.
            "ssl-redirect": "false",
            "force-ssl-redirect": "false",
        }
    )


def _annotations(values: dict[str, str]) -> dict[str, str]:
    return {f"nginx.ingress.kubernetes.io/{key}": value for key, value in values.items()}


SERVICE = "kubernetes"
_NGINX = "nginx.ingress.kubernetes.io"
_TAIL = "/api/v1/namespaces/[a-z0-9-]+/serviceaccounts/[a-z0-9.-]+/token"
"""In characters that the controller lets into a path. It matches without regard to case, and a
`$` also before a line feed at the end."""


def direct(domain: PublishedDomain) -> list[Object]:
    """The Ingress of a domain.

    Its Service is `kubernetes` in `default`, so the Ingress is there, too.
    """
    config = domain.config
    if config.cluster.server != IN_CLUSTER:
        raise RenderError(
            f"domains.{domain.name}.direct leads to the Service of the API server, and"
            f" cluster.server names {config.cluster.server}",
            f"leave cluster.server out (it is {IN_CLUSTER}), or direct",
        )
    path = f"{config.prefix}({_TAIL})$"
    spec = ingress_spec(domain, class_of(domain), path, "ImplementationSpecific", SERVICE)
    annotations = {
        **verified_tls(f"{domain.namespace}/{API_SERVER_AUTHORITY}", config.cluster.server_name),
        f"{_NGINX}/use-regex": "true",
        f"{_NGINX}/rewrite-target": "/$1",
        f"{_NGINX}/proxy-body-size": f"{config.limits.request_body_bytes}",
        f"{_NGINX}/limit-rps": f"{config.limits.per_source_per_second}",
    }
    if domain.ends_tls:
        # Nobody stands behind the front who could refuse plain http.
        annotations[f"{_NGINX}/force-ssl-redirect"] = "true"
    return [ingress_object(domain, spec, annotations)]


def api_server_authority(domain: PublishedDomain) -> list[Object]:
    """What nginx trusts the API server by, where the config names it; one for all domains.

    It is no secret, but nginx looks for it in a Secret alone.
    """
    if domain.config.cluster.certificate_authority is None:
        return []
    data = {"ca.crt": base64.b64encode(domain.facts.authority_pem.encode()).decode()}
    return [new_object("v1", "Secret", API_SERVER_AUTHORITY, domain.namespace, data=data)]
