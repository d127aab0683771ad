"""Fronts: what terminates the public name and routes the prefix to the door. One module each.

A front is asked for one domain and gives that domain's objects. All of them speak TLS to the door;
those that can say so verify it by authority and name. None serves or redirects the prefix over
plain http by itself: a front that would redirect is told not to, and the door refuses what a front
says came in the clear.
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
    """What publishes a domain. Raises RenderError where its config leaves something open."""
    front = direct if domain.domain.direct else _FRONTS[domain.domain.front]
    return front(domain)
