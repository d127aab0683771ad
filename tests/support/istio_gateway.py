"""A real istiod, and an Envoy that it configures as the ingress gateway, on a test's cluster."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daypass.local.envoy import find_envoy
from support.admin import MERGE_PATCH, Document
from support.children import Child
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.raw import Answer, connect, exchange

NAMESPACE = "istio-system"
LABELS = {"istio": "ingressgateway"}
POD_IP = "10.1.0.9"
MESH = {
    "enableAutoMtls": False,
    "defaultProviders": {},
    "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
}
_SETTINGS = {
    # Filters that only Istio's own Envoy has.
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_CERT_PROVIDER": "none",
    "CLUSTER_ID": "Kubernetes",
    "POD_NAMESPACE": NAMESPACE,
    "XDS_AUTH_PLAINTEXT": "true",
    "PILOT_ENABLE_GATEWAY_API": "false",
}


def secret(name: str, files: dict[str, str]) -> Document:
    """A Secret beside the gateway."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def prepare(plane: ControlPlane) -> None:
    """What a gateway has in a cluster: an identity that may read Secrets, and a pod."""
    admin = plane.admin
    admin.create(
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": "gateway"}}
    )
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
    here = f"{rbac}/namespaces/{NAMESPACE}"
    admin.create(f"{here}/roles", {"metadata": {"name": "gateway"}, "rules": rules})
    binding = {
        "metadata": {"name": "gateway"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gateway"},
        "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": NAMESPACE}],
    }
    admin.create(f"{here}/rolebindings", binding)
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    spec = {"serviceAccountName": "gateway", "containers": [{"name": "envoy", "image": "none"}]}
    admin.create(pods, {"metadata": {"name": "gw-0", "labels": LABELS}, "spec": spec})
    ready = {"phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}
    admin.request(
        "PATCH", f"{pods}/gw-0/status", {"status": ready}, headers={"Content-Type": MERGE_PATCH}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that runs; it serves `port` once a Gateway of Istio's asks it for 443."""

    port: int
    logs: tuple[Path, ...]

    def send(self, request: bytes, *, name: str, authority_pem: str) -> Answer:
        """One request over TLS."""
        with connect(self.port, authority_pem=authority_pem, name=name) as connection:
            return exchange(connection, request)


@contextmanager
def running_gateway(folder: Path, plane: ControlPlane, istiod: Path) -> Iterator[Gateway]:
    """istiod, and an Envoy with nothing but its address; after `prepare`."""
    port, xds, web, monitoring = _free_ports(4)
    plane.admin.apply(
        f"/api/v1/namespaces/{NAMESPACE}/services/istio-ingressgateway",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "istio-ingressgateway", "namespace": NAMESPACE},
            "spec": {
                "selector": LABELS,
                "ports": [{"name": "https", "port": 443, "targetPort": port}],
            },
        },
    )
    token = plane.admin.create(
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/gateway/token",
        {"spec": {"audiences": ["istio-ca"]}},
    )["status"]["token"]
    (folder / "mesh.json").write_text(json.dumps(MESH))
    (folder / "networks.json").write_text("{}")
    (folder / "bootstrap.json").write_text(json.dumps(_bootstrap(xds, token)))
    control = Child(
        [
            str(istiod), "discovery", "--registries=Kubernetes",
            "--kubeconfig", str(plane.kubeconfig),
            "--meshConfig", "mesh.json", "--networksConfig", "networks.json",
            "--grpcAddr", f"127.0.0.1:{xds}", "--secureGRPCAddr", "",
            "--httpAddr", f"127.0.0.1:{web}", "--httpsAddr", "",
            "--monitoringAddr", f"127.0.0.1:{monitoring}", "--ctrlz_port", "0",
            "--domain", "cluster.local",
        ],
        log=folder / "istiod.log", folder=folder, environment={**os.environ, **_SETTINGS},
    )  # fmt: skip
    try:
        eventually("istiod takes connections", lambda: _open(control, xds), seconds=60)
        envoy = Child(
            [
                str(find_envoy()), "-c", "bootstrap.json", "--disable-hot-restart",
                "--log-level", "warning", "--concurrency", "1",
            ],
            log=folder / "envoy.log", folder=folder,
        )  # fmt: skip
        try:
            eventually("the gateway takes connections", lambda: _open(envoy, port), seconds=60)
            yield Gateway(port=port, logs=(control.log, envoy.log))
        finally:
            envoy.stop()
    finally:
        control.stop()


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: istiod cannot be told to choose its own."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _open(child: Child, port: int) -> bool:
    child.check()
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return True


def _bootstrap(xds: int, token: str) -> Document:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": xds}}
    followed = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {
            "id": f"router~{POD_IP}~gw-0.{NAMESPACE}~{NAMESPACE}.svc.cluster.local",
            "cluster": "gateway",
            "metadata": {
                "NAMESPACE": NAMESPACE,
                "CLUSTER_ID": "Kubernetes",
                "NAME": "gw-0",
                "LABELS": LABELS,
                "INSTANCE_IPS": POD_IP,
                "SERVICE_ACCOUNT": "gateway",
            },
        },
        "dynamic_resources": {
            "lds_config": followed,
            "cds_config": followed,
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [
                    {
                        "envoy_grpc": {"cluster_name": "istiod"},
                        "initial_metadata": [
                            {"key": "authorization", "value": f"Bearer {token}"},
                            {"key": "clusterid", "value": "Kubernetes"},
                        ],
                    }
                ],
            },
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "istiod",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "typed_extension_protocol_options": {
                        options: {
                            "@type": f"type.googleapis.com/{options}",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "istiod",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                    },
                }
            ]
        },
    }
