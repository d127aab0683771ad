"""The gateway that has the gate in a cluster.

One module or package is one kind: the objects that make a gateway check tokens, what they need, and
what may bypass them. `engine` says what a kind has to answer, `bypass` reads routes past the gate.
A new kind is a section of `config/gate.py`, a module here, and an entry in `engines`.
"""

from typing import Any

from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines.engine import Engine

AnyEngine = Engine[Any]
_NO_FACTS = ClusterFacts()


def engines() -> tuple[type[AnyEngine], ...]:
    """Return every kind. They are imported here: most commands need none of them."""
    from daypass.render.engines.envoy_gateway import EnvoyGatewayEngine
    from daypass.render.engines.istio.engine import IstioEngine

    return IstioEngine, EnvoyGatewayEngine


def engine_of(config: Config, facts: ClusterFacts = _NO_FACTS) -> AnyEngine | None:
    """Return the engine of a config's gate; None without a gate, or if it is on one machine.

    `facts`: for its objects.
    """
    if (gate := config.cluster_gate) is None:
        return None
    kinds = {engine.gate_type: engine for engine in engines()}
    return kinds[type(gate)](gate=gate, config=config, facts=facts)
