"""The gate of a cluster: what checks at the gateway, and who keeps it up to date."""

from daypass.render.authorizer.workload import authorizer_objects
from daypass.render.facts import KubernetesFacts
from daypass.render.gateway_api import envoy_gateway_gate
from daypass.render.istio.gate import istio_objects
from daypass.render.objects import Object
from daypass.render.watcher.workload import watcher_objects
from daypass.spec import Config


def gate_objects(config: Config, facts: KubernetesFacts) -> list[Object]:
    """The gate's objects; none where there is no gate, or where it is on one machine.

    Raises RenderError where the config leaves something open that they need.
    """
    if config.gate is None or config.gate.engine == "envoy":
        return []
    objects = watcher_objects(config, config.gate) + authorizer_objects(config, config.gate)
    if config.gate.engine == "istio":
        objects += istio_objects(config, facts)
    else:
        objects += envoy_gateway_gate(config, config.gate, facts)
    return objects
