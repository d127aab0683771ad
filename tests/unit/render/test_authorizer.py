"""The authorizer's Deployment: least privilege, and only the gateway reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.config import Config, load
from daypass.render.objects import GATE, GATE_PAIR, Object, RenderError, gate_host
from daypass.render.prerequisites import prerequisites
from daypass.render.workloads import authorizer_objects
from support.messages import raises
from support.rendered import config_of, the

TEXT = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: gateway-api, gateway: infra/public/tls, tls: outside}
door: {namespace: edge}
policy: {audiences: [gate.example.com]}
gate:
  audience: gate.example.com
  engine: envoy-gateway
  gateway: infra/public
  check: review
  remember: 30s
  image: registry.example.com/daypass:1
  replicas: 3
"""


def config(text: str = TEXT) -> Config:
    return config_of(text)


def objects(text: str = TEXT) -> list[Object]:
    parsed = config(text)
    assert parsed.gate is not None
    return authorizer_objects(parsed, parsed.gate)


def test_its_rbac_allows_token_reviews_and_one_config_map_only() -> None:
    found = objects()
    binding = the(found, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    (rule,) = the(found, "Role")["rules"]
    assert rule == {
        "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["daypass-gate-revoked"],
        "verbs": ["get", "watch"],
    }  # fmt: skip
    for each in (binding, the(found, "RoleBinding")):
        assert each["subjects"] == [{"kind": "ServiceAccount", "name": GATE, "namespace": "edge"}]


def test_only_the_gateway_namespace_reaches_its_port() -> None:
    first, second = the(objects(), "NetworkPolicy")["spec"]["ingress"]
    (peer,) = first["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "envoy-gateway-system"
    }
    assert [port["port"] for port in first["ports"]] == [9443]
    assert [port["port"] for port in second["ports"]] == [9003]


def test_a_config_change_changes_the_pod_template() -> None:
    def checksum(text: str) -> str:
        return str(the(objects(text), "Deployment")["spec"]["template"]["metadata"]["annotations"])

    assert checksum(TEXT) != checksum(TEXT.replace("30s", "31s"))
    assert checksum(TEXT) == checksum(TEXT)


def test_its_config_map_has_the_same_gate_settings(tmp_path: Path) -> None:
    file = tmp_path / "daypass.yaml"
    file.write_text(the(objects(), "ConfigMap")["data"]["daypass.yaml"])
    assert load(file).gate == config().gate


def test_it_serves_its_certificate_with_the_configured_replicas() -> None:
    found = objects()
    pod = the(found, "Deployment")["spec"]["template"]["spec"]
    (secret,) = [each["secret"] for each in pod["volumes"] if "secret" in each]
    assert secret["secretName"] == GATE_PAIR
    scaler = the(found, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 12)
    assert gate_host(config()) == f"{GATE}.edge.svc"


def test_the_jwt_check_needs_no_authorizer() -> None:
    text = TEXT.replace("check: review", "check: jwt")
    assert objects(text) == []


def test_an_authorizer_without_an_image_is_rejected() -> None:
    with raises(RenderError, match=r"gate\.image"):
        objects(TEXT.replace("  image: registry.example.com/daypass:1\n", ""))


@pytest.mark.parametrize("engine", ["istio", "envoy-gateway"])
def test_a_cert_manager_issuer_provides_certificate_and_trust(engine: str) -> None:
    text = TEXT.replace("edge}", "edge, certificateIssuer: internal}")
    text = text.replace("engine: envoy-gateway\n  gateway: infra/public", f"engine: {engine}")
    found = [each for each in objects(text) if each["kind"] == "Certificate"]
    names = [(each["metadata"]["namespace"], each["spec"]["secretName"]) for each in found]
    trusted = [("istio-system", "daypass-gate-trust")] if engine == "istio" else []
    assert names == [("edge", GATE_PAIR), *trusted]
    assert found[0]["spec"]["dnsNames"] == [f"{GATE}.edge.svc"]
    copies = [("edge", "daypass-gate-trust")] if engine == "envoy-gateway" else []
    assert gate_prerequisites(text) == copies, "Envoy Gateway looks for it in a ConfigMap"


@pytest.mark.parametrize(
    ("engine", "trust"), [("istio", "istio-system"), ("envoy-gateway", "edge")]
)
def test_without_an_issuer_apply_creates_certificate_and_trust(engine: str, trust: str) -> None:
    text = TEXT.replace("engine: envoy-gateway\n  gateway: infra/public", f"engine: {engine}")
    assert [each for each in objects(text) if each["kind"] == "Certificate"] == []
    assert gate_prerequisites(text) == [("edge", GATE_PAIR), (trust, "daypass-gate-trust")]


def gate_prerequisites(text: str) -> list[tuple[str, str]]:
    """The prerequisites of the authorizer, by namespace and name."""
    return [
        (n.namespace, n.name) for n in prerequisites(config(text)) if n.content.startswith("gate-")
    ]
