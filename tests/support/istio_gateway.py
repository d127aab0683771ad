"""A real istiod, and an Envoy that it configures as the ingress gateway, on a test's cluster."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from daypass.local.envoy import AdminConnection, find_envoy
from support.admin import MERGE_PATCH, Document
from support.children import Child
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.objects import make
from support.ports import free_ports
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


def prepare(plane: ControlPlane) -> None:
    """What a gateway has in a cluster: an identity that may read Secrets, and a pod."""
    admin = plane.admin
    named = {"metadata": {"name": "gateway"}}
    admin.create(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", named)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
    here = f"{rbac}/namespaces/{NAMESPACE}"
    admin.create(f"{here}/roles", {**named, "rules": rules})
    binding = {
        **named,
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


def service_at(name: str, port: int) -> Document:
    """A Service of daypass's as Istio would see it; endpoints of a real one are never loopback."""
    spec = {
        "hosts": [f"{name}.daypass.svc.cluster.local"],
        "location": "MESH_INTERNAL",
        "ports": [{"number": 443, "name": "https", "protocol": "HTTPS"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "127.0.0.1", "ports": {"https": port}}],
    }
    return make("networking.istio.io/v1", "ServiceEntry", name, "daypass", spec=spec)


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A gateway that runs; it serves `port` once a Gateway of Istio's asks it for 443.

    istiod and Envoy can be ended and started again, each where it was.
    """

    port: int
    folder: Path
    command: list[str]
    xds: int
    control: Child | None = None
    envoy: Child | None = None

    @property
    def logs(self) -> tuple[Path, ...]:
        return self.folder / "istiod.log", self.folder / "envoy.log"

    def start_istiod(self) -> None:
        self.control = control = Child(
            self.command,
            log=self.folder / "istiod.log", folder=self.folder,
            environment={**os.environ, **_SETTINGS},
        )  # fmt: skip
        eventually("istiod takes connections", lambda: _open(control, self.xds))

    def stop_istiod(self) -> None:
        """End istiod; what it has sent stays in force."""
        if self.control is not None:
            self.control.stop()
            self.control = None

    def start_envoy(self) -> None:
        """Start an Envoy with nothing but istiod's address; it may serve nothing yet."""
        self.envoy = Child(
            [
                str(find_envoy()), "-c", "bootstrap.json", "--disable-hot-restart",
                "--log-level", "warning", "--concurrency", "1",
            ],
            log=self.folder / "envoy.log", folder=self.folder,
        )  # fmt: skip

    def wait_serving(self) -> None:
        """Come back when Envoy takes connections."""
        envoy = self.envoy
        assert envoy is not None
        eventually("the gateway takes connections", lambda: _open(envoy, self.port))

    def stop_envoy(self) -> None:
        if self.envoy is not None:
            self.envoy.stop()
            self.envoy = None

    def restart_envoy(self) -> None:
        """Another Envoy, which knows only what istiod says now; it takes connections."""
        self.stop_envoy()
        self.start_envoy()
        self.wait_serving()

    def admin(self, path: str, method: str = "GET") -> bytes:
        with closing(AdminConnection(os.path.relpath(self.folder / "admin.sock"))) as connection:
            connection.request(method, path)
            return connection.getresponse().read()

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges of Envoy whose name matches."""
        found = json.loads(self.admin(f"/stats?format=json&filter={pattern}"))["stats"]
        return {each["name"]: each["value"] for each in found if "name" in each}

    def connect(self, *, name: str, authority_pem: str, alpn: str = "http/1.1") -> ssl.SSLSocket:
        return connect(self.port, authority_pem=authority_pem, name=name, alpn=alpn)

    def send(self, request: bytes, *, name: str, authority_pem: str) -> Answer:
        with self.connect(name=name, authority_pem=authority_pem) as connection:
            return exchange(connection, request)


@contextmanager
def running_gateway(
    folder: Path, plane: ControlPlane, istiod: Path, *, mesh: Document | None = None
) -> Iterator[Gateway]:
    """istiod, and an Envoy with nothing but its address; after `prepare`.

    `mesh`: more of the mesh's config.
    """
    gateway = _prepared(folder, plane, istiod, mesh or {})
    try:
        gateway.start_istiod()
        gateway.start_envoy()
        gateway.wait_serving()
        yield gateway
    finally:
        gateway.stop_envoy()
        gateway.stop_istiod()


def _prepared(folder: Path, plane: ControlPlane, istiod: Path, mesh: Document) -> Gateway:
    port, xds, web, monitoring = free_ports(4)
    ports = [{"name": "https", "port": 443, "targetPort": port}]
    spec = {"selector": LABELS, "ports": ports}
    name = "istio-ingressgateway"
    plane.admin.apply(
        f"/api/v1/namespaces/{NAMESPACE}/services/{name}",
        make("v1", "Service", name, NAMESPACE, spec=spec),
    )
    token = plane.admin.create(
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/gateway/token",
        {"spec": {"audiences": ["istio-ca"]}},
    )["status"]["token"]
    (folder / "mesh.json").write_text(json.dumps({**MESH, **mesh}))
    (folder / "networks.json").write_text("{}")
    (folder / "bootstrap.json").write_text(json.dumps(_bootstrap(xds, token)))
    command = [
        str(istiod), "discovery", "--registries=Kubernetes",
        "--kubeconfig", str(plane.kubeconfig),
        "--meshConfig", "mesh.json", "--networksConfig", "networks.json",
        "--grpcAddr", f"127.0.0.1:{xds}", "--secureGRPCAddr", "",
        "--httpAddr", f"127.0.0.1:{web}", "--httpsAddr", "",
        "--monitoringAddr", f"127.0.0.1:{monitoring}", "--ctrlz_port", "0",
        "--domain", "cluster.local",
    ]  # fmt: skip
    return Gateway(port=port, folder=folder, command=command, xds=xds)


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
        "admin": {"address": {"pipe": {"path": "admin.sock", "mode": 0o600}}},
        # As Istio's own bootstrap has it.
        "layered_runtime": {
            "layers": [
                {
                    "name": "istio",
                    "static_layer": {
                        "re2.max_program_size.error_level": 32768,
                        "overload.global_downstream_max_connections": 100000,
                    },
                }
            ]
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
