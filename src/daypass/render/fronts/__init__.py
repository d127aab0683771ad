"""Fronts: what terminates the public name and routes the prefix to the door. One module each.

A front is asked for one domain and gives that domain's objects. All of them speak TLS to the door;
those that can say so verify it by authority and name. None serves or redirects the prefix over
plain http by itself: a front that would redirect is told not to, and the door refuses what a front
says came in the clear.
"""

from collections.abc import Callable

from daypass.render.fronts.direct import direct
from daypass.render.fronts.gateway_api import gateway_api
from daypass.render.fronts.ingress import ingress
from daypass.render.fronts.ingress_nginx import ingress_nginx
from daypass.render.fronts.istio import istio
from daypass.render.objects import Object
from daypass.render.published import Published

_FRONTS: dict[str, Callable[[Published], list[Object]]] = {
    "gateway-api": gateway_api,
    "ingress": ingress,
    "ingress-nginx": ingress_nginx,
    "istio": istio,
}


def front_objects(domain: Published) -> list[Object]:
    """What publishes a domain. Raises RenderError where its config leaves something open."""
    front = direct if domain.domain.direct else _FRONTS[domain.domain.front]
    return front(domain)
