"""The values of a parsed config."""

import pytest
from pydantic import ValidationError

from daypass.config import (
    Address,
    Config,
    IngressNginxDomain,
    IstioDomain,
    IstioGate,
    Policy,
    TlsSecret,
)
from daypass.config.settings import ClusterConfig
from unit.config.texts import DESIGN, FOLDER, MINIMAL, read

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"


def test_every_field_of_the_example_config_is_read() -> None:
    config = read(DESIGN)
    assert config.cluster == ClusterConfig(
        server="https://kubernetes.default.svc",
        certificate_authority=FOLDER / "ca.crt",
        server_name="kubernetes.default.svc",
        issuer="https://kubernetes.default.svc",
        keys=FOLDER / "keys.json",
    )
    assert dict(config.domains) == {
        "ekf": IngressNginxDomain(
            host="ekf.example.com",
            front="ingress-nginx",
            tls=TlsSecret(secret="ekf-tls"),
            dns="external-dns",
        ),
        "serving": IstioDomain(
            host="serving.example.com", front="istio", tls=TlsSecret(secret="serving-tls")
        ),
    }
    assert config.policy == Policy(longest_lifetime_seconds=86_400, audiences=(AUDIENCE,))
    assert config.gates["default"] == IstioGate(audience=AUDIENCE, hosts=("ekf.example.com",))
    assert config.local.gate == Address("127.0.0.1", 8444)
    assert config.local.upstream == "http://127.0.0.1:8080"


def test_policy_and_gate_are_strict_by_default() -> None:
    config = read(MINIMAL + "policy: {audiences: [a]}\ngates: {default: {audience: a}}\n")
    assert config.policy == Policy(
        longest_lifetime_seconds=86_400,
        audiences=("a",),
        binding="required",
        successors="forbidden",
        exempt=(),
        mode="deny",
    )
    gate = config.gates["default"]
    assert isinstance(gate, IstioGate)
    assert (gate.bound_to, gate.forward_token, gate.login) == (("Secret",), False, "none")
    assert (gate.cache_ttl_seconds, config.watch.close_after_seconds) == (60, 600)
    assert (gate.gateway_namespace, dict(gate.gateway_labels)) == (
        "istio-system",
        {"istio": "ingressgateway"},
    )
    assert config.gate_pods.image is None
    assert gate.headers.user == "kubeflow-userid"


@pytest.mark.parametrize(
    ("domain", "gate", "hosts"),
    [
        ("b: {host: b.example.com, front: istio, tls: outside}", "", ("b.example.com",)),
        ("l: {host: 127.0.0.1, front: envoy}", "", ()),
    ],
    ids=["another host", "no IP address in a cluster"],
)
def test_a_gate_without_hosts_guards_the_hosts_of_all_domains(
    domain: str, gate: str, hosts: tuple[str, ...]
) -> None:
    text = f"{MINIMAL}  {domain}\ngates: {{default: {{audience: a{gate}}}}}\n"
    found = read(text).gates["default"]
    assert found.hosts == ("ekf.example.com", *hosts)


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("https://kubernetes.default.svc", "kubernetes.default.svc", 443),
        ("https://10.0.0.1:6443", "10.0.0.1", 6443),
        ("https://[fd00::1]:6443", "fd00::1", 6443),
        ("https://localhost:6443", "localhost", 6443),
    ],
)
def test_the_server_name_defaults_to_the_server_host(server: str, host: str, port: int) -> None:
    cluster = read(MINIMAL + f"cluster: {{server: '{server}'}}\n").cluster
    assert (cluster.server_host, cluster.server_port) == (host, port)
    assert cluster.server_name == host


def test_a_config_can_be_built_in_python_from_field_names() -> None:
    domain = IstioDomain(host="ekf.example.com", front="istio", tls=TlsSecret(secret="ekf-tls"))
    assert Config(version=1, domains={"ekf": domain}) == read(MINIMAL)
    with pytest.raises(ValidationError) as caught:
        Config(version=1, domains={"a": domain, "b": domain})
    assert "already the host of" in str(caught.value)
