"""What `apply`, `verify` and `status` find wrong in a cluster, judged from its objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from daypass._core.findings import Finding, Level
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.analysis.checks import judge
from daypass.analysis.gateways import NOTHING_APPLIED
from daypass.config.domain import GATEWAY_LABELS
from daypass.identity.accounts import IdentityName, account_objects
from daypass.render.names import GATE
from daypass.render.rbac import namespace_rights
from support.istio_logins import authentication, by_filter, by_policy, documented
from support.manifest_cases import Case
from support.messages import check
from support.objects import make
from support.rendered import config_of
from unit.analysis.listed_objects import gateway, ingress_for, look_of

HOST = "kf.example.com"
CONFIG = f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
  kubeflow: {{host: {HOST}, front: istio, gateway: kubeflow/kubeflow-gateway, tls: outside}}
policy: {{audiences: [gate.example.com]}}
gates: {{default: {{audience: gate.example.com, login: keep, hosts: [{HOST}]}}}}
gatePods: {{image: 'r.example.com/daypass:1'}}
"""
Named = dict[tuple[str, str], Any]
"""Objects by kind and name, to be changed."""


def found(text: str, *documents: Object) -> dict[str, Finding]:
    """What is found in a cluster that has these objects alone, by check."""
    judged = judge(look_of(*documents), config_of(text))
    by_check = {each.check: each for each in judged}
    assert len(by_check) == len(judged)
    return by_check


def identity(name: str = "bot", namespace: str = "team", **annotations: str) -> Object:
    known = {labels.DOOR: f"https://{HOST}/kubernetes", labels.AUDIENCE: "gate.example.com"}
    annotated = {**known, **{f"{labels.DOMAIN}/{key}": each for key, each in annotations.items()}}
    return account_objects(IdentityName(namespace=namespace, name=name), annotated)[0]


def namespace(name: str = "team", **annotations: str) -> Object:
    made = make("v1", "Namespace", name)
    made["metadata"]["labels"] = {labels.POLICY: labels.POLICY_ENFORCED}
    made["metadata"]["annotations"] = {labels.OVERRIDES + k: v for k, v in annotations.items()}
    return made


@cache
def _well() -> Sequence[Object]:
    pod = make("v1", "Pod", "gateway", "istio-system")
    pod["metadata"]["labels"] = {**GATEWAY_LABELS, "app": "istio-ingressgateway"}
    return (
        *Case(text=CONFIG).objects(),
        gateway(HOST),
        pod,
        documented("istio-ingressgateway-oauth2-proxy"),
        documented("door-without-login", "ingresses/istio"),
        authentication("dex", "https://dex"),
        identity(),
        namespace(),
        *namespace_rights("team", "daypass"),
    )


def well() -> Named:
    """A cluster without a finding: Kubeflow's login with its condition, and an identity."""
    return {(each["kind"], each["metadata"]["name"]): each for each in copy.deepcopy(_well())}


LOGIN = ("AuthorizationPolicy", "istio-ingressgateway-oauth2-proxy")
PAST = ("EnvoyFilter", "door-without-login")
THE_GATEWAY, WATCH = ("Gateway", "kubeflow-gateway"), ("RoleBinding", "daypass-gate-watch")
BOT, TEAM = ("ServiceAccount", "bot"), ("Namespace", "team")


def test_nothing_is_found_where_all_is_well() -> None:
    assert found(CONFIG, *well().values()) == {}


def test_the_path_of_a_tenants_route_adds_no_line_to_a_finding() -> None:
    forged = "/kubernetes/x\n  \u2713 gate  all is well\n" + "a" * 10_000
    route = ingress_for("team/theirs", HOST, forged, kind="ImplementationSpecific")
    fact = found(CONFIG, *well().values(), route)["collisions"].fact
    assert "\n" not in fact
    assert len(fact) < 500


def gone(*keys: tuple[str, str]) -> Callable[[Named], object]:
    return lambda there: [there.pop(key) for key in keys]


def instead(key: tuple[str, str], document: Object) -> Callable[[Named], object]:
    return lambda there: there.update({key: document})


def without_condition(there: Named) -> None:
    del there[LOGIN]["spec"]["rules"][0]["when"][1]


def half_past(there: Named) -> None:
    value = there[PAST]["spec"]["configPatches"][0]["patch"]["value"]
    del value["typed_per_filter_config"]["envoy.filters.http.jwt_authn"]


def unconditional_filter(there: Named) -> None:
    document = by_filter()
    del document["spec"]["configPatches"][0]["patch"]["value"]["typed_config"][
        "filter_enabled_metadata"
    ]
    there["EnvoyFilter", "login"] = document


@pytest.mark.parametrize(
    ("change", "reason", "values"),
    [
        (gone(("VirtualService", "daypass-domain-kubeflow")), "not-applied", ["domains.kubeflow"]),
        (gone(("EnvoyFilter", GATE)), "not-applied", ["gate", "daypass apply"]),
        (without_condition, "login", ["AuthorizationPolicy", "gates.default has accepted"]),
        (unconditional_filter, "login", ["istio-system/login", "gates.default has accepted"]),
        (gone(PAST), "login", ["RequestAuthentication", "oauth2-proxy", HOST]),
        (half_past, "login", ["RequestAuthentication istio-system/dex"]),
        (instead(THE_GATEWAY, gateway("x.example.com", "*.y.example.com")), "gateway-host",
         ["kubeflow/kubeflow-gateway", HOST]),
        (gone(THE_GATEWAY), "gateway-host", ["kubeflow/kubeflow-gateway", HOST]),
        (instead(THE_GATEWAY, gateway("*", tls=None)), "gateway-host", ["plain http"]),
        (instead(BOT, identity(door="https://old.example.com/kubernetes")), "identity-door",
         ["team/bot", "https://old.example.com/kubernetes"]),
        (instead(BOT, identity(door=f"https://{HOST}/old")), "identity-door", ["team/bot"]),
        (instead(BOT, identity(audience="old.example.com")), "identity-audience",
         ["team/bot", "old.example.com", "policy.audiences"]),
        (instead(TEAM, namespace(audiences="x.example.com y.example.com")), "identity-audience",
         ["team/bot", "policy.audiences"]),
        (instead(TEAM, make("v1", "Namespace", "team")), "refused", ["team", labels.POLICY]),
        (gone(WATCH), "refused", ["team", "daypass-gate-watch"]),
        (instead(WATCH, namespace_rights("team", "another-home")[1]), "refused", ["team"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_with_the_next_step(
    change: Callable[[Named], object], reason: str, values: list[str]
) -> None:
    there = well()
    change(there)
    (finding,) = found(CONFIG, *there.values()).values()
    assert finding.check == reason
    assert finding.hint
    check(finding.sentence, *values, reason=reason)
    is_of_tenants = reason in ("identity-door", "identity-audience", "refused")
    is_sure = not is_of_tenants and "plain http" not in finding.fact
    assert (finding.level is Level.FAILURE) is is_sure


@pytest.mark.parametrize(
    "change",
    [
        instead(THE_GATEWAY, gateway("*")),
        instead(THE_GATEWAY, gateway("kubeflow/*.example.com")),
        instead(TEAM, namespace(audiences="x.example.com gate.example.com")),
        instead(BOT, identity(door="what is this")),
        lambda there: there[BOT]["metadata"]["annotations"].pop(labels.AUDIENCE),
        gone(BOT, WATCH, TEAM),  # a namespace without identities
        gone(LOGIN, PAST, ("RequestAuthentication", "dex")),
        instead(("EnvoyFilter", "login"), by_filter()),
    ],
)
def test_what_is_meant_is_no_finding(change: Callable[[Named], object]) -> None:
    there = well()
    change(there)
    assert found(CONFIG, *there.values()) == {}


@pytest.mark.parametrize(
    ("operation", "is_found"),
    [
        ({}, True),
        ({"hosts": [HOST]}, True),
        ({"hosts": ["*.example.com"]}, True),
        ({"hosts": ["x.example.com"]}, False),
        ({"notHosts": [HOST]}, False),
        ({"notPaths": ["/dex/*"]}, True),
        ({"notPaths": ["/kubernetes/*"]}, True),  # the gate's own requests have other paths
    ],
)
def test_a_login_is_judged_by_the_hosts_that_it_is_asked_about(
    operation: Object, is_found: bool
) -> None:
    there = well()
    there[LOGIN] = by_policy(rule={"to": [{"operation": operation}]})
    assert ("login" in found(CONFIG, *there.values())) is is_found


def test_a_login_that_leaves_out_the_doors_path_needs_no_way_past() -> None:
    there = well()
    gone(PAST, ("RequestAuthentication", "dex"))(there)
    assert "login" in found(CONFIG, *there.values())
    there[LOGIN]["spec"]["rules"][0]["to"][0]["operation"]["notPaths"].append("/kubernetes/*")
    assert found(CONFIG, *there.values()) == {}


def test_a_gate_for_every_host_that_refuses_the_users_of_a_login_is_found() -> None:
    text = CONFIG.replace("login: keep, hosts: [", "hosts: ['*', ")
    finding = found(text, *well().values())["login"]
    check(finding.sentence, "gates.default.login: keep", reason="login")
    assert finding.level is Level.WARNING
    named = text.replace("'*', ", "")  # another host may be for browsers
    assert "login" not in found(named, *well().values())


def test_many_identities_are_one_finding_of_one_line() -> None:
    there = well()
    for number in range(20):
        hostile = identity(f"x{number}", audience="old\n\x1b[31m" + "x" * 500)
        there["ServiceAccount", f"x{number}"] = hostile
    (finding,) = found(CONFIG, *there.values()).values()
    assert "17 more" in finding.fact
    assert finding.fact.isprintable()
    assert len(finding.fact) < 600


def test_where_nothing_is_applied_one_finding_says_so() -> None:
    assert found(CONFIG, gateway(HOST)) == {"not-applied": NOTHING_APPLIED}
    check(NOTHING_APPLIED.sentence, "daypass apply", reason="not-applied")


def test_what_may_not_be_listed_is_named_and_nothing_is_concluded_from_it() -> None:
    config, there = config_of(CONFIG), well()
    gone(WATCH, PAST, THE_GATEWAY, ("EnvoyFilter", GATE))(there)
    unseen = ("RoleBinding", "EnvoyFilter", "Gateway")
    (finding,) = judge(look_of(*there.values(), unseen=unseen), config)
    assert (finding.check, finding.level) == ("cluster", Level.SKIPPED)
    check(finding.fact, "RoleBindings", "EnvoyFilters", "logins", reason="cluster")
