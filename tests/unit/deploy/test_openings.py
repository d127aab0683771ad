"""What a config exposes in addition to another one."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.deploy.openings import RenamedGateError, openings, require_same_names, widened
from support.messages import check, raises
from support.rendered import config_of

CONFIG = """\
version: 1
cluster: {addresses: [10.0.0.1]}
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
policy: {audiences: [gate.example.com]}
limits: {requestsPerSecond: 100, perSourcePerSecond: 5, requestBody: 4Ki}
gate: {audience: gate.example.com, hosts: [ekf.example.com, b.example.com]}
"""
EKF = "ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}"

URL = "https://ekf.example.com/kubernetes"
WIDER = {
    "another host": (
        EKF, f"{EKF}\n  b: {{host: b.example.com, front: istio, tls: outside}}",
        "https://b.example.com/kubernetes",
    ),
    "another prefix": ("version: 1", "version: 1\nprefix: /k", "https://ekf.example.com/k "),
    "no door": ("tls: {secret: ekf-tls}", "tls: {secret: ekf-tls}, direct: true", URL),
    "TLS ends before the front": ("tls: {secret: ekf-tls}", "tls: outside", URL, "TLS"),
    "pods of another namespace": (
        "{secret: ekf-tls}", "{secret: ekf-tls}, frontNamespace: x", URL, "namespace x",
    ),
    "another API server": (
        "cluster: {", "cluster: {server: 'https://10.0.0.9', ", "cluster.server:", "https://10.0.0.9",
    ),
    "more addresses": ("[10.0.0.1]", "[10.0.0.1, 10.0.0.2]", "cluster.addresses:", "10.0.0.2"),
    "any address": ("cluster: {addresses: [10.0.0.1]}\n", "", "cluster.addresses:"),
    "more trusted hops": ("limits:", "door: {trustedHops: 2}\nlimits:", "door.trustedHops: 2"),
    "a higher rate": (
        "requestsPerSecond: 100", "requestsPerSecond: 101", "limits.requestsPerSecond: 101",
    ),
    "a higher rate of one source": (
        "perSourcePerSecond: 5", "perSourcePerSecond: 6", "limits.perSourcePerSecond: 6",
    ),
    "a larger body": ("4Ki", "5Ki", "limits.requestBody: 5120"),
    "no policy": ("policy: {audiences: [gate.example.com]}\n", "", "policy:"),
    "Pods that may scrape": (
        "limits:", "metrics: {scrapedFrom: [watching]}\nlimits:", "metrics.scrapedFrom: watching",
    ),
    "the API server's pod proxy": (
        "limits:", "metrics: {podProxy: true}\nlimits:", "metrics.podProxy:", "every address",
    ),
    "a mode that warns": ("com]}", "com], mode: warn}", "policy.mode: warn"),
    "a mode that records": ("com]}", "com], mode: audit}", "policy.mode: audit"),
    "another audience": ("com]}", "com, other]}", "policy.audiences: other"),
    "a longer life": (
        "com]}", "com], longestLifetime: 25h}", "policy.longestLifetime: 90000",
    ),
    "a longer life of the federated": (
        "com]}", "com], federated: {longestLifetime: 2h}}",
        "policy.federated.longestLifetime: 7200",
    ),
    "no binding": ("com]}", "com], binding: optional}", "policy.binding: optional"),
    "successors": ("com]}", "com], successors: allowed}", "policy.successors: allowed"),
    "no gate": (CONFIG[CONFIG.index("gate:") :], "", "gate:"),
    "a gate on one machine alone": ("hosts: [ekf", "engine: envoy, hosts: [ekf", "gate:"),
    "another gateway guarded": ("hosts: [ekf", "frontNamespace: edge, hosts: [ekf", "gate:"),
    "another kind of gateway guarded": (
        "hosts: [ekf", "engine: envoy-gateway, gateway: a/b, hosts: [ekf", "gate:",
    ),
    "a host less guarded": (", b.example.com]", "]", "gate.hosts: b.example.com"),
    "a login next to the gate": ("hosts: [ekf", "others: login, hosts: [ekf", "gate.others: login"),
    "unbound tokens": (
        "hosts: [ekf", "bound: [Secret, none], hosts: [ekf", "gate.bound: none added",
    ),
    "tokens for the services": (
        "hosts: [ekf", "forwardToken: true, hosts: [ekf", "gate.forwardToken: true",
    ),
    "an exempt account": (
        "com]}", "com], exempt: [system:serviceaccount:a:b]}",
        "policy.exempt: system:serviceaccount:a:b",
    ),
}  # fmt: skip
"""What is replaced in the config, and what the line about it names."""

BY_MODEL = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside}}
policy: {audiences: [gate, alice.gate, x.gate]}
gate:
  audience: gate
  check: review
  hosts: [a.example.com, '{name}.{namespace}.example.com']
  audiences: {alice.gate: [a.example.com/serving/alice/]}
  allow: {namespaces: [alice]}
  authorize:
  - {host: '{name}.{namespace}.example.com', resource: inferenceservices.serving.kserve.io}
  longestStream: 1h
"""
PLACE = "a.example.com/serving/alice/"
RULES = BY_MODEL[BY_MODEL.index("  authorize:") : BY_MODEL.index("  longest")]
NEEDED = "get of inferenceservices"
WIDER_BY_MODEL = {
    "an audience": (
        "alice.gate: [", "x.gate: [a.example.com/x/], alice.gate: [",
        "gate.audiences: ", " x.gate ", " a.example.com/x/",
    ),
    "an audience for more places": (
        PLACE, f"x.alice.example.com, {PLACE}", "gate.audiences.alice.gate: x.alice.example.com",
    ),
    "an audience for a whole host": (
        PLACE, "a.example.com", "gate.audiences.alice.gate: a.example.com",
    ),
    "all identities": ("  allow: {namespaces: [alice]}\n", "", "gate.allow: "),
    "a namespace": ("{namespaces: [", "{namespaces: [bob, ", "gate.allow.namespaces: bob"),
    "an identity": (
        "{namespaces: [alice]", "{namespaces: [alice], identities: [bob/bot]",
        "gate.allow.identities: bob/bot",
    ),
    "every model": (RULES, "", "gate.authorize: ", "{name}.{namespace}.example.com", NEEDED),
    "another right": ("kserve.io}", "kserve.io, verb: list}", "gate.authorize: ", NEEDED),
    "answers cached for longer": (
        "review\n", "review\n  remember: 1h\n", "gate.remember: 3600, was 60",
    ),
    "longer streams": (": 1h", ": 2h", "gate.longestStream: 7200, was 3600"),
    "streams without bound": ("  longestStream: 1h\n", "", "gate.longestStream: "),
}  # fmt: skip
"""The same for a gate with access by model."""

BOTH_WAYS = {
    "another prefix",
    "pods of another namespace",
    "another API server",
    "another gateway guarded",
    "another kind of gateway guarded",
    "another right",
    "an audience for a whole host",
}
"""Changes whose reverse is a widening, too."""


def opened(before: str, after: str) -> list[str]:
    return widened(openings(config_of(before)), openings(config_of(after)))


@pytest.mark.parametrize("name", WIDER)
def test_each_widening_is_one_line_and_its_reverse_is_none(name: str) -> None:
    old, new, *values = WIDER[name]
    wider = CONFIG.replace(old, new, 1)
    assert wider != CONFIG
    (line,) = opened(CONFIG, wider)
    assert all(value in line for value in values), line
    check(line, reason="opens")
    assert opened(CONFIG, CONFIG) == []
    assert bool(opened(wider, CONFIG)) is (name in BOTH_WAYS)


@pytest.mark.parametrize("name", WIDER_BY_MODEL)
def test_each_widening_of_access_by_model_is_one_line(name: str) -> None:
    old, new, *values = WIDER_BY_MODEL[name]
    wider = BY_MODEL.replace(old, new, 1)
    assert wider != BY_MODEL
    (line,) = opened(BY_MODEL, wider)
    assert all(value in line for value in values), line
    check(line, reason="opens")
    assert opened(BY_MODEL, BY_MODEL) == []
    assert bool(opened(wider, BY_MODEL)) is (name in BOTH_WAYS)


NAMED = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside}}
gates:
  default: {audience: a, hosts: [a.example.com]}
  serving: {audience: b, hosts: [b.example.com], frontLabels: {istio: serving}}
"""


def test_a_second_gate_opens_nothing_and_each_line_names_its_gate() -> None:
    first = NAMED[: NAMED.index("  serving")]
    assert opened(first, NAMED) == []
    for old, key in (("audience: a", "default"), ("audience: b", "serving")):
        (line,) = opened(NAMED, NAMED.replace(old, "audience: c"))
        check(line, f"gates.{key}.audience: ", reason="opens")
    (line,) = opened(NAMED, first)
    check(line, "gates.serving: removed", reason="opens")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("serving:", "models:", "serving"),
        ("default:", "ekf:", "default"),
        # The gateway of a gate gets another gate's name, too.
        ("{istio: serving}", "{istio: x}}\n  more: {audience: b, hosts: [c.example.com],"
         " frontLabels: {istio: serving, app: y}", "serving"),
    ],
)  # fmt: skip
def test_a_gate_keeps_its_name(old: str, new: str, name: str) -> None:
    before, after = config_of(NAMED), config_of(NAMED.replace(old, new))
    with raises(RenamedGateError, match=f"{name} "):
        require_same_names(openings(before), after)
    require_same_names(openings(after), after)


def test_a_listener_of_a_gates_gateway_is_at_its_gateway() -> None:
    text = NAMED.replace("serving: {", "serving: {engine: envoy-gateway, gateway: infra/public, ")
    text = text.replace(", frontLabels: {istio: serving}", "")
    before = openings(config_of(text))
    renamed = text.replace("serving: {", "models: {").replace("infra/public", "infra/public/https")
    with raises(RenamedGateError, match="serving "):
        require_same_names(before, config_of(renamed))
    another = text.replace("serving: {", "models: {").replace("infra/public", "infra/publica")
    require_same_names(before, config_of(another))


@pytest.mark.parametrize(
    "before", [None, {}, {"gates": 5}, {"gates": {"a": {}}}, {"gates": {"a": 5}}]
)
def test_a_name_that_is_not_known_refuses_nothing(before: Any) -> None:
    require_same_names(before, config_of(NAMED))


def test_before_the_first_apply_nothing_is_exposed() -> None:
    (line,) = widened(None, openings(config_of(CONFIG)))
    assert line.startswith("https://ekf.example.com/kubernetes ")
    check(line, reason="opens")


def test_a_local_domain_exposes_nothing_in_a_cluster() -> None:
    more = CONFIG.replace(EKF, f"{EKF}\n  here: {{host: localhost, front: envoy}}")
    assert opened(CONFIG, more) == []


def test_what_is_not_known_of_before_is_reported_with_every_host() -> None:
    after: Any = openings(config_of(CONFIG))
    # An earlier version wrote nothing of metrics, and opened nothing for them.
    known = after.keys() - {"metrics"}
    lacking = [{key: value for key, value in after.items() if key != name} for name in known]
    odd: list[Any] = [{**after, name: 5} for name in ("hosts", "policy", "limits", "metrics")]
    odd += [5, [], "x"]
    policy = {key: value for key, value in after["policy"].items() if key != "mode"}
    for before in (*lacking, *odd, {**after, "policy": policy}):
        unknown, *hosts = widened(before, after)
        assert hosts == widened(None, after) != [], before
        check(unknown, reason="opens")


def test_a_value_more_hides_nothing() -> None:
    after = openings(config_of(CONFIG))
    assert widened({**after, "new": 1}, {**after, "gate": None}) == widened(
        after, {**after, "gate": None}
    )


def test_named_hosts_guard_less_than_a_gate_for_every_host() -> None:
    every = CONFIG.replace("hosts: [ekf.example.com, ", "hosts: ['*', ")
    assert opened(CONFIG, every) == []
    (line,) = opened(every, CONFIG)
    assert line.startswith("gate.hosts: ")
    check(line, reason="opens")


def test_the_default_place_of_a_gate_can_be_written_out() -> None:
    usual = "frontNamespace: istio-system, frontLabels: {istio: ingressgateway}, hosts: [ekf"
    assert opened(CONFIG, CONFIG.replace("hosts: [ekf", usual)) == []


def test_adding_a_policy_is_no_widening() -> None:
    assert opened(CONFIG.replace("policy: {audiences: [gate.example.com]}\n", ""), CONFIG) == []


def test_a_review_that_is_given_up_opens_more() -> None:
    reviewed = CONFIG.replace("hosts: [ekf", "check: review, hosts: [ekf")
    (line,) = opened(reviewed, CONFIG)
    check(line, "gate.check: jwt", reason="opens")
    assert opened(CONFIG, reviewed.replace("check: review", "check: review, remember: 1h")) == []
