"""Roles that give more access than they seem to."""

from __future__ import annotations

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.identity.roles import RISKS, find_risks, selects
from support.messages import check

RBAC = "rbac.authorization.k8s.io"


def rule(verbs: str, resources: str, groups: str = "", **more: object) -> Object:
    return {
        "apiGroups": groups.split(","), "resources": resources.split(","),
        "verbs": verbs.split(","), **more,
    }  # fmt: skip


RISKY = [
    (rule("create", "serviceaccounts/token"), "create serviceaccounts/token"),
    (rule("create", "*/token"), "create serviceaccounts/token"),
    (
        rule("create", "serviceaccounts/token", resourceNames=["other"]),
        "create serviceaccounts/token",
    ),
    (rule("get", "secrets"), "get secrets"),
    (rule("patch", "secrets"), "get secrets"),
    (rule("create", "secrets"), "create secrets"),
    (rule("impersonate", "serviceaccounts"), "impersonate serviceaccounts"),
    (rule("create", "pods/exec"), "create pods/exec"),
    (rule("get", "pods/attach"), "create pods/exec"),
    (rule("patch", "pods/ephemeralcontainers"), "create pods"),
    (rule("create", "jobs", "batch"), "create pods"),
    (rule("escalate", "roles", RBAC), "escalate roles"),
    (rule("create", "rolebindings", RBAC), "create rolebindings"),
]
"""A rule, and the first verb and resource of the risk that it is."""


def risk_of(reason: str) -> str:
    """The first verb and resource of the risk with this reason."""
    (risk,) = (risk for risk in RISKS if risk.reason == reason)
    return f"{risk.verbs[0]} {risk.resources[0][1]}"


def named(rule_: Object) -> str:
    return f"{','.join(rule_['verbs'])} {','.join(rule_['resources'])}"


@pytest.mark.parametrize(("rule_", "risk"), RISKY, ids=[named(rule_) for rule_, _ in RISKY])
def test_each_risky_rule_is_found(rule_: Object, risk: str) -> None:
    (found,) = find_risks([rule("get", "services"), rule_])
    assert risk_of(found) == risk
    check(found, reason=risk)


@pytest.mark.parametrize(
    "all_of_it", [rule("*", "*", "*"), rule("get,create,bind,patch", "*", "*")]
)
def test_wildcards_have_every_risk(all_of_it: Object) -> None:
    expected = {risk.reason for risk in RISKS if "impersonate" not in risk.verbs}
    assert expected <= set(find_risks([all_of_it]))


@pytest.mark.parametrize(
    "harmless",
    [
        rule("get,list,watch", "pods,services,configmaps,pods/log"),
        rule("*", "secrets", "example.com"),
        rule("delete", "secrets"),
        rule("get,list", "pods", "*"),
        rule("create", "pods/*"),  # not a wildcard in RBAC
        rule("*", "notebooks", "kubeflow.org"),
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ],
)
def test_harmless_rules_have_no_risk(harmless: Object) -> None:
    assert find_risks([harmless]) == ()


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ({"operator": "In", "values": ["a", "b"]}, True),
        ({"operator": "In", "values": ["b"]}, False),
        ({"operator": "NotIn", "values": ["b"]}, True),
        ({"operator": "NotIn", "values": ["a"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
    ],
)
def test_selectors_match_as_in_kubernetes(expression: Object, selected: bool) -> None:
    selector = {"matchExpressions": [{"key": "k", **expression}]}
    assert selects(selector, {"metadata": {"labels": {"k": "a"}}}) is selected
