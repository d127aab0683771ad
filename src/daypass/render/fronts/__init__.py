"""The objects of an ingress or gateway that publish a domain and route the prefix to the door.

All of them speak TLS to the door; those that can verify it do so by authority and name. None serves
or redirects the prefix over plain http: redirects are turned off, and the door refuses requests
that the front received over plain http.
"""

from collections.abc import Callable

from daypass.render.fronts.gateways import gateway_api, istio
from daypass.render.fronts.ingress import direct, ingress, ingress_nginx
from daypass.render.objects import Object
from daypass.render.published_domain import PublishedDomain

_FRONTS: dict[str, Callable[[PublishedDomain], list[Object]]] = {
    "gateway-api": gateway_api,
    "ingress": ingress,
    "ingress-nginx": ingress_nginx,
    "istio": istio,
}


def front_objects(domain: PublishedDomain) -> list[Object]:
    """Return what publishes a domain. Raises RenderError if its config leaves something open."""
    front = direct if domain.domain.direct else _FRONTS[domain.domain.front]
    return front(domain)
