"""What domains lack at their gateways, and which routes of others take their requests."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.findings import Finding
from daypass._core.kubernetes.objects import Object
from daypass.analysis.checks import judge
from support.messages import check
from support.objects import make
from support.rendered import config_of
from unit.analysis.listed_objects import KUBEFLOWS, gateway, ingress_for, look_of, service

HOST = "kf.example.com"


def found(reason: str, text: str, *documents: Object) -> list[Finding]:
    judged = judge(look_of(*documents), config_of(f"version: 1\n{text}"))
    return [each for each in judged if each.check == reason]


def domain(front: str, **keys: str) -> str:
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"domains: {{kf: {{host: {HOST}, front: {front}{more}}}}}\n"


def theirs(path: str) -> Object:
    return ingress_for("team/theirs", HOST, path)


def by_pattern(path: str) -> Object:
    made = ingress_for("team/theirs", HOST, path, kind="ImplementationSpecific")
    made["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/use-regex": "true"}
    return made


def http_route(path: str) -> list[Object]:
    version, listener = "gateway.networking.k8s.io/v1", {"name": "x", "protocol": "HTTPS"}
    rule = {"matches": [{"path": {"value": path}}], "backendRefs": [{"name": "a"}]}
    spec = {"parentRefs": [{"name": "g"}], "hostnames": [HOST], "rules": [rule]}
    return [
        make(version, "Gateway", "g", "team", spec={"listeners": [listener]}),
        make(version, "HTTPRoute", "theirs", "team", spec=spec),
    ]


@pytest.mark.parametrize(
    ("documents", "captures"),
    [
        ([theirs("/kubernetes")], True),
        ([theirs("/kubernetes/api")], True),
        ([theirs("/")], False),
        ([theirs("/kubernetesx")], False),
        ([gateway("*"), service("kubeflow/app", HOST, uri={"prefix": "/kube"})], True),
        ([gateway("*"), service("kubeflow/app", HOST, uri={"prefix": "/"})], False),
        ([by_pattern("/kubernetes/(api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token)")], True),
        ([by_pattern("/KUBERNETES(/|$)(.*)")], True),
        ([by_pattern("/(")], False),
        (http_route("/kubernetes"), True),
        (http_route("/kube"), False),
    ],
    ids=range(11),
)
def test_a_route_that_takes_requests_for_the_door_is_found(
    documents: list[Object], *, captures: bool
) -> None:
    text = domain("istio", tls="outside", gateway=KUBEFLOWS)
    lines = found("collisions", text, *documents)
    assert bool(lines) is captures
    for each in lines:
        assert f"/kubernetes on {HOST}" in each.fact
        assert "/theirs has" in each.fact or "/app has" in each.fact


def test_another_gateway_for_the_host_is_found_where_apply_makes_one() -> None:
    new = domain("istio", tls="{secret: kf-tls}")
    (finding,) = found("second-gateway", new, gateway(HOST, name="kubeflow/theirs"))
    check(finding.sentence, "kubeflow/theirs", HOST, reason="second-gateway")
    named = domain("istio", tls="outside", gateway=KUBEFLOWS)
    for text, document in (
        (new, gateway("*")),
        (named, gateway(HOST)),
        (new, gateway(HOST, tls={"httpsRedirect": True})),
    ):
        assert found("second-gateway", text, document) == []


def test_a_guarded_host_that_would_lead_to_the_door_alone_is_found() -> None:
    text = domain("istio", tls="outside", gateway=KUBEFLOWS)
    guarded = f"{text}gates: {{default: {{audience: a, hosts: [{HOST}]}}}}\n"
    (finding,) = found("lost-host", guarded, gateway("*"), service("kubeflow/app", "*"))
    check(finding.sentence, HOST, "VirtualService kubeflow/app", reason="lost-host")
    assert found("lost-host", text, gateway("*"), service("kubeflow/app", "*")) == []
    assert found("lost-host", guarded, gateway(HOST), service("kubeflow/app", "*")) == []
    assert found("lost-host", guarded, gateway("*"), service("kubeflow/app", HOST)) == []


def egress(*rules: Object, **spec: Any) -> Object:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [*rules], **spec}
    return make("networking.k8s.io/v1", "NetworkPolicy", "narrow", "istio-system", spec=spec)


HOME = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "daypass"}}}
OTHER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kubeflow"}}}


@pytest.mark.parametrize(
    ("policies", "is_kept_away"),
    [
        ([egress()], True),
        ([egress({"to": [OTHER]})], True),
        ([egress({"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]})], True),
        ([egress({"to": [OTHER]}), egress({"to": [HOME]})], False),
        ([egress({})], False),
        ([egress({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})], False),
        ([egress({"to": [{"namespaceSelector": {}}]})], False),
        ([egress(podSelector={"matchLabels": {"app": "x"}})], False),
        ([egress(policyTypes=["Ingress"])], False),
        ([], False),
    ],
    ids=range(10),
)
def test_a_network_policy_that_keeps_the_gateway_away_from_the_door_is_found(
    policies: list[Object], *, is_kept_away: bool
) -> None:
    text = domain("istio", tls="outside", gateway=KUBEFLOWS)
    home = make("v1", "Namespace", "daypass")
    home["metadata"]["labels"] = {"kubernetes.io/metadata.name": "daypass"}
    lines = found("network-policy", text, home, *policies)
    assert bool(lines) is is_kept_away
    for each in lines:
        check(each.sentence, "istio-system/narrow", "daypass", reason="network-policy")
