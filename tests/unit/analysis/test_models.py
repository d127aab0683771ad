"""What makes access by model untrue, judged from the objects of a cluster."""

from __future__ import annotations

import json

import pytest

from daypass._core.findings import Finding
from daypass._core.kubernetes.objects import Object
from daypass.analysis.checks import judge
from support.kserve import (
    LanguageModel,
    Model,
    Routing,
    inference_service,
    knative_service_routes,
    llm_inference_service,
)
from support.messages import check
from support.objects import make
from support.rendered import config_of
from unit.analysis.listed_objects import gateway, look_of, service

IRIS = Model(name="iris", namespace="alice")
SERVING = gateway("*", name="kubeflow/serving", istio="serving")
CONFIG = """\
version: 1
domains: {serving: {host: example.com, front: istio, tls: outside}}
gates:
  default:
    audience: serving
    check: review
    gatewayLabels: {istio: serving}
    hosts: ['{name}.{namespace}.example.com']
    authorize:
    - {host: '{name}.{namespace}.example.com', resource: inferenceservices.serving.kserve.io}
"""


def found(*documents: Object) -> list[Finding]:
    """What is found in a cluster that has these objects alone."""
    found = judge(look_of(*documents), config_of(CONFIG))
    return [each for each in found if each.check.startswith("model-")]


def test_knatives_own_route_to_a_model_is_reported_at_a_gateway_without_a_rule() -> None:
    """Kubeflow's gateway remains Knative's, if only KServe's `ingressGateway` was moved."""
    gateways = gateway("*"), SERVING
    routes = {
        name: knative_service_routes(IRIS, Routing(gateway=f"kubeflow/{name}"), "iris-predictor")
        for name in ("kubeflow-gateway", "serving")
    }
    # What leads to no model.
    other = Model(name="shop", namespace="alice")
    routes["other"] = knative_service_routes(other, Routing(), "shop")
    (finding,) = found(inference_service(IRIS), *gateways, *routes.values())
    check(finding.fact, "Gateway kubeflow/kubeflow-gateway", "alice", reason="model-gateways")
    assert found(inference_service(IRIS), *gateways, routes["serving"], routes["other"]) == []


def test_a_tenants_config_with_routes_for_language_models_is_reported() -> None:
    """KServe takes a config of this name from the model's namespace first."""
    model = llm_inference_service(LanguageModel(name="own", namespace="bob"))
    named, name = {**model["spec"], "baseRefs": [{"name": "mine"}]}, "LLMInferenceServiceConfig"
    spec: Object = {"router": {"route": {"http": {"spec": {"rules": []}}}}}
    theirs, kserves, empty = (
        make("serving.kserve.io/v1alpha2", name, "mine", namespace, spec=each)
        for namespace, each in (("bob", spec), ("kserve", spec), ("alice", {"router": {}}))
    )
    (finding,) = found({**model, "spec": named}, theirs, kserves, empty)
    check(finding.sentence, "LLMInferenceServiceConfig bob/mine", reason="model-routes")


def test_a_tenants_route_for_a_wildcard_takes_models_and_that_of_an_application_does_not() -> None:
    """Where Kubeflow's Gateway has `*.example.com`, that is what its routes for `*` serve."""
    tenants, dashboard = (
        service(f"{namespace}/x", "*.example.com", at="kubeflow/serving")
        for namespace in ("bob", "kubeflow")
    )
    (finding,) = found(inference_service(IRIS), SERVING, tenants, dashboard)
    check(finding.fact, "VirtualService bob/x ", "alice/iris", reason="model-routes")


@pytest.mark.parametrize(
    ("kserves", "knatives", "is_found"),
    [
        ("example.com", {}, False),
        ("models.test", {}, True),
        ("models.test", {"example.com": "", "_example": "x"}, False),
        (None, {"models.test": ""}, True),
        (None, {"_example": "x"}, False),
    ],
)
def test_a_domain_of_models_that_no_rule_names_is_found(
    kserves: str | None, knatives: dict[str, str], *, is_found: bool
) -> None:
    ingress = json.dumps({"ingressDomain": kserves} if kserves else {})
    name = "inferenceservice-config"
    maps = (
        make("v1", "ConfigMap", name, "kubeflow", data={"ingress": ingress}),
        make("v1", "ConfigMap", "config-domain", "knative-serving", data=knatives),
    )
    lines = found(*maps)
    assert bool(lines) is is_found
    for each in lines:
        check(each.sentence, "models.test", "gates.default.authorize", reason="model-domain")
