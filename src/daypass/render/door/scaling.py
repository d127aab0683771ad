"""How many doors there are, and that never all of them are away at once."""

from daypass.render.door.workload import SELECTOR
from daypass.render.names import DOOR
from daypass.render.objects import Object, new_object
from daypass.spec import Config

GROWTH = 4
"""So many times `door.replicas` at most. Rate limits are a replica's, so they grow as well."""


def disruption_budget(config: Config) -> Object:
    """One at a time; a door that is not ready is in nobody's way."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": dict(SELECTOR)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return new_object("policy/v1", "PodDisruptionBudget", DOOR, config.door.namespace, spec=spec)


def autoscaler(config: Config) -> Object:
    """By CPU. Without a metrics server it still keeps the least number."""
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": DOOR},
        "minReplicas": config.door.replicas,
        "maxReplicas": config.door.replicas * GROWTH,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return new_object(
        "autoscaling/v2", "HorizontalPodAutoscaler", DOOR, config.door.namespace, spec=spec
    )
