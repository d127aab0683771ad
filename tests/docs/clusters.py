"""The clusters of pages: `<!-- docs: cluster, kubeflow, door -->` names what is there at the start.

No Pod runs in them. `daypass up` takes the place of the door and of the gate that a page deploys,
and a stand-in that of Kubeflow Pipelines.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.docs.pages import ROOT

from clients.kfp.pipelines import FakePipelines, running_pipelines
from daypass.config import Policy
from docs.sessions import Session, follow_command, session
from docs.shell import Command
from support import policies
from support.authority import Authority
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.crds import install_cert_manager, install_istio, install_kserve
from support.kubeflow import install_kubeflow, make_profile

HOST, ADDRESS = "kubeflow.example.com", "192.0.2.17"
AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"


def _kubeflow(plane: ControlPlane) -> None:
    """Kubeflow's roles, and the profiles `alice` and `bob`."""
    install_kubeflow(plane)
    for name in ("alice", "bob"):
        make_profile(plane, name)


def _policy(plane: ControlPlane) -> None:
    with admin_cluster(plane) as cluster:
        policies.put(cluster, Policy(audiences=(AUDIENCE,)))


INSTALLED: Mapping[str, Callable[[ControlPlane], None]] = {
    "cert-manager": install_cert_manager,
    "istio": install_istio,
    "kserve": install_kserve,
    "kubeflow": _kubeflow,
    "policy": _policy,
}
_ISTIO = """\
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
apiVersion: v1
kind: Service
metadata:
  name: istio-ingressgateway
  namespace: istio-system
  labels: {app: istio-ingressgateway, istio: ingressgateway}
spec: {selector: {istio: ingressgateway}, ports: [{name: https, port: 443}]}
"""
OBJECTS: Mapping[str, str] = {
    "team": "{apiVersion: v1, kind: Namespace, metadata: {name: team}}",
    "ingress-nginx": """\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ekf, namespace: default}
spec:
  ingressClassName: nginx
  tls: [{hosts: [kubeflow.example.com], secretName: ekf-tls}]
  rules:
  - host: kubeflow.example.com
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: ekf, port: {number: 80}}}}]
""",
    "istio": _ISTIO,
    "kserve": """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  namespace: alice
  annotations: {serving.kserve.io/deploymentMode: Standard}
spec:
  predictor: {containers: [{name: kserve-container, image: registry.example.com/iris:1}]}
""",
    "kubeflow": _ISTIO
    + """\
---
{apiVersion: v1, kind: Namespace, metadata: {name: kubeflow}}
---
apiVersion: v1
kind: Secret
metadata: {name: kubeflow-tls, namespace: istio-system}
stringData: {tls.crt: "-", tls.key: "-"}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: kubeflow-gateway, namespace: kubeflow}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: centraldashboard, namespace: kubeflow}
spec:
  hosts: ["*"]
  gateways: [kubeflow/kubeflow-gateway]
  http: [{match: [{uri: {prefix: /}}], route: [{destination: {host: centraldashboard}}]}]
""",
}
PUBLISHED: Mapping[str, str] = {
    "door": f'local: {{door: "{ADDRESS}:443", apiServer: external}}',
    "gate": f"""\
gates: {{default: {{audience: {AUDIENCE}, engine: envoy}}}}
local: {{door: "{ADDRESS}:8443", gate: "{ADDRESS}:443", upstream: "PIPELINES", apiServer: external}}
""",
}
"""How the reader's daypass.yaml continues. With a gate, KFP_PYTHON is a Python that has kfp."""
LAPTOP = "laptop"
"""The reader starts a door and a gate later, with `daypass up --config ~/up.yaml`."""
LAPTOP_HOST, LAPTOP_ADDRESS = "echo.localhost", "127.0.0.1"
SERVING = "serving"
"""Models, and gateways of Istio in front of them: tests/serving follows such a page."""
PARTS = {*INSTALLED, *OBJECTS, *PUBLISHED, LAPTOP}


@contextmanager
def cluster_session(folder: Path, parts: Sequence[str]) -> Iterator[tuple[Session, FakePipelines]]:
    """A session of an administrator of a new cluster with these parts.

    The pipelines are what is behind the gate.
    """
    assert PARTS.issuperset(parts), f"{parts} are not all of {PARTS}"
    published = [PUBLISHED[part] for part in parts if part in PUBLISHED]
    with ControlPlane.start(folder) as plane, running_pipelines() as pipelines:
        for part in INSTALLED.keys() & parts:
            INSTALLED[part](plane)
        ports = [plane.port, int(pipelines.url.rpartition(":")[2])]
        hosts = {HOST: ADDRESS} if published else {}
        if LAPTOP in parts:
            hosts = {LAPTOP_HOST: LAPTOP_ADDRESS}
        with session(ports=ports, hosts=hosts) as terminal:
            _type(f"export KUBECONFIG={plane.kubeconfig}", terminal)
            for part in OBJECTS.keys() & parts:
                _type(f"kubectl create -f - <<'END'\n{OBJECTS[part]}\nEND", terminal)
            if LAPTOP in parts:
                up = f"""\
gates: {{default: {{audience: {AUDIENCE}, engine: envoy}}}}
local: {{door: "{LAPTOP_ADDRESS}:8443", gate: "{LAPTOP_ADDRESS}:443", apiServer: external}}
"""
                (terminal.home / "up.yaml").write_text(_config(LAPTOP_HOST, plane, up))
            for local in published:
                _publish(local.replace("PIPELINES", pipelines.url), plane, terminal)
            if "gate" in parts:
                subprocess.run(
                    ["make", "--silent", ".venv-client-kfp/.synced"], cwd=ROOT, check=True
                )
                _type(f"export KFP_PYTHON={ROOT}/.venv-client-kfp/bin/python", terminal)
            yield terminal, pipelines


def _publish(local: str, plane: ControlPlane, terminal: Session) -> None:
    """Start `daypass up`; clients of this session trust it."""
    authority = Authority("Let's Encrypt")
    pair = authority.server(HOST, days=90)
    files = {
        "tls.crt": pair.certificate_pem, "tls.key": pair.key_pem, "public.crt": authority.pem,
        "daypass.yaml": _config(HOST, plane, local),
    }  # fmt: skip
    for name, text in files.items():
        file = terminal.home / "daypass" / name
        file.touch(0o600)
        file.write_text(text)
    _type("export SSL_CERT_FILE=$PWD/public.crt REQUESTS_CA_BUNDLE=$PWD/public.crt", terminal)
    _type("daypass up --state state --kubeconfig $KUBECONFIG", terminal)


def _config(host: str, plane: ControlPlane, local: str) -> str:
    """Return the config of a `daypass up` with the certificate `tls.crt`, in front of a cluster."""
    return f"""\
version: 1
cluster: {{server: "{plane.url}", certificateAuthority: {plane.ca_path}}}
domains:
  kubeflow: {{host: {host}, front: envoy, tls: {{files: {{certificate: tls.crt, key: tls.key}}}}}}
policy: {{audiences: [{AUDIENCE}]}}
{local}
"""


def _type(code: str, terminal: Session) -> None:
    mistake = follow_command(Command(place="before the page", code=code), terminal)
    assert not mistake, mistake
