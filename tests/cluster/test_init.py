"""`daypass init` with a real API server: what it finds, whom it names, and what it does without."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.kubernetes.labels import OWNED
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.cli import main
from daypass.config import IngressNginxDomain, IstioDomain, load
from daypass.deploy.init.discover import DiscoveredCluster, discover
from daypass.kube.cluster import Cluster
from daypass.render.fronts.gateway_api import GatewayApiFront
from daypass.render.fronts.ingress import IngressFront
from daypass.render.fronts.ingress_controller import INGRESS, INGRESS_CLASS
from daypass.render.fronts.ingress_nginx import IngressNginxFront
from daypass.render.fronts.istio import GATEWAY_SERVICE, VIRTUAL_SERVICE, IstioFront
from daypass.render.fronts.routes import ListedObjects, path_of
from support.children import path_without
from support.clusters import admin_access, admin_cluster, cluster_as, write_kubeconfig
from support.controlplane import ControlPlane
from support.crds import install_cert_manager, install_gateway_api, install_istio
from support.ekf import FOLDERS, make_ekf, make_repository
from support.messages import check, message_with


def made(kind: str, name: str, **fields: object) -> Object:
    version, kind = kind.split(" ")
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "namespace": namespace, "labels": fields.pop("labels", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def ingress(
    name: str, host: str, path: str, *, tls: Sequence[Object] = (), **more: object
) -> Object:
    """An Ingress of the class `public`."""
    backend = {"service": {"name": name, "port": {"number": 80}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend}]
    rules = [{"host": host, "http": {"paths": paths}}]
    spec = {"ingressClassName": "public", "tls": tls, "rules": rules}
    return made(f"{NETWORKING} Ingress", f"rok/{name}", spec=spec, **more)


NETWORKING, ISTIO = "networking.k8s.io/v1", "networking.istio.io/v1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
OBJECTS = [
    *(made("v1 Namespace", name) for name in ("rok", "istio-ingress", "serving")),
    made(f"{NETWORKING} IngressClass", "public", spec={"controller": "k8s.io/ingress-nginx"}),
    made(f"{NETWORKING} IngressClass", "alb", spec={"controller": "ingress.k8s.aws/alb"}),
    ingress("rok", "ekf.test", "/rok", tls=[{"hosts": ["ekf.test"], "secretName": "ekf"}]),
    ingress("theirs", "taken.test", "/kubernetes/api"),
    ingress("daypass-domain-mine", "mine.test", "/kubernetes", labels=OWNED),
    made("cert-manager.io/v1 ClusterIssuer", "letsencrypt", spec={"selfSigned": {}}),
    made("v1 Service", "istio-ingress/gateway", labels={"istio": "ingressgateway"},
         spec={"ports": [{"port": 443}]}),
    made(f"{ISTIO} Gateway", "serving/public", spec={
        "selector": {"istio": "ingressgateway"},
        "servers": [{
            "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
            "hosts": ["*/*.serving.test"],
            "tls": {"mode": "SIMPLE", "credentialName": "serving"},
        }],
    }),
    made(f"{ISTIO} VirtualService", "serving/model", spec={
        "hosts": ["models.serving.test"],
        "gateways": ["public"],
        "http": [{"match": [{"uri": {"prefix": "/kube"}}],
                  "route": [{"destination": {"host": "model"}}]}],
    }),
    made(f"{GATEWAY_API} GatewayClass", "eg", spec={"controllerName": "gateway.test/eg"}),
    made(f"{GATEWAY_API} Gateway", "serving/eg", spec={
        "gatewayClassName": "eg",
        "listeners": [{"name": "web", "port": 443, "protocol": "HTTPS", "hostname": "gw.test",
                       "tls": {"certificateRefs": [{"name": "gw"}]}}],
    }),
    made(f"{GATEWAY_API} HTTPRoute", "serving/theirs", spec={
        "hostnames": ["gw.test"],
        "rules": [{"matches": [{"path": {"type": "Exact", "value": "/kubernetes"}}]}],
    }),
    made("apps/v1 Deployment", "serving/external-dns", spec={
        "selector": {"matchLabels": {"app": "external-dns"}},
        "template": {
            "metadata": {"labels": {"app": "external-dns"}},
            "spec": {"containers": [{"name": "external-dns", "image": "external-dns"}]},
        },
    }),
    made("discovery.k8s.io/v1 EndpointSlice", "default/api", addressType="IPv4",
         labels={"kubernetes.io/service-name": "kubernetes"},
         endpoints=[{"addresses": ["10.1.0.2"]}, {"addresses": ["10.1.0.1"]}]),
]  # fmt: skip
"""A cluster in which all kinds of fronts publish hosts."""


def prepare_plane(plane: ControlPlane) -> None:
    for install in (install_istio, install_gateway_api, install_cert_manager):
        install(plane)
    with admin_cluster(plane) as cluster:
        for document in OBJECTS:
            cluster.create(document)


def init(plane: ControlPlane, folder: Path, *words: str) -> int:
    return main(["init", str(folder), "--kubeconfig", str(plane.kubeconfig), *words])


def test_everything_that_is_looked_for_is_found(plane: ControlPlane) -> None:
    found = discover(lambda: Cluster(admin_access(plane)))
    assert found.notes == []
    assert IngressNginxFront.classes(found.listed) == ["public"]
    assert IngressFront.classes(found.listed) == ["alb", "public"]
    assert found.issuers == ["letsencrypt"]
    assert list(map(path_of, found.listed.of(GATEWAY_SERVICE))) == ["istio-ingress/gateway"]
    assert IstioFront.seen_namespace(found.listed) == "istio-ingress"
    assert GatewayApiFront.classes(found.listed) == ["eg"]
    assert found.external_dns is True
    assert found.addresses == ["10.1.0.1", "10.1.0.2"]
    assert found.issuer == plane.admin.get("/.well-known/openid-configuration")["issuer"]
    assert {(host.host, host.front) for host in found.hosts} >= {
        ("ekf.test", "ingress-nginx"), ("*.serving.test", "istio"), ("gw.test", "gateway-api"),
    }  # fmt: skip


def test_init_needs_only_a_host_that_the_cluster_serves(
    plane: ControlPlane, tmp_path: Path
) -> None:
    assert init(plane, tmp_path, "--host", "ekf.test") == 0

    config = load(tmp_path / "daypass.yaml")
    domain = config.domains["ekf"]
    assert isinstance(domain, IngressNginxDomain)
    assert (domain.class_name, domain.tls) == ("public", "outside")
    assert config.cluster.issuer is not None
    assert config.policy is not None
    assert config.policy.audiences == ("gateway.istio-ingress.svc.cluster.local",)
    assert "# addresses: [10.1.0.1, 10.1.0.2]" in (tmp_path / "daypass.yaml").read_text()


def test_a_gateway_of_the_cluster_is_used(plane: ControlPlane, tmp_path: Path) -> None:
    assert init(plane, tmp_path, "--host", "ekf.serving.test", "--dry-run") == 0
    assert init(plane, tmp_path, "--host", "ekf.serving.test") == 0
    domain = load(tmp_path / "daypass.yaml").domains["ekf"]
    assert isinstance(domain, IstioDomain)
    assert (domain.gateway, domain.front_namespace) == ("serving/public", "istio-ingress")


def test_init_warns_of_host_names_that_bypass_a_gate_and_suggests_a_config(
    plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--host", "ekf.serving.test")
    assert init(plane, tmp_path / "without", *words) == 0
    assert "gate.hosts" not in capsys.readouterr().err
    services = "/apis/networking.istio.io/v1/namespaces/serving/virtualservices"
    http = [{"route": [{"destination": {"host": "dashboard"}}]}]
    spec = {"hosts": ["*"], "gateways": ["public"], "http": http}
    kind = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    plane.admin.create(services, {**kind, "metadata": {"name": "any"}, "spec": spec})
    try:
        assert init(plane, tmp_path / "with", *words) == 0
    finally:
        plane.admin.delete(f"{services}/any")
    warning = message_with(capsys.readouterr().err, "gate.hosts")
    names = ("VirtualService serving/any", "*.serving.test", "Gateway serving/public")
    check(warning, *names, "ekf.serving.test", "gate.hosts: ['*']", reason="unguarded")
    without, found = (
        (tmp_path / name / "daypass.yaml").read_text() for name in ("without", "with")
    )
    (line,) = found.splitlines(keepends=True)[len(without.splitlines()) :]
    assert line.startswith("#   hosts: ['*']    # ")
    assert found.replace(line, "") == without
    file = tmp_path / "daypass.yaml"
    head, _, gate = found.partition("# gate:")
    file.write_text(f"{head}gate:{gate.replace('#  ', '  ')}")
    config = load(file)
    assert config.gate is not None
    assert config.gate.guards_every_host


@pytest.mark.parametrize(
    ("host", "route", "path"),
    [
        ("taken.test", "Ingress rok/theirs", "/kubernetes/api"),
        ("models.serving.test", "VirtualService serving/model", "/kube"),
        ("gw.test", "HTTPRoute serving/theirs", "/kubernetes"),
    ],
    ids=["Ingress", "VirtualService", "HTTPRoute"],
)
def test_a_prefix_that_a_route_of_the_cluster_has_is_refused_and_nothing_is_written(
    plane: ControlPlane, tmp_path: Path, host: str, route: str, path: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert init(plane, tmp_path, "--host", host) == 2
    error = capsys.readouterr().err
    check(error, route, path, reason="usage")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [("--host", "taken.test", "--prefix", "/k8s"),
     ("--host", "mine.test", "--front", "ingress-nginx")],
    ids=["another prefix", "a route of daypass itself"],
)  # fmt: skip
def test_what_does_not_collide_is_accepted(
    plane: ControlPlane, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert init(plane, tmp_path, *words, "--tls", "outside") == 0


def test_without_rights_init_notes_each_query_that_it_skips_and_trusts_the_options(
    plane: ControlPlane, tmp_path: Path
) -> None:
    token = plane.make_token(plane.make_identity())
    found = discover(lambda: cluster_as(plane, token))
    assert found.asked
    assert IngressFront.classes(found.listed) is None
    assert found.external_dns is None
    assert found.listed.serves(VIRTUAL_SERVICE)  # which kinds there are, everybody may ask
    (note,) = (each for each in found.notes if " ingresses " in each)
    check(note, reason="note")
    kubeconfig, folder = tmp_path / "kubeconfig", tmp_path / "new"
    write_kubeconfig(plane, token, kubeconfig)
    words = ["--host", "taken.test", "--front", "ingress-nginx", "--tls", "secret:x"]
    assert main(["init", str(folder), "--kubeconfig", str(kubeconfig), *words]) == 0
    assert load(folder / "daypass.yaml").domains["taken"].host == "taken.test"


def test_an_empty_cluster_is_noted_as_lacking_each_component(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path / "bare") as bare:
        found = discover(lambda: Cluster(admin_access(bare)))
    assert found == DiscoveredCluster(
        asked=True,
        listed=ListedObjects(objects={INGRESS: [], INGRESS_CLASS: []}),
        issuers=[],
        external_dns=False,
        issuer=found.issuer,
        notes=found.notes,
    )
    for note, missing in zip(found.notes, ("cert-manager", "Istio", "Gateway API"), strict=True):
        check(note, missing, reason="note")


@pytest.mark.parametrize("broken", ["unreachable", "unknown", "no kubeconfig"])
def test_without_a_cluster_it_works_with_options(
    plane: ControlPlane, tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if broken != "no kubeconfig":
        write_kubeconfig(plane, Secret("no.such.token"), kubeconfig)
    if broken == "unreachable":
        text = kubeconfig.read_text()
        kubeconfig.write_text(text.replace(plane.url, "https://127.0.0.1:1"))
    words = ["--host", "new.test", "--front", "istio", "--tls", "secret:x"]
    folder = tmp_path / "new"
    assert main(["init", str(folder), "--kubeconfig", str(kubeconfig), *words]) == 0
    note = message_with(capsys.readouterr().err, "no cluster ")
    check(note, reason="note")
    assert load(folder / "daypass.yaml").domains["new"].front == "istio"


def test_init_stops_asking_after_an_unauthorized_answer(plane: ControlPlane) -> None:
    access = replace(admin_access(plane), certificate=None, key=None, token=Secret("no.such.token"))
    found = discover(lambda: Cluster(access))
    assert not found.asked
    assert len(found.notes) == 1


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An EKF repository, with kubectl and no rok-deploy on the PATH."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{path_without('rok-deploy')}")
    root = tmp_path / "deployments"
    root.mkdir()
    return make_repository(make_ekf(root))


def test_kubectl_applies_where_there_is_no_rok_deploy(
    plane: ControlPlane, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--adopt", "hosts", "--ekf-host", "proxy.test", "--commit", "--apply")
    assert init(plane, repository, *words) == 0
    path = f"/apis/{NETWORKING}/namespaces/rok/ingresses/kubernetes-proxy"
    assert plane.admin.get(path)["spec"]["rules"][0]["host"] == "proxy.test"

    # And in its place, by the same object, through the door.
    words = ("--adopt", "door", "--ekf-host", "proxy.test", "--commit", "--apply")
    assert init(plane, repository, *words) == 0
    document = plane.admin.get(path)
    assert document["metadata"]["annotations"]["kubernetes.io/ingress.class"] == (
        "handed-over-to-daypass"
    )
    (domain,) = load(repository / "daypass.yaml").domains.values()
    assert isinstance(domain, IngressNginxDomain)
    assert (domain.host, domain.class_name) == ("proxy.test", "public")
    capsys.readouterr()
    assert init(plane, repository, "--adopt", "door", "--force", "--dry-run") == 0
    assert capsys.readouterr().out == ""  # what was adopted and applied gives the same again
    plane.admin.delete(path)


def test_a_refused_kubectl_apply_fails_the_command(
    plane: ControlPlane, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = repository / "rok/kubernetes-proxy/base/kustomization.yaml"
    base.write_text(base.read_text().replace("namespace: rok", "namespace: nowhere"))
    assert init(plane, repository, "--adopt", "hosts", "--ekf-host", "x.test", "--apply") == 1
    error = message_with(capsys.readouterr().err, "kubectl ")
    assert FOLDERS["ekf"] in error
    check(error, reason="kubectl")
