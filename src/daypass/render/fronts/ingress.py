"""The fronts ingress and ingress-nginx, and ingress-nginx without a door (`direct`).

`ingress` is for any controller, by a plain Prefix; whether it speaks TLS to a Service and verifies
it is up to the controller. `ingress-nginx` verifies the door's TLS. `direct` leads straight to the
API server by a regex and a rewrite, and refuses much less than the door: see docs/fronts/direct.md.
"""

import base64

from daypass.config.models import IN_CLUSTER
from daypass.render.objects import (
    API_SERVER_AUTHORITY,
    DOOR,
    DOOR_PAIR,
    SERVICE_PORT,
    Object,
    RenderError,
    annotated,
    door_host,
    new_object,
)
from daypass.render.published_domain import PublishedDomain


def ingress(domain: PublishedDomain) -> list[Object]:
    """Return the Ingress of a domain for any controller."""
    spec = _spec(domain, domain.domain.class_name, domain.config.prefix, "Prefix", DOOR)
    return [_ingress(domain, spec, {})]


def _ingress(domain: PublishedDomain, spec: Object, annotations: dict[str, str]) -> Object:
    document = new_object(
        "networking.k8s.io/v1", "Ingress", domain.object_name, domain.namespace, spec=spec
    )
    return annotated(document, {**annotations, **domain.dns_annotations})


def _spec(
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


def ingress_nginx(domain: PublishedDomain) -> list[Object]:
    """Return the Ingress of a domain for ingress-nginx."""
    spec = _spec(domain, _class_of(domain), domain.config.prefix, "Prefix", DOOR)
    annotations = _verified_tls(f"{domain.namespace}/{DOOR_PAIR}", door_host(domain.config))
    return [_ingress(domain, spec, annotations)]


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


def direct(domain: PublishedDomain) -> list[Object]:
    """Return the Ingress of a domain that leads to the API server.

    It is in `default`, the namespace of the Service `kubernetes`.
    """
    config = domain.config
    if config.cluster.server != IN_CLUSTER:
        raise RenderError(
            f"domains.{domain.name}.direct leads to the Service of the API server, and"
            f" cluster.server names {config.cluster.server}",
            f"leave cluster.server out (it is {IN_CLUSTER}), or direct",
        )
    path = f"{config.prefix}({_TAIL})$"
    spec = _spec(domain, _class_of(domain), path, "ImplementationSpecific", "kubernetes")
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
    return [_ingress(domain, spec, annotations)]


def api_server_authority(domain: PublishedDomain) -> list[Object]:
    """Return the API server's authority, if the config names it; one for all domains.

    It is no secret, but nginx reads it only from a Secret.
    """
    if domain.config.cluster.certificate_authority is None:
        return []
    data = {"ca.crt": base64.b64encode(domain.facts.authority_pem.encode()).decode()}
    return [new_object("v1", "Secret", API_SERVER_AUTHORITY, domain.namespace, data=data)]
