"""Several gates in a config, and what a gate says about models: who guards, and what is refused.

In a refused text, `^` is where the mistake is.
"""

import pytest

from daypass.config import Config, IstioGate
from daypass.config.gate import ModelResource
from unit.config.texts import assert_refused, read

HEAD = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: istio, tls: {secret: a}}
  serving: {host: serving.example.com, front: istio, tls: {secret: b}}
"""
ISVC: ModelResource = "inferenceservices.serving.kserve.io"
LLM: ModelResource = "llminferenceservices.serving.kserve.io"
MODELS = "{name}.{namespace}.example.com"
LOCAL = "{name}.{namespace}.svc.cluster.local"
MIXED = f"{HEAD}  here: {{host: localhost, front: envoy}}\n"
EKF = "  ekf: {audience: ekf, hosts: [ekf.example.com]}\n"
ONE = f"{HEAD}gates: {{default: "
MIXED_ONE = f"{MIXED}gates: {{default: "
BOTH = f"""\
{HEAD}policy: {{audiences: [ekf, serving, alice]}}
gates:
{EKF}\
  serving:
    audience: serving
    gatewayLabels: {{istio: serving}}
    hosts: ['{MODELS}', serving.example.com]
    check: review
    boundTo: [Secret, Pod]
    audiences: {{alice: ['{{name}}.alice.example.com', serving.example.com/serving/alice/]}}
    allow: {{namespaces: [alice], identities: [bob/bot]}}
    authorize:
    - {{host: '{MODELS}', resource: {ISVC}}}
    - {{host: serving.example.com, path: '/{{namespace}}/{{name}}/', resource: {LLM}, verb: list}}
    maxStreamDuration: 1h
"""


def serving(keys: str) -> str:
    """A gate for models with these keys."""
    return f"{ONE}{{audience: serving, hosts: ['{MODELS}', serving.example.com], {keys}}}}}\n"


def rule(keys: str) -> str:
    """A gate for models with a rule of these keys."""
    return serving(f"check: review, authorize: [{{{keys}}}]")


def second(keys: str, first: str = EKF) -> str:
    """A second gate with these keys."""
    return f"{HEAD}gates:\n{first}  serving: {{audience: serving, {keys}}}\n"


def guards(config: Config, domain: str) -> str | None:
    found = config.gate_of(config.domains[domain])
    return found[0] if found else None


def test_the_gate_that_names_a_host_takes_precedence_over_one_for_every_host() -> None:
    hosts = "hosts: ['*', ekf.example.com]"
    config = read(BOTH.replace("hosts: [ekf.example.com]", hosts))
    assert (guards(config, "ekf"), guards(config, "serving")) == ("ekf", "serving")


def test_a_pattern_guards_the_hosts_of_its_form() -> None:
    gate = IstioGate(audience="a", hosts=("*.example.com",))
    assert gate.guards(read(HEAD).domains["ekf"])
    deeper = HEAD.replace("ekf.example.com", "ekf.deep.example.com")
    assert not gate.guards(read(deeper).domains["ekf"])
    assert gate.named_hosts == ()


def test_a_gate_of_one_machine_may_be_next_to_domains_of_a_cluster() -> None:
    config = read(f"{MIXED_ONE}{{audience: b, engine: envoy, hosts: [localhost]}}}}\n")
    assert guards(config, "here") == "default"
    assert guards(config, "ekf") is None


def test_pods_of_two_namespaces_may_have_the_same_labels_outside_istios_root() -> None:
    names = {"one": "one.example", "other": "other.example"}
    gates = "".join(
        f"  {name}: {{audience: {name}, hosts: [{host}], gatewayNamespace: {name}}}\n"
        for name, host in names.items()
    )
    assert list(read(f"{HEAD}gates:\n{gates}").gates) == ["one", "other"]


MISFITS = [
    f"{ONE}{{audience: b, engine: ^envoy}}}}\n",
    f"{MIXED_ONE}{{audience: b, engine: ^envoy, hosts: ['*.example.com']}}}}\n",
    f"{HEAD}gates:\n{EKF}  ^none: {{audience: b}}\n",
    f"{MIXED}gates:\n{EKF}  one: {{audience: b, engine: ^envoy, hosts: [b.example]}}\n",
    f"{HEAD}gates:\n{EKF}  ^serving: {{audience: b, hosts: [serving.example.com], "
    "gatewayLabels: {app: x}}\n",
    # Istio applies what is in its root namespace to pods of every namespace.
    f"{HEAD}gates:\n{EKF}  ^serving: {{audience: b, hosts: [serving.example.com], "
    "gatewayNamespace: serving}\n",
    f"{HEAD}gates:\n  a: {{audience: a, hosts: [a.example], engine: envoy-gateway, "
    "gateway: ^n/g/l, maxStreamDuration: 1h}\n",
    f"{HEAD}gates:\n"
    "  a: {audience: a, hosts: [a.example], engine: envoy-gateway, gateway: n/g}\n"
    "  ^b: {audience: b, hosts: [b.example], engine: envoy-gateway, gateway: n/g/l}\n",
]
"""Gates that do not fit the domains, or each other."""

HOSTS = [
    second("gatewayLabels: {istio: x}, hosts: [a.example, ^ekf.example.com]"),
    second("gatewayLabels: {istio: x}, hosts: [^'*.example.com']"),
    second(f"gatewayLabels: {{istio: x}}, hosts: [^'{LOCAL}']",
           "  ekf: {audience: ekf, hosts: [example.com]}\n"),
    f"{ONE}{{audience: a, hosts: ['{LOCAL}', ^example.com]}}}}\n",
    f"{ONE}{{audience: a, hosts: ['*.example.com', ^ekf.example.com]}}}}\n",
    f"{ONE}{{audience: a, hosts: ['{MODELS}', ^'{{name}}-{{namespace}}.x.example.com']}}}}\n",
    f"{ONE}{{audience: a, hosts: [^'{{nam}}.example.com']}}}}\n",
    f"{ONE}{{audience: a, hosts: [^'{{name}}.{{name}}.example.com']}}}}\n",
    serving("verifyHost: ^elsewhere.example"),
]  # fmt: skip

MODEL_RULES = [
    serving(f"check: jwt, authorize: ^[{{host: '{MODELS}', resource: {ISVC}}}]"),
    rule(f"host: ^other.example.com, resource: {ISVC}"),
    rule(f"host: serving.example.com, path: ^'/serving/{{name}}/', resource: {ISVC}"),
    rule(f"host: ^serving.example.com, resource: {ISVC}"),
    rule(f"host: '{MODELS}', path: ^/a/, resource: {ISVC}"),
    rule(f"host: '{MODELS}', resource: ^{LLM}"),
    rule(f"host: '{MODELS}', resource: {ISVC}, verb: ^'*'"),
    rule(f"host: serving.example.com, path: ^'/v1-{{namespace}}/{{name}}/', resource: {ISVC}"),
    f"{ONE}{{audience: a, check: review, hosts: [a.example.com, ^'{MODELS}'], authorize: "
    f"[{{host: a.example.com, path: '/serving/{{namespace}}/{{name}}/', resource: {ISVC}}}]}}}}\n",
    serving("audiences: {serving: ^[serving.example.com/a/]}"),
    serving("audiences: {alice: [serving.example.com/a/, ^alice.example/a/]}"),
    serving("audiences: {alice: [^serving.example.com/a]}"),
    serving("audiences: {alice: [serving.example.com, ^serving.example.com]}"),
    serving("audiences: {'https://kubernetes.default.svc': ^[serving.example.com/a/]}"),
    BOTH.replace("{alice: [", "{other: ^["),
    serving("^allow: {}"),
    serving("allow: {identities: [^bot]}"),
    serving("boundTo: [Secret, ^Pod]"),
    serving("maxStreamDuration: ^1s"),
]


@pytest.mark.parametrize("text", [*MISFITS, *HOSTS, *MODEL_RULES])
def test_what_cannot_be_enforced_is_refused_with_the_place_and_the_values(text: str) -> None:
    assert_refused(text)
