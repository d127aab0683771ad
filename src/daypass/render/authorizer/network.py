"""Who reaches the authorizer, and whom it reaches."""

from daypass.render.door.network import NAMESPACE_NAME, to_api_server
from daypass.render.names import GATE, SERVICE_PORT
from daypass.render.objects import Object, new_object
from daypass.spec import Config, Gate

PORT, STATUS_PORT = 9443, 9003
SELECTOR = {"app.kubernetes.io/name": GATE}
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
