"""Whose Pods may call a model past the gate."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.analysis.pods import EVERYBODY, callers_of
from support.objects import make

GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
OWNER = {"key": "request.headers[kubeflow-userid]", "values": ["alice@example.com"]}
PROFILE: list[Object] = [
    {"when": [OWNER], "from": [{"source": {"principals": [
        GATEWAY, "cluster.local/ns/kubeflow/sa/ml-pipeline-ui"]}}]},
    {"when": [{"key": "source.namespace", "values": ["alice"]}]},
    {"to": [{"operation": {"paths": ["/healthz", "/metrics", "/wait-for-drain"]}}]},
    {"from": [{"source": {"principals": [
        "cluster.local/ns/kubeflow/sa/notebook-controller-service-account"]}}],
     "to": [{"operation": {"methods": ["GET"], "paths": ["*/api/kernels"]}}]},
]  # fmt: skip
"""What Kubeflow's profile controller writes (getAuthorizationPolicy, read in April 2026)."""


def pod(*containers: str, init: tuple[str, ...] = (), **labels: str) -> Object:
    spec = {
        "containers": [{"name": name} for name in ("kserve-container", *containers)],
        "initContainers": [{"name": name} for name in init],
    }
    found = make("v1", "Pod", "iris-predictor-0", "alice", spec=spec)
    found["metadata"]["labels"] = {"serving.kserve.io/inferenceservice": "iris", **labels}
    return found


def policy(*rules: Object, name: str = "x", namespace: str = "alice", **spec: Any) -> Object:
    version = "security.istio.io/v1"
    return make(version, "AuthorizationPolicy", name, namespace, spec={"rules": [*rules], **spec})


def source(**fields: list[str]) -> Object:
    return {"from": [{"source": fields}]}


def network(*ingress: Object, **spec: Any) -> Object:
    document = {"podSelector": {}, "ingress": [*ingress], **spec}
    return make("networking.k8s.io/v1", "NetworkPolicy", "x", "alice", spec=document)


MODEL: Object = {"selector": {"matchLabels": {"serving.kserve.io/inferenceservice": "iris"}}}
ANOTHER: Object = {"selector": {"matchLabels": {"serving.kserve.io/inferenceservice": "wine"}}}
DENY_ALL = make("security.istio.io/v1", "AuthorizationPolicy", "global-deny-all", "istio-system")
IN_MESH = pod("istio-proxy")

CALLERS: dict[str, tuple[list[Object], set[str]]] = {
    "a profile's own policy": ([policy(*PROFILE)], {"istio-system", "kubeflow", "alice"}),
    "nobody, by the mesh's default": ([DENY_ALL], set()),
    "no policy": ([], {EVERYBODY}),
    "one for another model": ([policy(source(principals=[GATEWAY]), **ANOTHER)], {EVERYBODY}),
    "one of another namespace": ([policy(namespace="bob")], {EVERYBODY}),
    "one for a gateway": ([policy(targetRefs=[{"name": "waypoint"}])], {EVERYBODY}),
    "the gateway": ([policy(source(principals=[GATEWAY]), **MODEL)], {"istio-system"}),
    "as Kubeflow's tests have it": ([DENY_ALL, policy({}, **MODEL)], {EVERYBODY}),
    "a header alone": ([policy({"when": [OWNER]})], {EVERYBODY}),
    "a principal of any namespace": (
        [policy(source(principals=["cluster.local/ns/*/sa/x"]))], {EVERYBODY},
    ),
    "any of a namespace": ([policy(source(principals=["*/ns/bob/sa/*"]))], {"bob"}),
    "a namespace": ([policy(source(namespaces=["bob"]))], {"bob"}),
    "an account": ([policy(source(serviceAccounts=["bob/bot"]))], {"bob"}),
    "an account of its own": ([policy(source(serviceAccounts=["bot"]))], {"alice"}),
    "who has a token": ([policy(source(requestPrincipals=["*"]))], {EVERYBODY}),
    "probes and more": (
        [policy({"to": [{"operation": {"paths": ["/healthz", "/v1/*"]}}]})], {EVERYBODY},
    ),
    "all but others, denied": (
        [policy({}), policy(source(notPrincipals=[GATEWAY]), action="DENY")], {"istio-system"},
    ),
    "who has a certificate": (
        [policy({}), policy(source(notPrincipals=["*"]), action="DENY")], {EVERYBODY},
    ),
    "all but others, denied one path": (
        [policy({}), policy({**source(notPrincipals=[GATEWAY]),
                             "to": [{"operation": {"paths": ["/x"]}}]}, action="DENY")],
        {EVERYBODY},
    ),
    "all, with a check of its own": ([policy({}, action="CUSTOM"), policy({})], {EVERYBODY}),
}  # fmt: skip
"""AuthorizationPolicies, and the namespaces whose Pods may call the model."""


@pytest.mark.parametrize(("policies", "callers"), CALLERS.values(), ids=CALLERS)
def test_istios_policies_decide_about_a_pod_with_a_sidecar(
    policies: list[Object], callers: set[str]
) -> None:
    assert set(callers_of(IN_MESH, policies, [])) == callers


def test_without_a_sidecar_policies_of_istio_decide_nothing() -> None:
    narrow = [policy(source(principals=[GATEWAY]))]
    (why,) = callers_of(pod("queue-proxy"), narrow, []).values()
    assert "sidecar" in why
    for meshed in (IN_MESH, pod(init=("istio-proxy",))):
        assert set(callers_of(meshed, narrow, [])) == {"istio-system"}


@pytest.mark.parametrize(
    ("ports", "is_closed"), [("15020", True), ("", True), ("8080", False), ("15020, 8080", False)]
)
def test_a_port_that_the_sidecar_leaves_out_is_open(ports: str, is_closed: bool) -> None:
    meshed = pod("istio-proxy")
    meshed["metadata"]["annotations"] = {"traffic.sidecar.istio.io/excludeInboundPorts": ports}
    assert (callers_of(meshed, [DENY_ALL], []) == {}) is is_closed


PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}}


def named(operator: str, *values: str) -> Object:
    key = "kubernetes.io/metadata.name"
    expression = {"key": key, "operator": operator, **({"values": [*values]} if values else {})}
    return {"namespaceSelector": {"matchExpressions": [expression]}}


@pytest.mark.parametrize(
    ("networks", "is_limited"),
    [
        ([network({"from": [PEER, {"podSelector": {}}]})], True),
        ([network()], True),
        ([network({"from": [PEER]}, podSelector=MODEL["selector"])], True),
        ([network({"from": [PEER]}, podSelector=ANOTHER["selector"])], False),
        ([network({"from": [PEER]}, policyTypes=["Egress"])], False),
        ([network({"from": [PEER, {"namespaceSelector": {}}]})], False),
        ([network({"from": [PEER]}, {"ports": [{"port": 8080}]})], False),
        ([network({"from": [PEER]}), network({"from": []})], False),
        ([network({"from": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]})], True),
        ([network({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})], False),
        ([network({"from": [named("Exists")]})], False),
        ([network({"from": [named("NotIn", "bob")]})], False),
        ([network({"from": [named("In", "istio-system")]})], True),
        ([], False),
    ],
)
def test_a_network_policy_that_names_the_callers_is_enough(
    networks: list[Object], is_limited: bool
) -> None:
    assert (callers_of(pod(), [], networks) == {}) is is_limited
