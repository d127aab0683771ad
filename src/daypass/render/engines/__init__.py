"""The gateway that has the gate in a cluster.

One module or package is one kind: the objects that make a gateway check tokens, what they need, and
what may bypass them. `engine` says what a kind has to answer, `bypass` reads routes past the gate.
A new kind is a section of `config/gate.py`, a module here, and an entry in ENGINES.
"""

from typing import Any

from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines.engine import Engine
from daypass.render.engines.envoy_gateway import EnvoyGatewayEngine
from daypass.render.engines.istio.engine import IstioEngine

AnyEngine = Engine[Any]
_NO_FACTS = ClusterFacts()

ENGINES: tuple[type[AnyEngine], ...] = (IstioEngine, EnvoyGatewayEngine)


def engine_of(config: Config, facts: ClusterFacts = _NO_FACTS) -> AnyEngine | None:
    """Return the engine of a config's gate; None without a gate, or if it is on one machine.

    `facts`: for its objects.
    """
    gate, kinds = config.cluster_gate, {engine.gate_type: engine for engine in ENGINES}
    return None if gate is None else kinds[type(gate)](gate=gate, config=config, facts=facts)
