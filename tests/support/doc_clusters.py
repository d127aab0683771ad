"""The clusters of pages: `<!-- docs: cluster, istio, door -->` names what is there at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support import crds
from support.authority import Authority
from support.controlplane import ControlPlane
from support.doc_checks import report
from support.doc_sessions import Session, follow_hidden, session
from support.kubeflow import install_kubeflow, make_profile
from support.objects import make

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
DOOR = """cat > daypass.yaml <<END
version: 1
cluster: {server: URL, certificateAuthority: CA, serverName: kubernetes.default.svc}
domains: {ekf: {host: localhost, front: envoy, tls: {files: {certificate: tls.crt, key: tls.key}}}}
policy: {audiences: [AUDIENCE]}
gate: {audience: AUDIENCE, engine: envoy}
local: {apiServer: external}
END
"""


def _kubeflow(plane: ControlPlane) -> None:
    """Kubeflow's ClusterRoles, and the profiles `alice` and `bob`."""
    install_kubeflow(plane)
    for name in ("alice", "bob"):
        make_profile(plane, name)


def _team(plane: ControlPlane) -> None:
    plane.admin.create("/api/v1/namespaces", make("v1", "Namespace", "team"))


def _ingress_nginx(plane: ControlPlane) -> None:
    """The IngressClass of ingress-nginx, and an Ingress with a certificate."""
    controller = {"controller": "k8s.io/ingress-nginx"}
    nginx = make("networking.k8s.io/v1", "IngressClass", "nginx", spec=controller)
    plane.admin.create("/apis/networking.k8s.io/v1/ingressclasses", nginx)
    host = "kubeflow.example.com"
    backend = {"service": {"name": "ekf", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {
        "ingressClassName": "nginx", "tls": [{"hosts": [host], "secretName": "ekf-tls"}],
        "rules": [{"host": host, "http": {"paths": paths}}],
    }  # fmt: skip
    ingress = make("networking.k8s.io/v1", "Ingress", "ekf", spec=spec)
    plane.admin.create("/apis/networking.k8s.io/v1/namespaces/default/ingresses", ingress)


PARTS: dict[str, Callable[[ControlPlane], None]] = {
    "cert-manager": crds.install_cert_manager,
    "envoy-gateway": crds.install_envoy_gateway,
    "gateway-api": crds.install_gateway_api,
    "istio": crds.install_istio,
    "ingress-nginx": _ingress_nginx,
    "kubeflow": _kubeflow,
    "team": _team,
}


@contextmanager
def cluster_session(plane: ControlPlane, wanted: str) -> Iterator[Session]:
    """A session of an administrator of `plane`, with the parts that `wanted` names.

    `door`: `daypass up` runs in the background, and daypass.yaml describes it.
    """
    parts = {part for part in wanted.split(", ") if part}
    for part in sorted(parts - {"door"}):
        PARTS[part](plane)
    with session(ports=[plane.port]) as terminal:
        report(follow_hidden(f"export KUBECONFIG={plane.kubeconfig}", terminal))
        if "door" in parts:
            _start_door(plane, terminal)
        yield terminal


def _start_door(plane: ControlPlane, terminal: Session) -> None:
    authority = Authority()
    pair = authority.server("localhost")
    folder = terminal.home / "daypass"
    files = {"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem, "public.crt": authority.pem}
    for name, text in files.items():
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    words = {"URL": plane.url, "CA": str(plane.ca_path), "AUDIENCE": AUDIENCE}
    config = DOOR
    for word, value in words.items():
        config = config.replace(word, value)
    report(follow_hidden(config, terminal))
    report(follow_hidden("export SSL_CERT_FILE=$PWD/public.crt", terminal))
    report(follow_hidden("daypass up --state state --kubeconfig $KUBECONFIG", terminal))
