"""Who reaches the door, and whom the door reaches.

Who reaches the authorizer, and whom it reaches.
"""

from daypass._core.net import is_address
from daypass.config import Config, Gate
from daypass.render.door_pod import HTTPS_PORT
from daypass.render.objects import DOOR, GATE, SERVICE_PORT, Object, annotated, new_object
from daypass.render.published_domain import PublishedDomain

DOOR_SELECTOR = {"app.kubernetes.io/name": DOOR}

USUAL_API_SERVER_PORTS = (443, 6443)
"""Of the Service, and behind it: a NetworkPolicy is asked after the address was translated."""
NAMESPACE_NAME = "kubernetes.io/metadata.name"


def door_service(config: Config, domains: list[PublishedDomain]) -> Object:
    """What the fronts lead to. The port of the probes is not among its own."""
    document = new_object(
        "v1",
        "Service",
        DOOR,
        config.door.namespace,
        spec={
            "type": "ClusterIP",
            "selector": dict(DOOR_SELECTOR),
            "ports": [
                # Traefik and others speak TLS to a port of this name.
                {"name": "https", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "https"}
            ],
        },
    )
    if any(domain.domain.front == "ingress" for domain in domains):
        # Contour knows of TLS to a Service by this alone.
        return annotated(document, {"projectcontour.io/upstream-protocol.tls": str(SERVICE_PORT)})
    return document


def door_network_policy(config: Config, domains: list[PublishedDomain]) -> Object:
    """Only the fronts come in, on one port; only DNS and the API server are reached.

    A front whose namespace is not known opens the one port to every pod.
    """
    spec = {
        "podSelector": {"matchLabels": dict(DOOR_SELECTOR)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{**_from(domains), "ports": [_port(HTTPS_PORT)]}],
        "egress": to_api_server(config),
    }
    return new_object(
        "networking.k8s.io/v1", "NetworkPolicy", DOOR, config.door.namespace, spec=spec
    )


def _from(domains: list[PublishedDomain]) -> Object:
    namespaces = {domain.front_namespace for domain in domains}
    if None in namespaces:
        return {}
    selectors = [
        {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}}
        for name in sorted(filter(None, namespaces))
    ]
    return {"from": selectors}


def to_api_server(config: Config) -> list[Object]:
    """DNS and the API server, as egress rules."""
    cluster = config.cluster
    addresses = set(cluster.addresses)
    rules: list[Object] = []
    if is_address(cluster.server_host):
        addresses.add(cluster.server_host)
    else:
        rules.append({"ports": [_port(53, "UDP"), _port(53)]})
    ports = sorted({cluster.server_port, *USUAL_API_SERVER_PORTS})
    rule: Object = {"ports": [_port(port) for port in ports]}
    if addresses:
        rule["to"] = [{"ipBlock": {"cidr": _single(address)}} for address in sorted(addresses)]
    return [*rules, rule]


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _port(port: int, protocol: str = "TCP") -> Object:
    return {"port": port, "protocol": protocol}


PORT, STATUS_PORT = 9443, 9003
AUTHORIZER_SELECTOR = {"app.kubernetes.io/name": GATE}
_FRONTS = {"istio": "istio-system", "envoy-gateway": "envoy-gateway-system"}


def gateway_namespace(gate: Gate) -> str:
    """Where the pods are that ask the authorizer."""
    return gate.front_namespace or _FRONTS[gate.engine]


def authorizer_service(namespace: str) -> Object:
    """What gateways ask. The port of probes and metrics is not among its own."""
    port = {"name": "https", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "https"}
    spec = {"type": "ClusterIP", "selector": dict(AUTHORIZER_SELECTOR), "ports": [port]}
    return new_object("v1", "Service", GATE, namespace, spec=spec)


def authorizer_network_policy(config: Config, gate: Gate) -> Object:
    """The gateway comes in, on one port; whoever gathers metrics on the other."""
    front = {NAMESPACE_NAME: gateway_namespace(gate)}
    spec = {
        "podSelector": {"matchLabels": dict(AUTHORIZER_SELECTOR)},
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
