"""The ingress or gateway that publishes a domain and routes the prefix to the door.

One module is one kind: the objects that publish a domain, and what they need. `front` has what
they share (`ingress_controller`: those with an Ingress). A new kind is a section of
`config/domain.py`, a module here, and an entry in FRONTS.

All of them speak TLS to the door; those that can verify it do so by authority and name. None serves
or redirects the prefix over plain http: redirects are turned off, and the door refuses requests
that the front received over plain http.
"""

from typing import Any

from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts.front import Front
from daypass.render.fronts.gateway_api import GatewayApiFront
from daypass.render.fronts.ingress import IngressFront, IngressNginxFront
from daypass.render.fronts.istio import IstioFront

AnyFront = Front[Any]
_NO_FACTS = ClusterFacts()

FRONTS: tuple[type[AnyFront], ...] = (
    IngressNginxFront,
    IngressFront,
    IstioFront,
    GatewayApiFront,
)
"""In the order in which a user may choose one."""


def fronts_of(config: Config, facts: ClusterFacts = _NO_FACTS) -> list[AnyFront]:
    """Return the fronts of a config's domains in a cluster, by the names of the domains.

    `facts`: for their objects.
    """
    kinds = {front.domain_type: front for front in FRONTS}
    return [
        kinds[type(domain)](name=name, domain=domain, config=config, facts=facts)
        for name, domain in config.cluster_domains.items()
    ]
