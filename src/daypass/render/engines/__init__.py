"""The gateway that has the gate in a cluster.

An Engine (`engine`) is one kind, each in a module of its own: the objects that make a gateway check
tokens, and what they need. A new kind is a section of `config/gate.py`, a module here, an entry in
`engines`, and what such a gateway serves in `analysis.routes`.
"""

from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines.engine import AnyEngine

_NO_FACTS = ClusterFacts()


def engines() -> tuple[type[AnyEngine], ...]:
    """Return every kind. They are imported here: most commands need none of them."""
    from daypass.render.engines.envoy_gateway import EnvoyGatewayEngine
    from daypass.render.engines.istio import IstioEngine

    return IstioEngine, EnvoyGatewayEngine


def engines_of(config: Config, facts: ClusterFacts = _NO_FACTS) -> tuple[AnyEngine, ...]:
    """Return the engines of a config's gates in a cluster, by the gates' names.

    `facts`: for their objects.
    """
    if not (gates := config.cluster_gates):
        return ()
    kinds = {engine.gate_type: engine for engine in engines()}
    return tuple(
        kinds[type(gate)](name=name, gate=gate, config=config, facts=facts)
        for name, gate in gates.items()
    )
