"""The Deployments of door, authorizer and watch: least privilege, and who reaches them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.config import Config, load
from daypass.config.key_set import key_ids, read_key_set
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import GATE, GATE_TRUST
from daypass.render.prerequisites import prerequisites
from daypass.render.workloads import authorizer_objects, watcher_objects
from support.manifest_cases import CASES
from support.messages import raises
from support.rendered import config_of, only, pod_of
from support.tokens import Signer

TEXT = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: gateway-api, gateway: infra/public/tls, tls: outside}
door: {namespace: edge}
policy: {audiences: [gate.example.com]}
gates:
  default:
    audience: gate.example.com
    engine: envoy-gateway
    gateway: infra/public
    check: review
    cacheTtl: 30s
gatePods:
  image: registry.example.com/daypass:1
  replicas: 3
"""


DOOR_TEXT = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
"""


def rendered(text: str) -> list[Object]:
    return render_objects(config_of(text), ClusterFacts())


def test_only_an_envoy_config_change_changes_the_pod_template() -> None:
    before, after = rendered(DOOR_TEXT), rendered(DOOR_TEXT + "limits: {requestsPerSecond: 7}\n")
    same = rendered(DOOR_TEXT + "door: {replicas: 9}\n")
    annotations = [pod_of(o)["metadata"]["annotations"] for o in (before, after, same)]
    assert annotations[0] != annotations[1]
    assert annotations[0] == annotations[2]


def test_gate_roles_cannot_read_secrets() -> None:
    for case in ("envoy-gateway", "istio", "gates", "metrics"):
        for value in CASES[case].objects():
            for rule in value.get("rules", ()):
                assert "secrets" not in rule["resources"]
                assert not {"*", "delete", "update", "impersonate", "bind"} & set(rule["verbs"])
                assert "*" not in rule["resources"]
                writes = {"create", "patch"} & set(rule["verbs"])
                assert not writes or rule["resourceNames"]


def test_the_door_has_no_token_and_no_permissions() -> None:
    rendered = [o for case in CASES.values() for o in case.objects()]
    # The gate has both a token and permissions.
    objects = [o for o in rendered if not o["metadata"]["name"].startswith(GATE)]
    assert not [o for o in objects if o["kind"].endswith(("Role", "RoleBinding"))]
    for value in objects:
        if value["kind"] == "ServiceAccount":
            assert value["automountServiceAccountToken"] is False
        if value["kind"] == "Deployment":
            spec = value["spec"]["template"]["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert not [v for v in spec["volumes"] if "projected" in v or "hostPath" in v]


@pytest.mark.parametrize(
    ("more", "opened"),
    [
        ("", ["ingress-nginx"]),
        ("front: istio", ["ingress-nginx", "istio-system"]),
        ("front: ingress", None),
        ("front: ingress, frontNamespace: x", ["ingress-nginx", "x"]),
    ],
)  # fmt: skip
def test_only_the_fronts_reach_the_door(more: str, opened: list[str] | None) -> None:
    second = f"  b: {{host: b.example, tls: {{secret: b}}, {more}}}\n" if more else ""
    (rule,) = only(rendered(DOOR_TEXT + second), "NetworkPolicy")["spec"]["ingress"]
    selectors = rule.get("from")
    found = selectors and [
        s["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for s in selectors
    ]
    assert found == opened


@pytest.mark.parametrize(
    ("cluster", "to", "ports"),
    [
        ("{}", None, [53, 53, 443, 6443]),
        ("{addresses: [10.0.0.2, 10.0.0.1]}", ["10.0.0.1/32", "10.0.0.2/32"], [53, 53, 443, 6443]),
        ("{server: 'https://10.0.0.1:6444'}", ["10.0.0.1/32"], [443, 6443, 6444]),
    ],
)
def test_the_door_reaches_dns_and_the_api_server(
    cluster: str, to: list[str] | None, ports: list[int]
) -> None:
    rules = only(rendered(f"{DOOR_TEXT}cluster: {cluster}\n"), "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == ports
    blocks = rules[-1].get("to")
    assert (blocks and [block["ipBlock"]["cidr"] for block in blocks]) == to


def test_its_rbac_allows_reviews_keys_and_the_config_maps_of_its_namespace_only() -> None:
    found = authorizer_objects(config_of(TEXT), ClusterFacts())
    binding = only(found, "ClusterRoleBinding", GATE)
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    keys = only(found, "ClusterRoleBinding", f"{GATE}-keys")
    assert keys["roleRef"]["name"] == "system:service-account-issuer-discovery"
    (rule,) = only(found, "Role")["rules"]
    assert rule == {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}
    for each in (binding, keys, only(found, "RoleBinding")):
        assert each["subjects"] == [{"kind": "ServiceAccount", "name": GATE, "namespace": "edge"}]


@pytest.mark.parametrize("namespaces", [[], ["monitoring"]])
def test_only_those_of_the_config_reach_the_ports_with_metrics(namespaces: list[str]) -> None:
    metrics = f"metrics: {{prometheusNamespaces: {namespaces}}}\n" if namespaces else ""
    found = rendered(TEXT + metrics)
    for name, port in {"daypass-door": 9002, GATE: 9003, "daypass-gate-watch": 9004}.items():
        rules = only(found, "NetworkPolicy", name)["spec"].get("ingress", ())
        peers = [
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for rule in rules
            if port in [each["port"] for each in rule["ports"]]
            for peer in rule["from"]
        ]
        assert peers == namespaces


def test_it_may_watch_the_models_that_some_gate_authorizes_and_no_others() -> None:
    def rules(case: str) -> list[Object]:
        found = CASES[case].objects()
        roles = [each for each in found if each["metadata"]["name"] == f"{GATE}-models"]
        assert {each["kind"] for each in roles} <= {"ClusterRole", "ClusterRoleBinding"}
        return [rule for each in roles for rule in each.get("rules", ())]

    models = ["inferenceservices", "llminferenceservices"]
    assert rules("gates") == [
        {"apiGroups": ["serving.kserve.io"], "resources": models, "verbs": ["list", "watch"]}
    ]
    assert rules("metrics") == rules("envoy-gateway") == []


def test_the_gateways_of_all_gates_that_review_reach_its_port_and_verify_it() -> None:
    def gateways(case: str) -> set[str]:
        first, *_ = only(CASES[case].objects(), "NetworkPolicy", GATE)["spec"]["ingress"]
        peers = [each["namespaceSelector"]["matchLabels"] for each in first["from"]]
        return {each["kubernetes.io/metadata.name"] for each in peers}

    def copies(case: str) -> set[tuple[str, str]]:
        found = prerequisites(CASES[case].config)
        return {(each.kind, each.namespace) for each in found if each.name == GATE_TRUST}

    both = {"istio-system", "istio-ingress"}
    assert gateways("gates") == both
    assert copies("gates") == {("Secret", each) for each in both}
    assert gateways("metrics") == {"envoy-gateway-system", "istio-system"}
    assert copies("metrics") == {("Secret", "istio-system"), ("ConfigMap", "daypass")}


def test_a_gate_without_an_image_is_rejected() -> None:
    without = config_of(TEXT.replace("  image: registry.example.com/daypass:1\n", ""))
    with raises(RenderError, match=r"gatePods\.image"):
        authorizer_objects(without, ClusterFacts())


@pytest.mark.parametrize("process", [authorizer_objects, watcher_objects])
def test_keys_of_a_file_are_mounted_next_to_the_config_that_names_them(
    process: Callable[[Config, ClusterFacts], list[Object]], tmp_path: Path
) -> None:
    parsed = config_of(TEXT.replace("version: 1\n", "version: 1\ncluster: {keys: own/k.json}\n"))
    found, other = (
        process(parsed, ClusterFacts(keys=Signer(name).jwks)) for name in ("ours", "other")
    )
    for name, text in only(found, "ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    keys = load(tmp_path / "daypass.yaml").cluster.keys
    assert keys is not None
    assert key_ids(read_key_set(keys)) == ["ours"]
    pods = [only(each, "Deployment")["spec"]["template"] for each in (found, other)]
    assert pods[0] != pods[1], "other keys need new pods"
