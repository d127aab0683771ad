"""ingress-nginx straight to the API server, by a regex and a rewrite, without a door.

For those who must. It refuses much less than the door does; docs/fronts/direct.md has the table.
"""

import base64

from daypass.render.errors import RenderError
from daypass.render.fronts.ingress import ingress_object, ingress_spec
from daypass.render.fronts.ingress_nginx import class_of, verified_tls
from daypass.render.names import API_SERVER_AUTHORITY
from daypass.render.objects import Object, new_object
from daypass.render.published import Published
from daypass.spec.cluster import IN_CLUSTER

SERVICE = "kubernetes"
_NGINX = "nginx.ingress.kubernetes.io"
_TAIL = "/api/v1/namespaces/[a-z0-9-]+/serviceaccounts/[a-z0-9.-]+/token"
"""In characters that the controller lets into a path. It matches without regard to case, and a
`$` also before a line feed at the end."""


def direct(domain: Published) -> list[Object]:
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


def api_server_authority(domain: Published) -> list[Object]:
    """What nginx trusts the API server by, where the config names it; one for all domains.

    It is no secret, but nginx looks for it in a Secret alone.
    """
    if domain.config.cluster.certificate_authority is None:
        return []
    data = {"ca.crt": base64.b64encode(domain.facts.authority_pem.encode()).decode()}
    return [new_object("v1", "Secret", API_SERVER_AUTHORITY, domain.namespace, data=data)]
