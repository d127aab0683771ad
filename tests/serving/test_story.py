"""Access to models from the first command to the last: an administrator types what the page
"Models" says, real programs run, and a data scientist calls a model by KServe's client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from tools.docs.pages import ROOT, all_pages

from daypass._core.secret import Secret
from daypass.rules.reasons import Reason
from docs.checks import report
from docs.sessions import Session, follow_blocks, session
from serving.model_server import PREDICTED, ModelServer, running_model_server
from serving.model_serving import (
    DOMAIN,
    EKF,
    ServingEnv,
    running_serving,
)
from support.deadline import eventually
from support.gate_differences import assert_refused
from support.kserve import Model
from support.kubeflow import install_kserve_roles, install_kubeflow

pytestmark = pytest.mark.timeout(600)

T = TypeVar("T")
ADDRESSES = {EKF: "192.0.2.17", DOMAIN: "192.0.2.18"}
EKF_AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
IRIS, OTHER = (Model(name=name, namespace="alice") for name in ("iris", "other"))
ASK = """\
import asyncio, sys
import daypass, daypass.integrations.httpx
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

credentials = daypass.Credentials.from_file("bot.json")
config = RESTConfig(protocol="v2", auth=daypass.integrations.httpx.Auth(credentials))
flower = InferInput("input-0", [1, 4], "FP32", data=[6.8, 2.8, 4.8, 1.4])
asking = InferenceRESTClient(config).infer(sys.argv[1], InferRequest("iris", [flower]), "iris")
print(asyncio.run(asking).outputs[0].as_numpy())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A reader of the documentation, at a cluster."""

    env: ServingEnv
    terminal: Session

    def type(self, command: str, *, code: int = 0) -> str:
        """Type a command, while the cluster runs what it asks for; return what it prints."""
        printed, ended = self.meanwhile(lambda: self.terminal.run(command))
        assert ended == code, f"{command}\n{printed}"
        return printed

    def meanwhile(self, does: Callable[[], T]) -> T:
        """Do something, while the cluster runs what Deployments ask for."""
        with ThreadPoolExecutor(1) as worker:
            doing = worker.submit(does)

            def is_done() -> bool:
                self.env.kubelet.look()
                return doing.done()

            eventually("it is done", is_done, seconds=300)
            return doing.result()

    def write(self, name: str, text: str) -> None:
        (self.terminal.home / "daypass" / name).write_text(text)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with running_model_server() as running:
        yield running


@pytest.fixture
def env(tmp_path: Path, server: ModelServer) -> Iterator[ServingEnv]:
    with running_serving(tmp_path, models=server.port) as running:
        install_kubeflow(running.plane)
        install_kserve_roles(running.plane)
        for name in ("alice", "bob", "team"):
            running.plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        yield running


@pytest.fixture
def story(env: ServingEnv) -> Iterator[Story]:
    hosts = {
        name: address
        for domain, address in ADDRESSES.items()
        for name in (domain, *(f"{model}.alice.{domain}" for model in ("iris", "other", "llama")))
    }
    env.serve(IRIS, OTHER)
    with session(
        ports=[env.plane.port],
        hosts=hosts,
        https={ADDRESSES[EKF]: env.ingress.port, ADDRESSES[DOMAIN]: env.serving.port},
    ) as terminal:
        story = Story(env=env, terminal=terminal)
        story.write("public.crt", env.public.pem)
        python = ROOT / ".venv-client-kserve/bin/python"
        story.type(
            f"export KUBECONFIG={env.plane.kubeconfig} SSL_CERT_FILE=$PWD/public.crt"
            f" KSERVE_PYTHON={python}"
        )
        yield story


def test_a_model_is_guarded_called_and_revoked(story: Story, server: ModelServer) -> None:
    env = story.env
    story.type("git init -q && git config user.name Ada && git config user.email ada@example.com")
    story.type(
        f"daypass init . --front istio --gateway serving/serving --tls outside --host {DOMAIN}"
    )
    page = next(page for page in all_pages() if page.path.name == "models.md")
    story.meanwhile(lambda: report(follow_blocks(page, story.terminal)))
    story.write("ask.py", ASK)
    asked = len(server.callers)
    iris, other = f"iris.alice.{DOMAIN}", f"other.alice.{DOMAIN}"
    assert story.type(f"$KSERVE_PYTHON ask.py https://{iris}").strip() == f"[{PREDICTED}]"
    assert server.callers[asked:] == ["system:serviceaccount:team:bot"]
    assert "403" in story.type(f"$KSERVE_PYTHON ask.py https://{other}", code=1)

    token = Secret(story.type("daypass token --credentials bot.json").strip())
    assert env.call(token, host=iris).code == 200
    assert_refused(env.call(token, host=other), Reason.MODEL)
    assert_refused(env.send(host=iris), Reason.NO_TOKEN)
    ekf = story.type(f"daypass token --credentials bot.json --audience {EKF_AUDIENCE}")
    assert_refused(env.call(Secret(ekf.strip()), host=iris), Reason.AUDIENCE)

    story.type("daypass identity revoke bot -n team --yes")
    assert_refused(env.call(token, host=iris), Reason.UNKNOWN_CREDENTIAL, Reason.REVIEW_REFUSED)
    story.type("daypass remove --yes")
    for kind in ("envoyfilters.networking.istio.io", "deployments"):
        assert "daypass" not in story.type(f"kubectl get {kind} -A -o name")
