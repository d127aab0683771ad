"""The tutorials for a real cluster, followed where kubeflow.example.com is this machine.

No Pod runs in the cluster. `daypass up` takes the place of the door and of the gate that a page
deploys, and a stand-in that of Kubeflow Pipelines.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.docs.pages import ROOT, Directive, Page, all_pages

from support.authority import Authority
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doc_checks import report
from support.doc_sessions import Session, follow, session
from support.fake_pipelines import running_pipelines
from support.kubeflow import install_kubeflow
from support.objects import make

HOST, ADDRESS = "kubeflow.example.com", "192.0.2.17"
AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
LISTENS = {
    "docs/tutorials/first-cluster.md": f'door: "{ADDRESS}:443"',
    "docs/tutorials/guarded-kubeflow.md": f'door: "{ADDRESS}:8443", gate: "{ADDRESS}:443"',
}
PAGES = [page for page in all_pages() if page.directive == Directive(word="cluster")]
GATEWAY = {
    "selector": {"istio": "ingressgateway"},
    "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
}
OWNER = {"key": "request.headers[kubeflow-userid]", "values": ["alice@example.com"]}


@contextmanager
def kubeflow(folder: Path) -> Iterator[ControlPlane]:
    """A control plane with as much of Kubeflow and Istio as the pages expect."""
    with ControlPlane.start(folder) as plane:
        install_kubeflow(plane)
        for name in ("istio-system", "kubeflow", "alice", "team"):
            plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        istio = "/api/v1/namespaces/istio-system"
        labels = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
        plane.admin.create(f"{istio}/services", {
            "metadata": {"name": "istio-ingressgateway", "labels": labels},
            "spec": {"selector": labels, "ports": [{"name": "https", "port": 443}]},
        })  # fmt: skip
        plane.admin.create(f"{istio}/secrets", {
            "metadata": {"name": "kubeflow-tls"}, "stringData": {"tls.crt": "-", "tls.key": "-"},
        })  # fmt: skip
        plane.admin.create(
            "/apis/networking.istio.io/v1/namespaces/kubeflow/gateways",
            make("networking.istio.io/v1", "Gateway", "kubeflow-gateway", spec=GATEWAY),
        )
        plane.admin.create(
            "/apis/security.istio.io/v1/namespaces/alice/authorizationpolicies",
            make(
                "security.istio.io/v1", "AuthorizationPolicy", "ns-owner-access-istio",
                spec={"rules": [{"when": [OWNER]}]},
            ),
        )  # fmt: skip
        yield plane


def start_stand_in(terminal: Session, plane: ControlPlane, page: Page, upstream: str) -> None:
    """Start `daypass up` in the folder `lab`; clients of this session trust it."""
    lab = terminal.home / "lab"
    lab.mkdir()
    authority = Authority("Let's Encrypt")
    certificate = authority.server(HOST, days=90)
    (lab / "tls.crt").write_text(certificate.certificate_pem)
    (lab / "tls.key").touch(0o600)
    (lab / "tls.key").write_text(certificate.key_pem)
    (lab / "public.crt").write_text(authority.pem)
    listens = LISTENS[str(page.path)]
    gate = f"gate: {{audience: {AUDIENCE}, engine: envoy}}" if "gate" in listens else ""
    (lab / "daypass.yaml").write_text(f"""\
version: 1
cluster: {{server: "{plane.url}", certificateAuthority: {plane.ca_path}}}
domains:
  kubeflow: {{host: {HOST}, front: envoy, tls: {{files: {{certificate: tls.crt, key: tls.key}}}}}}
policy: {{audiences: [{AUDIENCE}]}}
{gate}
local: {{{listens}, apiServer: external, upstream: "{upstream}"}}
""")
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        terminal.run(f"export {variable}={lab}/public.crt")
    terminal.run(f"export KUBECONFIG={plane.kubeconfig}; cd {lab}")
    running = terminal.start(f"daypass up --state state --kubeconfig {plane.kubeconfig}")
    eventually("it is ready", lambda: "Ctrl-C stops it" in terminal.printed_by(running), seconds=30)


@pytest.fixture(scope="module")
def kfp_python() -> Path:
    """The Python that has kfp, which pins old libraries."""
    subprocess.run(["make", "--silent", ".venv-kfp/.synced"], cwd=ROOT, check=True)
    return ROOT / ".venv-kfp" / "bin" / "python"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.path))
def test_a_page_prints_what_it_shows_in_a_cluster(
    page: Page, tmp_path: Path, kfp_python: Path
) -> None:
    with kubeflow(tmp_path / "plane") as plane, running_pipelines() as pipelines:
        ports = [plane.port, int(pipelines.url.rpartition(":")[2])]
        with session(ports=ports, hosts={HOST: ADDRESS}) as terminal:
            start_stand_in(terminal, plane, page, pipelines.url)
            terminal.run(f"export KFP_PYTHON={kfp_python}")
            report(follow(page, terminal))
        guarded = "gate" in LISTENS[str(page.path)]
        users = {call.user for call in pipelines.calls}
        assert users == ({"system:serviceaccount:team:bot"} if guarded else set())
        assert len(pipelines.runs) == guarded
