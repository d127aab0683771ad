"""Access to models from the first command to the last, for the EKF domain, the Serving domain and
both: an administrator types, real programs run, and a data scientist calls a model by KServe's
client. For both domains it is the page "Models", from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tools.docs.pages import ROOT, all_pages

from daypass._core.secret import Secret
from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.doc_checks import report
from support.doc_sessions import Session, follow_blocks, session
from support.gate_differences import assert_refused
from support.identities import make_pod, token_path
from support.istio_gateway import Gateway
from support.kserve import Model
from support.kubeflow import install_kserve_roles, install_kubeflow
from support.model_server import PREDICTED, ModelServer, running_model_server
from support.model_serving import (
    DOMAIN,
    DOMAINS,
    EKF,
    EKF_ROUTING,
    PATH,
    RESOURCE,
    ROUTING,
    SERVING,
    SERVING_AUDIENCE,
    Gate,
    ServingEnv,
    config_text,
    running_serving,
)

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
    """A reader of the documentation, at a cluster. `domain`: where the models are; `is_page`: of
    both domains, as on the page "Models".
    """

    env: ServingEnv
    terminal: Session
    server: ModelServer
    domain: str
    is_page: bool

    @property
    def gateway(self) -> Gateway:
        return self.env.ingress if self.domain == EKF else self.env.serving

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


@pytest.fixture(params=["ekf", "serving", "both"])
def story(env: ServingEnv, server: ModelServer, request: pytest.FixtureRequest) -> Iterator[Story]:
    routing = EKF_ROUTING if request.param == "ekf" else ROUTING
    hosts = {
        name: address
        for domain, address in ADDRESSES.items()
        for name in (domain, *(f"{model}.alice.{domain}" for model in ("iris", "other", "llama")))
    }
    env.serve(IRIS, OTHER, routing=routing)
    with session(
        ports=[env.plane.port],
        hosts=hosts,
        https={ADDRESSES[EKF]: env.ingress.port, ADDRESSES[DOMAIN]: env.serving.port},
    ) as terminal:
        story = Story(
            env=env, terminal=terminal, server=server, domain=routing.domain,
            is_page=request.param == "both",
        )  # fmt: skip
        story.write("public.crt", env.public.pem)
        python = ROOT / ".venv-client-kserve/bin/python"
        story.type(
            f"export KUBECONFIG={env.plane.kubeconfig} SSL_CERT_FILE=$PWD/public.crt"
            f" KSERVE_PYTHON={python}"
        )
        yield story


def administer(story: Story) -> None:
    """What the page "Models" says, with one domain and one gate."""
    host, is_ekf = story.domain, story.domain == EKF
    audience = EKF_AUDIENCE if is_ekf else SERVING_AUDIENCE
    where = {"gatewayNamespace": SERVING.namespace, "gatewayLabels": dict(SERVING.labels)}
    gate: Gate = {
        "audience": audience,
        "hosts": [f"{{name}}.{{namespace}}.{host}", host],
        "check": "review",
        "authorize": [
            {"host": f"{{name}}.{{namespace}}.{host}", "resource": RESOURCE},
            {"host": host, "path": PATH, "resource": RESOURCE},
        ],
        **({} if is_ekf else where),
    }
    name = "ekf" if is_ekf else "serving"
    front = {} if is_ekf else {"frontNamespace": SERVING.namespace}
    domains = {name: {**DOMAINS[name], **front}}
    story.write("daypass.yaml", config_text(domains=domains, audiences=[audience], default=gate))
    story.type("daypass apply --yes")
    story.type("daypass verify --kubeconfig $KUBECONFIG")
    story.type(f"daypass identity create bot -n team --domain {name} --audience {audience}")
    story.type("daypass identity authorize bot -n team --model alice/iris --gate default")


def pod_token(story: Story) -> Secret:
    """A token of a Pod of another namespace, for the gate's audience."""
    admin = story.env.plane.admin
    uid = make_pod(admin, "bob", "job", service_account="default")
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "job", "uid": uid}
    audience = EKF_AUDIENCE if story.domain == EKF else SERVING_AUDIENCE
    spec = {"audiences": [audience], "boundObjectRef": bound}
    return Secret(admin.create(token_path("bob", "default"), {"spec": spec})["status"]["token"])


def test_a_model_is_guarded_called_and_revoked(story: Story) -> None:
    env, terminal, host = story.env, story.terminal, story.domain
    gateway = "serving/serving" if host == DOMAIN else "istio-system/public"
    story.type("git init -q && git config user.name Ada && git config user.email ada@example.com")
    story.type(f"daypass init . --front istio --gateway {gateway} --tls outside --host {host}")
    if story.is_page:
        page = next(page for page in all_pages() if page.path.name == "models.md")
        story.meanwhile(lambda: report(follow_blocks(page, terminal)))
    else:
        administer(story)
    story.write("ask.py", ASK)
    asked = len(story.server.callers)
    model = f"https://iris.alice.{host}"
    assert story.type(f"$KSERVE_PYTHON ask.py {model}").strip() == f"[{PREDICTED}]"
    assert story.server.callers[asked:] == ["system:serviceaccount:team:bot"]
    refused = story.type(f"$KSERVE_PYTHON ask.py https://other.alice.{host}", code=1)
    assert "403" in refused

    token = Secret(story.type("daypass token --credentials bot.json").strip())
    place: dict[str, Any] = {"host": f"iris.alice.{host}", "gateway": story.gateway}
    assert env.call(token, **place).code == 200
    assert_refused(env.call(token, host=f"other.alice.{host}", gateway=story.gateway), Reason.MODEL)
    assert_refused(env.send(**place), Reason.NO_TOKEN)
    if story.is_page:
        ekf = story.type(f"daypass token --credentials bot.json --audience {EKF_AUDIENCE}")
        assert_refused(env.call(Secret(ekf.strip()), **place), Reason.AUDIENCE)
    assert_refused(env.call(pod_token(story), **place), Reason.UNBOUND, Reason.MODEL)

    story.type("daypass identity revoke bot -n team --yes")
    assert_refused(env.call(token, **place), Reason.UNKNOWN_CREDENTIAL, Reason.REVIEW_REFUSED)
    story.type("daypass remove --yes")
    for kind in ("envoyfilters.networking.istio.io", "deployments"):
        assert "daypass" not in story.type(f"kubectl get {kind} -A -o name")
