"""Which routes lead requests for a model of one namespace to another, judged from KServe's own."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.kubernetes.labels import OWNED
from daypass._core.kubernetes.objects import Object
from daypass.analysis.models import ModelNames, foreign_routes, is_read
from daypass.analysis.routes import GatewayRoute, routes_of
from daypass.analysis.snapshot import Snapshot
from daypass.config import Config
from support.kserve import (
    LanguageModel,
    Model,
    Routing,
    http_routes,
    ingress,
    knative_service_routes,
    llm_route,
    virtual_service,
)
from support.messages import check
from support.objects import make
from support.rendered import config_of
from unit.analysis.listed_objects import gateway, ingress_for, look_of, service

ISVC, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
HOST = f"{{host: '{{name}}.{{namespace}}.example.com', resource: {ISVC}}}"
DASHED = f"{{host: '{{name}}-{{namespace}}.example.com', resource: {ISVC}}}"
PATH = f"{{host: example.com, path: '/serving/{{namespace}}/{{name}}/', resource: {ISVC}}}"
LLM_PATH = f"{{host: example.com, path: '/{{namespace}}/{{name}}/', resource: {LLM}}}"
ROUTING = Routing(gateway_api="istio-system/public")
MODELS: ModelNames = {
    ISVC: {"alice": {"iris", "wine"}, "bob": {"iris", "mnist"}, "b-c": {"a"}},
    LLM: {"alice": {"llama"}, "bob": {"llama"}},
}


def gate(*rules: str) -> str:
    of_models, dashed = ("{name}.{namespace}", "{name}-{namespace}")
    hosts = [of_models if HOST in rules else "*.*", dashed if DASHED in rules else "*"]
    return (
        "version: 1\ndomains: {ekf: {host: example.com, front: istio, tls: outside}}\n"
        "gates:\n  default:\n    audience: gate.example.com\n    check: review\n"
        f"    hosts: [example.com, '{hosts[0]}.example.com', '{hosts[1]}.example.com']\n"
        f"    authorize: [{', '.join(rules)}]\n"
    )


KUBEFLOW_GATEWAY = gateway("*")
PUBLIC = make(
    "gateway.networking.k8s.io/v1", "Gateway", "public", "istio-system",
    spec={"listeners": [{"name": "https", "port": 443, "protocol": "HTTPS"}]},
)  # fmt: skip
POD = make(
    "v1", "Pod", "gateway-0", "istio-system",
) | {"metadata": {"name": "gateway-0", "labels": {
    "istio": "ingressgateway", "gateway.networking.k8s.io/gateway-name": "public"}}}  # fmt: skip


def served_at(config: Config, *documents: Object) -> set[GatewayRoute]:
    """What is served at the gateway that has the gate."""
    return routes_of(Snapshot(look_of(*documents, pods=[POD])), config.cluster_gates["default"])


def reported(*routes: Object, rules: tuple[str, ...] = (HOST, PATH)) -> list[str]:
    """The lines about these routes at the gateway that has the gate."""
    config = config_of(gate(*rules))
    served = served_at(config, KUBEFLOW_GATEWAY, PUBLIC, *routes)
    own = [each.rule for each in config.gates["default"].authorize]
    return list(foreign_routes(served, own, MODELS))


def route(
    *hosts: str, namespace: str = "alice", kind: str = "PathPrefix", path: str = "/"
) -> Object:
    rule = {
        "matches": [{"path": {"type": kind, "value": path}}],
        "backendRefs": [{"name": "mine", "port": 80}],
    }
    parents = [{"name": "public", "namespace": "istio-system"}]
    spec = {"parentRefs": parents, "hostnames": [*hosts], "rules": [rule]}
    return make("gateway.networking.k8s.io/v1", "HTTPRoute", "app", namespace, spec=spec)


def mine(*hosts: str, **match: Any) -> Object:
    return service("alice/x", *hosts, **match)


def app(host: str, path: str = "/") -> Object:
    return ingress_for("alice/app", host, path, ingressClassName="istio")


IRIS = Model(name="iris", namespace="alice")
WINE = Model(name="wine", namespace="alice", transformer=True)
MNIST = Model(name="mnist", namespace="bob", standard=True, transformer=True)
LLAMA = LanguageModel(name="llama", namespace="alice", model="publishers")
WITHOUT_PATHS = Routing(gateway_api="istio-system/public", paths=False)


@pytest.mark.parametrize(
    ("routes", "rules"),
    [
        ([virtual_service(IRIS, ROUTING)], (HOST, PATH, LLM_PATH)),
        ([knative_service_routes(WINE, ROUTING, "wine-predictor", tags=["bob", "latest"])],
         (HOST, PATH, LLM_PATH)),
        ([ingress(MNIST, ROUTING)], (DASHED,)),
        (http_routes(MNIST, WITHOUT_PATHS), (DASHED, PATH)),
        ([llm_route(LLAMA, ROUTING)], (HOST, PATH, LLM_PATH)),
        # Applications on the same hosts, and at the same gateway.
        ([service("kubeflow/dashboard", "*")], (HOST, PATH)),
        ([service("kubeflow/dashboard", "*", uri={"regex": ".*"})], (PATH,)),
        ([mine("*", uri={"prefix": "/notebook/bob/x/"})], (HOST, PATH, LLM_PATH)),
        ([mine("*.example.com", uri={"prefix": "/notebook/alice/x/"})], (HOST, DASHED)),
        ([mine("kiali.monitoring.example.com")], (HOST, PATH)),
        ([mine("iris.bob.example.org", "bob.example.com")], (HOST, PATH)),
        ([mine("*.alice.example.com", "iris.alice.example.com")], (HOST,)),
        ([route(path="/")], (HOST, PATH, LLM_PATH)),
        ([app("shop.example.com", path="/serving/bob/iris/")], (HOST, PATH)),
    ],
    ids=range(14),
)  # fmt: skip
def test_routes_of_the_same_namespace_and_of_no_models_are_not_reported(
    routes: list[Object], rules: tuple[str, ...]
) -> None:
    assert reported(*routes, rules=rules) == []


SHARED = "example.com"
FOREIGN = {
    "a host": (mine("iris.bob.example.com"), "bob/iris", HOST),
    "a model that is yet to come": (mine("new.bob.example.com"), "bob/new", HOST),
    "a wildcard": (mine("*.bob.example.com"), "bob/", HOST),
    "a wildcard of all": (mine("*.example.com"), "bob/iris", HOST),
    "one of all dashed hosts": (mine("*.example.com"), "bob/iris", DASHED),
    "a dashed host": (mine("iris-bob.example.com"), "bob/iris", DASHED),
    "another reading": (service("c/x", "a-b-c.example.com"), "b-c/a", DASHED),
    "a path": (mine(SHARED, uri={"prefix": "/serving/bob/iris/"}), "bob/iris", PATH),
    "on any host": (mine("*", uri={"prefix": "/serving/bob/iris/"}), "bob/iris", PATH),
    "a path in capitals": (
        mine(SHARED, uri={"prefix": "/SERVING/bob/iris/"}, ignoreUriCase=True),
        "bob/iris", PATH,
    ),
    "a regex": (mine(SHARED, uri={"regex": "/serving/bob/iris(/.*)?"}), "bob/iris", PATH),
    "all models": (mine(SHARED, uri={"prefix": "/serving"}), "bob/iris", PATH),
    "one of two": (
        mine(SHARED, uri={"regex": "/serving/alice/x|/serving/bob/y"}), "bob/iris", PATH,
    ),
    "maybe": (mine(SHARED, uri={"regex": "/serving/b?.*"}), "bob/iris", PATH),
    "a header": (mine(SHARED, headers={"x-a": {"exact": "b"}}), "bob/iris", PATH),
    "an HTTPRoute's host": (route("iris.bob.example.com"), "bob/iris", HOST),
    "an HTTPRoute's path": (route(path="/serving/bob/iris/"), "bob/iris", PATH),
    "its regex": (route(path="/serving/bob/.*", kind="RegularExpression"), "bob/iris", PATH),
    "all of a host that LLMs do not name": (route(SHARED), "bob/llama", LLM_PATH),
    "an Ingress": (app("iris-bob.example.com"), "bob/iris", DASHED),
}  # fmt: skip
"""A route in the namespace alice (or c), a model that it takes, and the rule that reads that."""


@pytest.mark.parametrize(("document", "model", "rule"), FOREIGN.values(), ids=FOREIGN)
def test_a_route_for_a_model_of_another_namespace_is_reported(
    document: Object, model: str, rule: str
) -> None:
    (line,) = reported(virtual_service(IRIS, ROUTING), document, rules=(rule,))
    metadata = document["metadata"]
    assert f"{document['kind']} {metadata['namespace']}/{metadata['name']} " in line
    assert f" {model}" in line


def test_labels_of_daypass_hide_no_route() -> None:
    """Anybody can write them."""
    hidden = mine("iris.bob.example.com", "mnist.bob.example.com")
    hidden["metadata"]["labels"] = dict(OWNED)
    (line,) = reported(hidden)
    check(line, "VirtualService alice/x ", "bob/iris", "bob/mnist", reason="model-routes")


def test_kserves_path_template_of_standard_mode_is_reported() -> None:
    """Its HTTPRoute takes every path of the shared domain."""
    standard = Model(name="iris", namespace="alice", standard=True)
    (line,) = reported(*http_routes(standard, ROUTING), rules=(DASHED, PATH))
    check(line, "HTTPRoute alice/iris ", "b-c/a", "bob/iris", reason="model-routes")


@pytest.mark.parametrize(
    ("rules", "read"),
    [((HOST, PATH), True), ((HOST,), False), ((PATH,), False), ((HOST, LLM_PATH), True)],
)
def test_a_gate_reads_every_model_if_each_of_its_hosts_has_a_rule(
    rules: tuple[str, ...], read: bool
) -> None:
    config = config_of(gate(*rules))
    route = virtual_service(IRIS, ROUTING)
    served = served_at(config, KUBEFLOW_GATEWAY, route)
    assert {each.host for each in served} == {"iris.alice.example.com", "example.com"}
    own = [each.rule for each in config.gates["default"].authorize]
    assert all(is_read(each, own) for each in served) is read


def test_a_rule_for_paths_reads_no_model_of_another_hosts_every_path() -> None:
    """KServe's Ingresses in Standard mode have `/`, which is near `/{namespace}/{name}/`."""
    config = config_of(gate(LLM_PATH))
    own = [each.rule for each in config.gates["default"].authorize]
    served = served_at(config, PUBLIC, ingress(MNIST, ROUTING))
    assert served
    assert not any(is_read(each, own) for each in served)
    of_llms = served_at(config, PUBLIC, llm_route(LLAMA, ROUTING))
    assert of_llms
    assert all(is_read(each, own) for each in of_llms)
