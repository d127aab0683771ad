"""Who reaches the authorizer, whom it reaches, and how many there are."""

from daypass.render.door.network import NAMESPACE_NAME, to_api_server
from daypass.render.names import GATE, SERVICE_PORT
from daypass.render.objects import Object, new_object
from daypass.spec import Config, Gate

PORT, STATUS_PORT = 9443, 9003
SELECTOR = {"app.kubernetes.io/name": GATE}
GROWTH = 4
"""So many times `gate.replicas` at most."""
_FRONTS = {"istio": "istio-system", "envoy-gateway": "envoy-gateway-system"}


def gateway_namespace(gate: Gate) -> str:
    """Where the pods are that ask the authorizer."""
    return gate.front_namespace or _FRONTS[gate.engine]


def service(namespace: str) -> Object:
    """What gateways ask. The port of probes and metrics is not among its own."""
    port = {"name": "https", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "https"}
    spec = {"type": "ClusterIP", "selector": dict(SELECTOR), "ports": [port]}
    return new_object("v1", "Service", GATE, namespace, spec=spec)


def network_policy(config: Config, gate: Gate) -> Object:
    """The gateway comes in, on one port; whoever gathers metrics on the other."""
    front = {NAMESPACE_NAME: gateway_namespace(gate)}
    spec = {
        "podSelector": {"matchLabels": dict(SELECTOR)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": front}}],
                "ports": [{"port": PORT, "protocol": "TCP"}],
            },
            {"ports": [{"port": STATUS_PORT, "protocol": "TCP"}]},
        ],
        "egress": to_api_server(config),
    }
    return new_object(
        "networking.k8s.io/v1", "NetworkPolicy", GATE, config.door.namespace, spec=spec
    )


def disruption_budget(namespace: str) -> Object:
    """One at a time; one that is not ready is in nobody's way."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": dict(SELECTOR)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return new_object("policy/v1", "PodDisruptionBudget", GATE, namespace, spec=spec)


def autoscaler(namespace: str, replicas: int) -> Object:
    """By CPU. Without a metrics server it still keeps the least number."""
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATE},
        "minReplicas": replicas,
        "maxReplicas": replicas * GROWTH,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return new_object("autoscaling/v2", "HorizontalPodAutoscaler", GATE, namespace, spec=spec)
