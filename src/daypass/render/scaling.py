"""How many pods of a Deployment there are, and that never all of them are away at once."""

from daypass.render.objects import Object, new_object

GROWTH = 4
"""So many times the least number at most. Limits of a replica grow as well."""


def disruption_budget(name: str, namespace: str) -> Object:
    """One at a time; a pod that is not ready is in nobody's way."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return new_object("policy/v1", "PodDisruptionBudget", name, namespace, spec=spec)


def autoscaler(name: str, namespace: str, replicas: int) -> Object:
    """By CPU. Without a metrics server it still keeps the least number."""
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": replicas,
        "maxReplicas": replicas * GROWTH,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return new_object("autoscaling/v2", "HorizontalPodAutoscaler", name, namespace, spec=spec)
