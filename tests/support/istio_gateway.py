"""A real istiod, and an Envoy that it configures as the ingress gateway, on a test's cluster."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.gobuild import built

from daypass.local.envoy import Envoy, find_envoy, start_child
from support import identities
from support.admin import MERGE_PATCH, Document
from support.children import Child
from support.controlplane import ControlPlane
from support.crds import install_istio
from support.deadline import eventually
from support.objects import make
from support.ports import free_ports, listens
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
    """Istio's kinds, and what a gateway has: an identity that may read Secrets, and a pod."""
    install_istio(plane)
    admin = plane.admin
    admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    identities.ensure_service_account(admin, NAMESPACE, "gateway")
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}
    identities.allow(admin, NAMESPACE, "gateway", rule)
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    spec = {"serviceAccountName": "gateway", "containers": [{"name": "envoy", "image": "none"}]}
    admin.create(pods, {"metadata": {"name": "gw-0", "labels": LABELS}, "spec": spec})
    ready = {"phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}
    admin.request(
        "PATCH", f"{pods}/gw-0/status", {"status": ready}, headers={"Content-Type": MERGE_PATCH}
    )


def service_entry(
    name: str, port: int, namespace: str, *, host: str, number: int, protocol: str
) -> Document:
    """Something on loopback, as Istio would see a Service: endpoints of one are never loopback."""
    spec = {
        "hosts": [host],
        "location": "MESH_INTERNAL",
        "ports": [{"number": number, "name": protocol.lower(), "protocol": protocol}],
        "resolution": "STATIC",
        "endpoints": [{"address": "127.0.0.1", "ports": {protocol.lower(): port}}],
    }
    return make("networking.istio.io/v1", "ServiceEntry", name, namespace, spec=spec)


def service_at(name: str, port: int) -> Document:
    """A Service of daypass's."""
    host = f"{name}.daypass.svc.cluster.local"
    return service_entry(name, port, "daypass", host=host, number=443, protocol="HTTPS")


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A gateway that runs; it serves `port` once a Gateway of Istio's asks it for 443.

    istiod and Envoy can be ended and started again, each where it was. What istiod has sent stays
    in force without it.
    """

    port: int
    folder: Path
    command: list[str]
    xds: int
    control: Child | None = None
    envoy: Envoy | None = None

    def start_istiod(self) -> None:
        self.control = control = Child(
            self.command,
            log=self.folder / "istiod.log", folder=self.folder,
            environment={**os.environ, **_SETTINGS},
        )  # fmt: skip

        def is_open() -> bool:
            control.check()
            return listens(self.xds)

        eventually("istiod takes connections", is_open)

    def stop_istiod(self) -> None:
        if self.control is not None:
            self.control.stop()

    def start_envoy(self) -> None:
        """Start an Envoy with nothing but istiod's address; return once it takes connections."""
        command = [
            str(find_envoy()), "-c", "bootstrap.yaml", "--disable-hot-restart",
            "--log-level", "warning", "--concurrency", "1",
        ]  # fmt: skip
        with (self.folder / "envoy.log").open("ab") as output:
            child = start_child(command, output=output, folder=self.folder)
        self.envoy = envoy = Envoy(self.folder, child)

        def is_open() -> bool:
            if not envoy.running():
                raise RuntimeError(f"Envoy has ended:\n{envoy.log_end(15)}")
            return listens(self.port)

        eventually("the gateway takes connections", is_open)

    def stop_envoy(self) -> None:
        if self.envoy is not None:
            self.envoy.stop(0)

    def restart_envoy(self) -> None:
        """Another Envoy, which knows only what istiod says now."""
        self.stop_envoy()
        self.start_envoy()

    def admin(self, path: str) -> bytes:
        assert self.envoy is not None
        return self.envoy.admin(path)

    def stats(self, pattern: str) -> dict[str, int]:
        assert self.envoy is not None
        return self.envoy.stats(pattern)

    def connect(self, *, name: str, authority_pem: str, alpn: str = "http/1.1") -> ssl.SSLSocket:
        return connect(self.port, authority_pem=authority_pem, name=name, alpn=alpn)

    def send(self, request: bytes, *, name: str, authority_pem: str) -> Answer:
        with self.connect(name=name, authority_pem=authority_pem) as connection:
            return exchange(connection, request)


@contextmanager
def running_gateway(
    folder: Path, plane: ControlPlane, *, mesh: Document | None = None
) -> Iterator[Gateway]:
    """istiod, and an Envoy with nothing but its address; after `prepare`.

    `mesh`: more of the mesh's config.
    """
    gateway = _prepared(folder, plane, mesh or {})
    try:
        gateway.start_istiod()
        gateway.start_envoy()
        yield gateway
    finally:
        gateway.stop_envoy()
        gateway.stop_istiod()


def _prepared(folder: Path, plane: ControlPlane, mesh: Document) -> Gateway:
    port, xds, web, monitoring = free_ports(4)
    ports = [{"name": "https", "port": 443, "targetPort": port}]
    spec = {"selector": LABELS, "ports": ports}
    name = "istio-ingressgateway"
    plane.admin.apply(
        f"/api/v1/namespaces/{NAMESPACE}/services/{name}",
        make("v1", "Service", name, NAMESPACE, spec=spec),
    )
    token = plane.admin.create(
        identities.token_path(NAMESPACE, "gateway"), {"spec": {"audiences": ["istio-ca"]}}
    )["status"]["token"]
    (folder / "mesh.json").write_text(json.dumps({**MESH, **mesh}))
    (folder / "networks.json").write_text("{}")
    (folder / "bootstrap.yaml").write_text(_bootstrap(xds, token))
    command = [
        str(built("istiod")), "discovery", "--registries=Kubernetes",
        "--kubeconfig", str(plane.kubeconfig),
        "--meshConfig", "mesh.json", "--networksConfig", "networks.json",
        "--grpcAddr", f"127.0.0.1:{xds}", "--secureGRPCAddr", "",
        "--httpAddr", f"127.0.0.1:{web}", "--httpsAddr", "",
        "--monitoringAddr", f"127.0.0.1:{monitoring}", "--ctrlz_port", "0",
        "--domain", "cluster.local",
    ]  # fmt: skip
    return Gateway(port=port, folder=folder, command=command, xds=xds)


def _bootstrap(xds: int, token: str) -> str:
    return f"""\
node:
  id: router~{POD_IP}~gw-0.{NAMESPACE}~{NAMESPACE}.svc.cluster.local
  cluster: gateway
  metadata:
    NAMESPACE: {NAMESPACE}
    CLUSTER_ID: Kubernetes
    NAME: gw-0
    LABELS: {json.dumps(LABELS)}
    INSTANCE_IPS: {POD_IP}
    SERVICE_ACCOUNT: gateway
dynamic_resources:
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {{cluster_name: istiod}}
      initial_metadata:
      - {{key: authorization, value: Bearer {token}}}
      - {{key: clusterid, value: Kubernetes}}
admin: {{address: {{pipe: {{path: admin.sock, mode: 384}}}}}}
layered_runtime:  # as Istio's own bootstrap has it
  layers:
  - name: istio
    static_layer:
      re2.max_program_size.error_level: 32768
      overload.global_downstream_max_connections: 100000
static_resources:
  clusters:
  - name: istiod
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: istiod
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {xds}}}}}}}
"""
