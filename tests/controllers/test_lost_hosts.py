"""The finding `lost-host`, on a real istiod: a name alone is taken from a wildcard."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.analysis.checks import find_in_cluster
from daypass.kube.cluster import Cluster
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import post
from support.istio_gateway import NAMESPACE, Gateway, prepare, running_gateway
from support.objects import make, tls_secret
from support.rendered import config_of

pytestmark = pytest.mark.timeout(1800)

HOST = "ekf.example.com"
VERSION = "networking.istio.io/v1"
PUBLIC = Authority()


def gateway(*hosts: str) -> Object:
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": list(hosts),
        "tls": {"mode": "SIMPLE", "credentialName": "public"},
    }
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    return make(VERSION, "Gateway", "kubeflow", NAMESPACE, spec=spec)


def service(host: str, prefix: str, status: int) -> Object:
    http = {"match": [{"uri": {"prefix": prefix}}], "directResponse": {"status": status}}
    spec = {"gateways": [f"{NAMESPACE}/kubeflow"], "hosts": [host], "http": [http]}
    return make(VERSION, "VirtualService", prefix.strip("/"), NAMESPACE, spec=spec)


def code(running: Gateway, path: str) -> int:
    request = post(path, host=HOST, method="GET", headers=(), body=b"")
    return running.send(request, name=HOST, authority_pem=PUBLIC.pem).code


def test_a_host_of_a_gateways_wildcard_is_lost_unless_the_gateway_names_it(tmp_path: Path) -> None:
    star, door = service("*", "/pipeline", 218), service(HOST, "/kubernetes", 219)
    route = [{"destination": {"host": "dashboard"}}]
    star["spec"]["http"].append({"match": [{"uri": {"prefix": "/dashboard"}}], "route": route})
    public = tls_secret("public", NAMESPACE, PUBLIC.server(HOST))
    (tmp_path / "gateway").mkdir()
    with ControlPlane.start(tmp_path / "plane") as plane, admin_cluster(plane) as cluster:
        prepare(plane)
        for each in (public, gateway("*"), star):
            cluster.apply(each)
        with running_gateway(tmp_path / "gateway", plane) as running:
            eventually("the wildcard serves it", lambda: code(running, "/pipeline") == 218)
            cluster.apply(door)
            eventually("the door has it", lambda: code(running, "/kubernetes") == 219)
            assert code(running, "/pipeline") == 404
            assert is_lost(cluster)

            cluster.apply(gateway("*", HOST))
            eventually("both have it", lambda: code(running, "/pipeline") == 218)
            assert code(running, "/kubernetes") == 219
            assert not is_lost(cluster)


CONFIG = f"""\
version: 1
domains: {{ekf: {{host: {HOST}, front: istio, gateway: {NAMESPACE}/kubeflow, tls: outside}}}}
gates: {{default: {{audience: ekf, hosts: [{HOST}]}}}}
"""


def is_lost(cluster: Cluster) -> bool:
    found = find_in_cluster(cluster, config_of(CONFIG))
    return "lost-host" in {each.check for each in found}
