"""What KServe's controllers themselves write, on a real API server: the fixtures say the same.

No Knative and no kubelet runs: the tests report what those would, that a component is ready.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tools.crds import definitions
from tools.gobuild import TOOLS, built, downloaded

from daypass._core.kubernetes.objects import Object
from support import crds, kserve
from support.authority import Authority
from support.children import Child
from support.clusters import apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.kserve import LanguageModel, Model, Routing
from support.objects import config_map, make
from support.ports import free_ports

pytestmark = pytest.mark.timeout(600)

HOME, KNATIVE = "kserve", "knative-serving"
MODULE = Path(downloaded("github.com/kserve/kserve", TOOLS / "kservemanager")["Dir"])
DEFINITIONS = (
    "config/crd/full/*.yaml", "config/crd/full/clusterstoragecontainer/*.yaml",
    "config/crd/full/llmisvc/serving*.yaml", "test/crds/knative_service.yaml",
    "test/crds/gateway-inference-extension.yaml",
)  # fmt: skip
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/namespaces/{}/virtualservices"
KNATIVE_SERVICES = "/apis/serving.knative.dev/v1/namespaces/{}/services"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/{}/ingresses"
HTTP_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with all kinds that the controllers look for, and their own namespace."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        crds.install_istio(running)
        crds.install_gateway_api(running)
        files = (file for pattern in DEFINITIONS for file in MODULE.glob(pattern))
        crds.install(running, definitions(files))
        apply(
            running,
            *(make("v1", "Namespace", name) for name in (HOME, KNATIVE)),
            *(config_map(name, KNATIVE, {}) for name in ("config-autoscaler", "config-domain")),
        )
        yield running


@contextmanager
def controller(
    folder: Path, plane: ControlPlane, program: str, routing: Routing, *, gateway_api: bool = False
) -> Iterator[None]:
    """KServe's manager (`kservemanager`), or that of language models (`kservellm`)."""
    apply(plane, configuration(routing, gateway_api=gateway_api))
    pair, serving = Authority().server("localhost"), folder / "k8s-webhook-server/serving-certs"
    serving.mkdir(parents=True)
    (serving / "tls.crt").write_text(pair.certificate_pem)
    (serving / "tls.key").write_text(pair.key_pem)
    webhook, health = free_ports(2)
    child = Child(
        [str(built(program)), "--metrics-addr", "0", "--webhook-port", str(webhook),
         "--health-probe-addr", f"127.0.0.1:{health}"],
        log=folder / f"{program}.log", folder=folder,
        environment={
            **os.environ, "KUBECONFIG": str(plane.kubeconfig), "POD_NAMESPACE": HOME,
            "TMPDIR": str(folder),
        },
    )  # fmt: skip

    def is_ready() -> bool:
        child.check()
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)

    try:
        eventually(f"{program} is ready", is_ready, seconds=60)
        yield
    finally:
        child.stop()


def configuration(routing: Routing, *, gateway_api: bool) -> Object:
    """KServe's own ConfigMap, with Kubeflow's `ingress`."""
    document = yaml.safe_load((MODULE / "config/configmap/inferenceservice.yaml").read_text())
    ingress = {
        "enableGatewayApi": gateway_api,
        "kserveIngressGateway": routing.gateway_api,
        "ingressGateway": routing.gateway,
        "localGateway": routing.local_gateway,
        "localGatewayService": routing.local_service,
        "ingressDomain": routing.domain,
        "ingressClassName": routing.ingress_class,
        "domainTemplate": "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
        "urlScheme": "http",
        **({"pathTemplate": "/serving/{{ .Namespace }}/{{ .Name }}"} if routing.paths else {}),
    }
    data = {name: text for name, text in document["data"].items() if not name.startswith("_")}
    return config_map("inferenceservice-config", HOME, {**data, "ingress": json.dumps(ingress)})


def assert_written(plane: ControlPlane, expected: Object, collection: str) -> None:
    """The controller has written an object with the `spec` of this fixture in its place."""
    collection = collection.format(expected["metadata"]["namespace"])
    name = expected["metadata"]["name"]
    found = eventually(
        f"{expected['kind']} {name} is there",
        lambda: plane.admin.find(f"{collection}/{name}"), seconds=60,
    )  # fmt: skip
    # With what the API server adds to an object.
    other = {**expected, "metadata": {"name": "other"}}
    wanted = plane.admin.create(f"{collection}?dryRun=All", other)
    assert found["spec"] == wanted["spec"]


def become_ready(plane: ControlPlane, model: Model) -> None:
    """Report the model's components as ready, as Knative or kubelets would."""
    for component in model.components:
        if model.standard:
            path = f"{DEPLOYMENTS.format(model.namespace)}/{component}"
            status: Object = {"conditions": [condition("Available")]}
        else:
            path = f"{KNATIVE_SERVICES.format(model.namespace)}/{component}"
            status = {
                "conditions": [
                    condition(each) for each in ("ConfigurationsReady", "Ready", "RoutesReady")
                ],
                "latestCreatedRevisionName": f"{component}-00001",
                "latestReadyRevisionName": f"{component}-00001",
                "url": f"http://{model.host(component, Routing().domain)}",
                "address": {"url": f"http://{model.inside(component)}"},
            }
            if model.local:
                status["url"] = status["address"]["url"]
        found = eventually("it is there", lambda path=path: plane.admin.find(path), seconds=60)  # type: ignore[misc]
        status["observedGeneration"] = found["metadata"]["generation"]
        plane.admin.patch(f"{path}/status", {"status": status})


def condition(kind: str) -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def make_model(plane: ControlPlane, **shape: bool) -> Model:
    model = Model(name="iris", namespace=plane.make_namespace(), **shape)
    apply(plane, kserve.inference_service(model))
    become_ready(plane, model)
    return model


SHAPES: list[dict[str, bool]] = [{}, {"transformer": True}]


@pytest.mark.parametrize("paths", [False, True], ids=["hosts", "paths"])
def test_virtual_services_and_ingresses_are_as_in_the_fixtures(
    plane: ControlPlane, tmp_path: Path, paths: bool
) -> None:
    routing = Routing(paths=paths)
    with controller(tmp_path, plane, "kservemanager", routing):
        for shape in [*SHAPES, {"local": True}]:
            model = make_model(plane, **shape)
            assert_written(plane, kserve.virtual_service(model, routing), VIRTUAL_SERVICES)
        for shape in SHAPES:
            model = make_model(plane, standard=True, **shape)
            assert_written(plane, kserve.ingress(model, routing), INGRESSES)


@pytest.mark.parametrize("paths", [False, True], ids=["hosts", "paths"])
def test_http_routes_are_as_in_the_fixtures(
    plane: ControlPlane, tmp_path: Path, paths: bool
) -> None:
    routing = Routing(paths=paths)
    with controller(tmp_path, plane, "kservemanager", routing, gateway_api=True):
        for shape in SHAPES:
            model = make_model(plane, standard=True, **shape)
            for expected in kserve.http_routes(model, routing):
                assert_written(plane, expected, HTTP_ROUTES)


def test_the_route_of_a_language_model_is_as_in_the_fixtures(
    plane: ControlPlane, tmp_path: Path
) -> None:
    routing = Routing()
    with controller(tmp_path, plane, "kservellm", routing):
        for file in sorted((MODULE / "config/llmisvcconfig").glob("config-llm-*.yaml")):
            document = yaml.safe_load(file.read_text())
            document["metadata"]["namespace"] = HOME
            apply(plane, document)
        where, name = routing.gateway_api.split("/")
        listener = {"name": "http", "port": 80, "protocol": "HTTP"}
        spec = {"gatewayClassName": "none", "listeners": [listener]}
        apply(plane, make("gateway.networking.k8s.io/v1", "Gateway", name, where, spec=spec))
        llm = LanguageModel(name="chat", namespace=plane.make_namespace())
        apply(plane, kserve.llm_inference_service(llm))
        assert_written(plane, kserve.llm_route(llm, routing), HTTP_ROUTES)
