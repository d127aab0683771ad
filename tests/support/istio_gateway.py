"""A real istiod, and Envoys that it configures as gateways, on a test's cluster."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a gateway is: its Service, and the pod behind that. `address`: of the pod.

    `number`: the port of the Service, with TLS if it is 443.
    """

    service: str
    labels: Mapping[str, str]
    address: str
    namespace: str = NAMESPACE
    number: int = 443

    @property
    def pod(self) -> str:
        return f"{self.service}-0"


INGRESS = Place(service="istio-ingressgateway", labels=LABELS, address="10.1.0.9")


def prepare(plane: ControlPlane, *places: Place) -> None:
    """Istio's kinds, and what a gateway has: an identity that may read Secrets, and a pod.

    `places`: of the gateways; INGRESS alone, if left out.
    """
    install_istio(plane)
    for place in places or (INGRESS,):
        identities.ensure_namespace(plane.admin, place.namespace)
        identities.ensure_service_account(plane.admin, place.namespace, place.service)
        rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}
        identities.allow(plane.admin, place.namespace, place.service, rule)
        add_pod(
            plane, place.namespace, place.pod, place.labels,
            account=place.service, address=place.address,
        )  # fmt: skip


def add_pod(
    plane: ControlPlane,
    namespace: str,
    name: str,
    labels: Mapping[str, str],
    *,
    account: str = "default",
    address: str = "10.1.0.8",
) -> None:
    """A Pod that is ready, and that no kubelet runs."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    spec = {"serviceAccountName": account, "containers": [{"name": "main", "image": "none"}]}
    plane.admin.create(pods, {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec})
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
             "podIP": address, "podIPs": [{"ip": address}]}  # fmt: skip
    plane.admin.request(
        "PATCH", f"{pods}/{name}/status", {"status": ready}, headers={"Content-Type": MERGE_PATCH}
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
class Istiod:
    """One that runs. It can be ended and started again where it was: what it has sent stays in
    force without it.
    """

    folder: Path
    command: list[str]
    xds: int
    child: Child | None = None

    def start(self) -> None:
        self.child = child = Child(
            self.command,
            log=self.folder / "istiod.log", folder=self.folder,
            environment={**os.environ, **_SETTINGS},
        )  # fmt: skip

        def is_open() -> bool:
            child.check()
            return listens(self.xds)

        eventually("istiod takes connections", is_open)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A gateway that runs; it serves `port` once a Gateway of Istio's asks it for the number of its
    Service. Envoy can be ended and started again, too.
    """

    place: Place
    port: int
    folder: Path
    istiod: Istiod
    envoy: Envoy | None = None

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

    def connect_plainly(self) -> socket.socket:
        """To a gateway without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

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
    with running_gateways(folder, plane, INGRESS, mesh=mesh) as (gateway,):
        yield gateway


@contextmanager
def running_gateways(
    folder: Path, plane: ControlPlane, *places: Place, mesh: Document | None = None
) -> Iterator[list[Gateway]]:
    """istiod, and an Envoy for each place; after `prepare`."""
    istiod = _prepared_istiod(folder, plane, mesh or {})
    gateways = [
        _prepared(folder / f"envoy-{number}", plane, place, istiod)
        for number, place in enumerate(places)
    ]
    with ExitStack() as stack:
        stack.callback(istiod.stop)
        istiod.start()
        for gateway in gateways:
            stack.callback(gateway.stop_envoy)
            gateway.start_envoy()
        yield gateways


def _prepared_istiod(folder: Path, plane: ControlPlane, mesh: Document) -> Istiod:
    xds, web, monitoring = free_ports(3)
    (folder / "mesh.json").write_text(json.dumps({**MESH, **mesh}))
    (folder / "networks.json").write_text("{}")
    command = [
        str(built("istiod")), "discovery", "--registries=Kubernetes",
        "--kubeconfig", str(plane.kubeconfig),
        "--meshConfig", "mesh.json", "--networksConfig", "networks.json",
        "--grpcAddr", f"127.0.0.1:{xds}", "--secureGRPCAddr", "",
        "--httpAddr", f"127.0.0.1:{web}", "--httpsAddr", "",
        "--monitoringAddr", f"127.0.0.1:{monitoring}", "--ctrlz_port", "0",
        "--domain", "cluster.local",
    ]  # fmt: skip
    return Istiod(folder=folder, command=command, xds=xds)


def _prepared(folder: Path, plane: ControlPlane, place: Place, istiod: Istiod) -> Gateway:
    folder.mkdir()
    (port,) = free_ports(1)
    name = "https" if place.number == 443 else "http"
    ports = [{"name": name, "port": place.number, "targetPort": port}]
    spec = {"selector": dict(place.labels), "ports": ports}
    plane.admin.apply(
        f"/api/v1/namespaces/{place.namespace}/services/{place.service}",
        make("v1", "Service", place.service, place.namespace, spec=spec),
    )
    token = plane.admin.create(
        identities.token_path(place.namespace, place.service), {"spec": {"audiences": ["istio-ca"]}}
    )["status"]["token"]
    (folder / "bootstrap.yaml").write_text(_bootstrap(place, istiod.xds, token))
    return Gateway(place=place, port=port, folder=folder, istiod=istiod)


def _bootstrap(place: Place, xds: int, token: str) -> str:
    namespace = place.namespace
    return f"""\
node:
  id: router~{place.address}~{place.pod}.{namespace}~{namespace}.svc.cluster.local
  cluster: gateway
  metadata:
    NAMESPACE: {namespace}
    CLUSTER_ID: Kubernetes
    NAME: {place.pod}
    LABELS: {json.dumps(dict(place.labels))}
    INSTANCE_IPS: {place.address}
    SERVICE_ACCOUNT: {place.service}
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
