"""Which hosts bypass the gate, judged from the objects of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import yaml

from daypass._core.findings import Finding
from daypass._core.kubernetes.labels import OWNED
from daypass._core.kubernetes.objects import Object
from daypass.analysis.checks import find_if_possible, judge
from daypass.analysis.gateways import AUDIENCE_ROUTES, GATE_HOSTS
from daypass.analysis.routes import in_common
from support.messages import check
from support.rendered import config_of
from unit.analysis.listed_objects import gateway, ingress_for, look_of, of_istio, service

HOST = "ekf.example.com"


def gate_of(text: str) -> str:
    return (
        "version: 1\ndomains: {ekf: {host: ekf.example.com, front: istio, tls: outside}}\n"
        f"gates: {{default: {{audience: gate.example.com, {text}}}}}\n"
    )


def found(
    text: str, documents: Sequence[Object], pods: Sequence[Object], reason: str = GATE_HOSTS
) -> list[Finding]:
    """What is found of one kind, a finding for each line. `pods`: those of the gateway."""
    judged = judge(look_of(*documents, pods=pods), config_of(text))
    return [
        replace(each, fact=line)
        for each in judged
        if each.check == reason
        for line in each.fact.splitlines()
    ]


def bypasses(gate: str, documents: Sequence[Object], *pods: Object) -> tuple[str, ...]:
    """The lines reported about objects. `pods`: of the gateway that has the gate."""
    return tuple(each.fact for each in found(gate_of(gate), documents, pods))


def pod(**labels: str) -> Object:
    return {"kind": "Pod", "metadata": {"labels": labels}}


USUAL = pod(istio="ingressgateway", app="gw")


def reported(
    *documents: Object, pods: Sequence[Object] = (USUAL,), hosts: Sequence[str] = (HOST,)
) -> list[str]:
    """The lines reported about Istio's objects."""
    return list(bypasses(f"hosts: [{', '.join(hosts)}]", documents, *pods))


ANY = ("VirtualService kubeflow/dashboard ", "Gateway kubeflow/kubeflow-gateway;", f" {HOST}:")
"""What a line about STAR names."""


def is_about(line: str, *names: str) -> bool:
    return all(name in line for name in names)


def labelled(document: Object) -> Object:
    """The same with daypass's labels, which anybody can write."""
    return {**document, "metadata": {**document["metadata"], "labels": OWNED}}


STAR = service("kubeflow/dashboard", "*")
OURS = service("kubeflow/dashboard", HOST)


@pytest.mark.parametrize(
    "documents",
    [
        [gateway(HOST), STAR],
        [gateway("*"), OURS],
        [gateway("./*"), service("team/x", "*")],
        [gateway("other/*"), STAR],
        [gateway("*", tls={"httpsRedirect": True}), STAR],
        [gateway("*", port={"number": 443, "protocol": "TLS"}), STAR],
        [gateway("*"), service("kubeflow/dashboard", "*", at="mesh")],
        [gateway("*"), service("team/x", "*", at="kubeflow-gateway")],  # of its own
        [gateway("*"), of_istio("VirtualService", "a/b", hosts=["*"])],
        [of_istio("Gateway", "kubeflow/kubeflow-gateway", selector={"istio": "other"},
              servers=[{"hosts": ["*"]}]), STAR],
        [gateway("*"), of_istio("VirtualService", "kubeflow/r", hosts=["*"],
                            gateways=["kubeflow-gateway"], http=[{"redirect": {"uri": "/x"}}])],
        [gateway("*"), labelled(service("daypass/door", "*"))],
        [gateway("*"), OURS, service("team/x", "x.example.com", to="x")],
        [{**gateway(), "spec": None}, STAR],
    ],
    ids=range(14),
)  # fmt: skip
def test_routes_to_unguarded_services_are_not_reported(documents: list[Object]) -> None:
    assert reported(*documents) == []


def other_host(to: str) -> list[Object]:
    """Another host of the service that is guarded."""
    return [
        gateway("*"),
        OURS,
        service("team/x", "x.example.com", to=to),
    ]


def delegating(name: str, host: str) -> Object:
    http = [{"delegate": {"name": "routes", "namespace": "team"}}]
    return of_istio(
        "VirtualService", f"kubeflow/{name}", hosts=[host], gateways=["kubeflow-gateway"], http=http
    )


OTHER = ("VirtualService team/x ", " x.example.com ", *ANY[1:])
AT = ["kubeflow/kubeflow-gateway", "./kubeflow-gateway",
      "kubeflow-gateway.kubeflow.svc.cluster.local"]  # fmt: skip
REPORTED: dict[str, tuple[list[Object], tuple[str, ...]]] = {
    "any host": ([gateway("*"), STAR], ANY),
    "with daypass's labels": ([gateway("*"), labelled(STAR)], ANY),
    "a host of the gateway": ([gateway(HOST, "x.example.com"), STAR], (" x.example.com ", *ANY)),
    "a wildcard": ([gateway("*.example.com"), STAR], (" *.example.com ", *ANY)),
    "the same service": (other_host("dashboard.kubeflow"), OTHER),
    "the same service, in full": (other_host("dashboard.kubeflow.svc.cluster.local"), OTHER),
    "the same delegate": (
        [gateway("*"), delegating("root", HOST), delegating("other", "x.example.com")],
        ("VirtualService kubeflow/other ", " x.example.com "),
    ),
    **{f"at {at}": ([gateway("*"), service("kubeflow/dashboard", "*", at=at)], ANY) for at in AT},
}


@pytest.mark.parametrize(("documents", "names"), REPORTED.values(), ids=REPORTED)
def test_a_host_that_bypasses_the_gate_is_reported(
    documents: list[Object], names: tuple[str, ...]
) -> None:
    (line,) = reported(*documents)
    assert is_about(line, *names)
    check(line, reason="unguarded")


def test_a_host_that_is_guarded_too_is_not_reported() -> None:
    assert reported(*other_host("dashboard.kubeflow"), hosts=[HOST, "x.example.com"]) == []


def test_a_selector_matches_known_pods_and_possibly_unknown_ones() -> None:
    by_app = {**gateway("*"), "spec": {**gateway("*")["spec"], "selector": {"app": "gw"}}}
    for pods in ([USUAL], []):
        (line,) = reported(by_app, STAR, pods=pods)
        assert is_about(line, *ANY)
    assert reported(by_app, STAR, pods=[pod(istio="ingressgateway", app="x")]) == []


GATEWAYS = """\
kind: Gateway
metadata: {namespace: istio-system, name: public}
spec:
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: '*.example.com'}
  - {name: web, port: 80, protocol: HTTP}
  - {name: raw, port: 81, protocol: TCP}
---
kind: Gateway
metadata: {namespace: edge, name: by-hand}
spec:
  addresses: [{type: Hostname, value: gateway.istio-system.svc.cluster.local}]
  listeners: [{name: https, port: 443, protocol: HTTPS}]
---
kind: Gateway
metadata: {namespace: istio-system, name: another}
spec: {listeners: [{name: https, port: 443, protocol: HTTPS}]}
"""
ROUTE = """\
kind: HTTPRoute
metadata: {namespace: istio-system, name: app}
spec:
  parentRefs: [{name: public, sectionName: https}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
"""
PUBLIC = "Gateway istio-system/public,"
MADE = pod(**{"gateway.networking.k8s.io/gateway-name": "public"})
VERSION = {"apiVersion": "gateway.networking.k8s.io/v1"}


def with_gateways(route: str) -> list[Object]:
    return [{**VERSION, **each} for each in yaml.safe_load_all(f"{GATEWAYS}---\n{route}")]


@pytest.mark.parametrize(
    ("route", "names"),
    [
        (ROUTE, [["HTTPRoute istio-system/app ", " *.example.com ", PUBLIC, "listener https;"]]),
        (ROUTE.replace("HTTPRoute", "GRPCRoute"), [["GRPCRoute istio-system/app "]]),
        (ROUTE.replace(", sectionName: https", ""),
         [[PUBLIC, "listener https;"], [PUBLIC, "listener web;"]]),
        (ROUTE.replace("sectionName: https", "port: 80"), [[PUBLIC, "listener web;"]]),
        (ROUTE.replace("public", "by-hand, namespace: edge"),
         [["Gateway edge/by-hand,", "listener https;"]]),
        (ROUTE.replace("spec:", f"spec:\n  hostnames: [{HOST}]"), []),
        (ROUTE.replace("public", "another"), []),
        (ROUTE.replace("sectionName: https", "sectionName: raw"), []),
        (ROUTE.replace("sectionName: https", "kind: Service"), []),
        (ROUTE.replace("backendRefs", "filters"), []),
    ],
    ids=["HTTPRoute", "GRPCRoute", "whole Gateway", "port", "Gateway with a Service", "hostname",
         "another Gateway", "TCP listener", "parent is a Service", "no backend"],
)  # fmt: skip
def test_routes_of_the_gateway_api_are_reported(route: str, names: list[list[str]]) -> None:
    lines = bypasses(f"hosts: [{HOST}]", with_gateways(route), MADE)
    assert len(lines) == len(names)
    for line, each in zip(lines, names, strict=True):
        assert is_about(line, *each)
        check(line, reason="unguarded")


def test_other_listeners_that_serve_a_guarded_host_are_reported() -> None:
    gate = f"engine: envoy-gateway, gateway: istio-system/public/https, hosts: [{HOST}]"
    everywhere = ROUTE.replace(", sectionName: https", "")
    (line,) = bypasses(gate, with_gateways(everywhere))
    assert is_about(line, "HTTPRoute istio-system/app ", PUBLIC, "listener web,", " https:")
    check(line, reason="unguarded")
    another_host = everywhere.replace("spec:", "spec:\n  hostnames: [x.test]")
    for route in (ROUTE, another_host, everywhere.replace("public", "another")):
        assert bypasses(gate, with_gateways(route)) == ()


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("*", "a.b", "a.b"),
        ("a.b", "*", "a.b"),
        ("*.b", "a.b", "a.b"),
        ("*.b", "*.a.b", "*.a.b"),
        ("x.a.b", "*.b", "x.a.b"),
        ("*.b", "xb", None),
    ],
)
def test_the_intersection_of_two_host_patterns(one: str, other: str, both: str | None) -> None:
    assert in_common(one, other) == both


PATTERNS = ("kf.example.com", "{name}.{namespace}.example.com")


@pytest.mark.parametrize(
    ("hosts", "is_past"),
    [
        (["iris.alice.example.com", "*.alice.example.com", "a.b.c.example.com"], False),
        (["iris.example.com"], True),
        (["*.example.com"], True),
    ],
)
def test_a_pattern_guards_every_host_with_its_end(hosts: list[str], is_past: bool) -> None:
    guarded = service("kubeflow/dashboard", PATTERNS[0])
    other = service("team/x", *hosts, to="dashboard.kubeflow")
    quoted = [f"'{host}'" for host in PATTERNS]
    assert bool(reported(gateway("*"), guarded, other, hosts=quoted)) is is_past


def test_a_match_for_another_gateway_or_host_serves_nothing_here() -> None:
    """KServe's VirtualServices have one for each."""
    matched = service(
        "team/x", "x.example.com", to="dashboard.kubeflow", at="kubeflow/kubeflow-gateway"
    )
    matched["spec"]["gateways"].append("knative-serving/local")
    (http,) = matched["spec"]["http"]
    http["match"] = [{"gateways": ["knative-serving/local"]}]
    assert reported(gateway("*"), OURS, matched) == []
    http["match"] = [{"authority": {"regex": r"^y\.example\.com$"}}]
    assert reported(gateway("*"), OURS, matched) == []
    http["match"].append({"authority": {"prefix": "x."}, "gateways": ["kubeflow/kubeflow-gateway"]})
    assert len(reported(gateway("*"), OURS, matched)) == 1


def test_an_ingress_of_istios_class_is_served_at_its_usual_gateway() -> None:
    document = ingress_for("kubeflow/x", "x.example.com", ingressClassName="istio")
    (line,) = reported(gateway("*"), OURS, document)
    assert is_about(line, "Ingress kubeflow/x ", " x.example.com ", "IngressClass istio")
    assert reported(gateway("*"), OURS, document, pods=[pod(istio="serving")]) == []
    del document["spec"]["ingressClassName"]
    assert reported(gateway("*"), OURS, document) == []


DASHED = "{name}-{namespace}.example.com"
AUDIENCE = "policy: {audiences: [gate.example.com, alice]}\n"


def opened_too(
    *documents: Object, places: str, hosts: str = "{name}.alice.example.com"
) -> list[tuple[str, str]]:
    """What is reported of an audience that opens these places: facts and hints."""
    gate = f"hosts: [{HOST}, '{hosts}'], audiences: {{alice: [{places}]}}"
    lines = found(AUDIENCE + gate_of(gate), documents, [USUAL], AUDIENCE_ROUTES)
    return [(each.fact, each.hint) for each in lines]


def paths_of(document: Object, *prefixes: str) -> Object:
    """The same VirtualService for these paths alone."""
    (http,) = document["spec"]["http"]
    matched = {**http, "match": [{"uri": {"prefix": each}} for each in prefixes]}
    return {**document, "spec": {**document["spec"], "http": [matched]}}


ALICE, BELOW = "'{name}.alice.example.com'", f"{HOST}/serving/alice/"


@pytest.mark.parametrize(
    ("document", "places", "hosts", "is_more"),
    [
        (paths_of(STAR, "/pipeline/"), ALICE, ALICE, True),
        (service("kubeflow/d", "*.example.com"), ALICE, ALICE, True),
        (service("kubeflow/d", "*.example.com"), f"'{DASHED}'", f"'{DASHED}'", True),
        (STAR, BELOW, ALICE, True),
        (paths_of(STAR, "/serving/"), BELOW, ALICE, True),
        (paths_of(STAR, "/pipeline/"), BELOW, ALICE, False),
        (service("alice/d", "*.alice.example.com"), ALICE, ALICE, False),
        (service("kubeflow/d", "iris.alice.example.com"), ALICE, ALICE, False),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_wildcards_route_that_an_audience_opens_too_is_reported(
    document: Object, places: str, hosts: str, is_more: bool
) -> None:
    lines = opened_too(gateway("*"), document, places=places, hosts=hosts.strip("'"))
    assert len(lines) == is_more
    for fact, hint in lines:
        assert is_about(fact, document["metadata"]["name"], "gates.default.audiences", " alice ")
        check(f"{fact}\n{hint}", reason=AUDIENCE_ROUTES)


def test_audiences_are_looked_at_even_where_every_name_is_guarded() -> None:
    gate = f"hosts: ['*', '{DASHED}'], audiences: {{alice: ['{DASHED}']}}"
    text = AUDIENCE + gate_of(gate)
    (unknown,) = find_if_possible(None, config_of(text))
    check(unknown.fact, "ways past a gate", "--kubeconfig FILE", reason=unknown.check)
    assert len(found(text, [gateway("*"), STAR], [USUAL], AUDIENCE_ROUTES)) == 1
    assert found(text, [gateway("*"), STAR], [USUAL]) == []
