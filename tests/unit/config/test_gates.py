"""Several gates in a config, and what a gate says about models: what is read, and what is refused.

In a refused text, `^` is where the mistake is.
"""

from daypass.config import Config, IstioGate
from daypass.config.gate import AllowedCallers, Authorize, ModelResource
from unit.config.texts import Refused, read, refuses
from unit.config.texts import wrong as wrong_text

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


def wrong(text: str, *values: str, schema_accepts: bool = True) -> Refused:
    return wrong_text(text, *values, schema_accepts=schema_accepts)


def serving(keys: str, *values: str, schema_accepts: bool = True) -> Refused:
    """A gate for models with these keys."""
    text = f"{ONE}{{audience: serving, hosts: ['{MODELS}', serving.example.com], {keys}}}}}\n"
    return wrong(text, *values, schema_accepts=schema_accepts)


def second(keys: str, *values: str, first: str = EKF) -> Refused:
    """A second gate with these keys."""
    return wrong(f"{HEAD}gates:\n{first}  serving: {{audience: serving, {keys}\n", *values)


def guards(config: Config, domain: str) -> str | None:
    found = config.gate_of(config.domains[domain])
    return found[0] if found else None


def test_two_gates_are_read_with_all_that_they_say_about_models() -> None:
    config = read(BOTH)
    ekf, gate = config.cluster_gates["ekf"], config.cluster_gates["serving"]
    assert list(config.gates) == ["ekf", "serving"]
    assert (ekf.bound_to, ekf.allow, ekf.authorize, ekf.max_stream_duration_seconds) == (
        ("Secret",), None, (), None,
    )  # fmt: skip
    assert dict(gate.audiences) == {
        "alice": ("{name}.alice.example.com", "serving.example.com/serving/alice/")
    }
    assert gate.bound_to == ("Secret", "Pod")
    assert gate.allow == AllowedCallers(namespaces=("alice",), identities=("bob/bot",))
    assert gate.authorize == (
        Authorize(host=MODELS, resource=ISVC, verb="get"),
        Authorize(
            host="serving.example.com", path="/{namespace}/{name}/", resource=LLM, verb="list"
        ),
    )
    assert gate.max_stream_duration_seconds == 3600
    assert (guards(config, "ekf"), guards(config, "serving")) == ("ekf", "serving")


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


@refuses({
    "a gate that nothing would render is refused": [
        wrong(f"{ONE}{{audience: b, engine: ^envoy}}}}\n", "ekf.example.com"),
        wrong(f"{MIXED_ONE}{{audience: b, engine: ^envoy, hosts: ['*.example.com']}}}}\n"),
    ],
    "gates fit each other": [
        wrong(f"{HEAD}gates:\n{EKF}  ^none: {{audience: b}}\n", "list its hosts"),
        wrong(f"{MIXED}gates:\n{EKF}  one: {{audience: b, engine: ^envoy, hosts: [b.example]}}\n",
              "envoy", "one machine"),
        wrong(f"{HEAD}gates:\n{EKF}  ^serving: {{audience: b, hosts: [serving.example.com], "
              "gatewayLabels: {app: x}}\n", "'ekf'", "same gateway"),
        # Istio applies what is in its root namespace to pods of every namespace.
        wrong(f"{HEAD}gates:\n{EKF}  ^serving: {{audience: b, hosts: [serving.example.com], "
              "gatewayNamespace: serving}\n", "'ekf'", "same gateway"),
        wrong(f"{HEAD}gates:\n"
              "  a: {audience: a, hosts: [a.example], engine: envoy-gateway, "
              "gateway: ^n/g/l, maxStreamDuration: 1h}\n", "listener"),
        wrong(f"{HEAD}gates:\n"
              "  a: {audience: a, hosts: [a.example], engine: envoy-gateway, gateway: n/g}\n"
              "  ^b: {audience: b, hosts: [b.example], engine: envoy-gateway, gateway: n/g/l}\n",
              "'a'", "same gateway"),
        second("gatewayLabels: {istio: x}, hosts: [a.example, ^ekf.example.com]}", "'ekf'",
               "'ekf.example.com'"),
        second("gatewayLabels: {istio: x}, hosts: [^'*.example.com']}", "'ekf'", "'*.example.com'"),
        second(f"gatewayLabels: {{istio: x}}, hosts: [^'{LOCAL}']}}", "'example.com'",
               "'{name}.{namespace}'", "{name}.alice.svc.cluster.local",
               first="  ekf: {audience: ekf, hosts: [example.com]}\n"),
    ],
    "hosts have one pattern each": [
        wrong(f"{ONE}{{audience: a, hosts: ['{LOCAL}', ^example.com]}}}}\n",
              "'{name}.{namespace}'", "{name}.alice.svc.cluster.local"),
        wrong(f"{ONE}{{audience: a, hosts: ['*.example.com', ^ekf.example.com]}}}}\n",
              "'*.example.com'", "'ekf.example.com'"),
        wrong(f"{ONE}{{audience: a, hosts: ['{MODELS}', "
              "^'{name}-{namespace}.x.example.com']}}\n", "same host"),
        wrong(f"{ONE}{{audience: a, hosts: [^'{{nam}}.example.com']}}}}\n", "'{nam}'",
              schema_accepts=False),
        wrong(f"{ONE}{{audience: a, hosts: [^'{{name}}.{{name}}.example.com']}}}}\n", "twice"),
    ],
    "authorize names a model on the gate's hosts": [
        serving(f"check: jwt, authorize: ^[{{host: '{MODELS}', resource: {ISVC}}}]", "review"),
        serving(f"check: review, authorize: [{{host: ^other.example.com, resource: {ISVC}}}]",
                "'other.example.com'"),
        serving("check: review, authorize: "
                f"[{{host: serving.example.com, path: ^'/serving/{{name}}/', resource: {ISVC}}}]",
                "namespace"),
        serving(f"check: review, authorize: [{{host: ^serving.example.com, resource: {ISVC}}}]",
                "namespace"),
        serving(f"check: review, authorize: [{{host: '{MODELS}', path: ^/a/, resource: {ISVC}}}]",
                "leave path out"),
        serving(f"check: review, authorize: [{{host: '{MODELS}', resource: ^{LLM}}}]", "path"),
        serving(f"check: review, authorize: [{{host: '{MODELS}', resource: {ISVC}, verb: ^'*'}}]",
                "'*'", schema_accepts=False),
        serving("check: review, authorize: [{host: serving.example.com, "
                f"path: ^'/v1-{{namespace}}/{{name}}/', resource: {ISVC}}}]", "segment",
                schema_accepts=False),
        wrong(f"{ONE}{{audience: a, check: review, "
              f"authorize: [{{host: ^'{MODELS}', resource: {ISVC}}}]}}}}\n", "hosts"),
    ],
    "authorize has a rule for each host of models": [
        wrong(f"{ONE}{{audience: a, check: review, hosts: [a.example.com, ^'{MODELS}'], "
              "authorize: [{host: a.example.com, path: '/serving/{namespace}/{name}/', "
              f"resource: {ISVC}}}]}}}}\n", "every caller"),
    ],
    "audiences open less than the gate's own": [
        serving("audiences: {serving: ^[serving.example.com/a/]}", "opens all"),
        serving("audiences: {alice: [serving.example.com/a/, ^alice.example/a/]}", "alice.example"),
        serving("audiences: {alice: [^'*/a/']}", "'*'", "'serving.example.com'"),
        serving("audiences: {alice: [^serving.example.com/a]}", "'/a'", schema_accepts=False),
        serving("audiences: {alice: [serving.example.com, ^serving.example.com]}", "twice"),
        serving("audiences: {'https://kubernetes.default.svc': ^[serving.example.com/a/]}",
                "API server"),
        wrong(BOTH.replace("{alice: [", "{other: ^["), "'other'", "policy.audiences"),
    ],
    "verify calls a guarded host": [
        serving("verifyHost: ^elsewhere.example", "'elsewhere.example'", "hosts"),
    ],
    "callers and bindings can be checked": [
        serving("^allow: {}", "nobody"),
        serving("allow: {identities: [^bot]}", "'bot'", "NAMESPACE/NAME", schema_accepts=False),
        serving("boundTo: [Secret, ^Pod]", "check: review"),
        serving("maxStreamDuration: ^1s", "'1s'", "10s"),
    ],
})  # fmt: skip
def test_what_cannot_be_enforced_is_refused_with_the_place_and_the_values(case: Refused) -> None:
    case.check_schema_too()
