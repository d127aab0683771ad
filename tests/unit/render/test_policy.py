"""Properties of the policy objects, whatever the config."""

from __future__ import annotations

import pytest

from daypass._core.kubernetes import labels
from daypass.config.settings import Mode, Policy
from daypass.render.policy import (
    BoundObject,
    Requester,
    TokenRequestAttributes,
    broken_rules,
    mistakes,
    policy_objects,
)


@pytest.mark.parametrize("mode", ["audit", "warn", "deny"])
def test_the_policy_fails_closed_and_binds_labelled_namespaces_without_parameters(
    mode: Mode,
) -> None:
    policy, binding = policy_objects(Policy(audiences=("a",), mode=mode))
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert ("Deny" in binding["spec"]["validationActions"]) == (mode == "deny")
    assert "paramKind" not in policy["spec"]
    assert "paramRef" not in binding["spec"]
    selector = binding["spec"]["matchResources"]["namespaceSelector"]
    assert selector == {"matchLabels": {"daypass.dev/policy": "enforced"}}


def test_a_user_name_cannot_inject_into_the_expression() -> None:
    policy, _ = policy_objects(Policy(audiences=("a",), exempt=("x] || true || y in [",)))
    expression = policy["spec"]["matchConditions"][-1]["expression"]
    assert expression == '!(request.userInfo.username in ["x] || true || y in ["])'


@pytest.mark.parametrize(
    ("kind", "seconds", "longest", "rules"),
    [
        ("Pod", 3607, 86_400, ["lifetime"]),
        ("Pod", 3607, 365 * 86_400 - 1, ["lifetime"]),
        ("Pod", 3607, 365 * 86_400, []),
        ("Pod", 3606, 86_400, []),
        ("Pod", 3608, 86_400, []),
        ("Node", 3607, 86_400, []),
    ],
)
def test_the_lifetime_that_kubernetes_extends_to_a_year_counts_as_one(
    kind: str, seconds: int, longest: int, rules: list[str]
) -> None:
    request = TokenRequestAttributes(
        requester=Requester(user="jane"),
        service_account="bot",
        lifetime_seconds=seconds,
        audiences=("a",),
        bound=BoundObject(kind=kind, name="x"),
    )
    policy = Policy(audiences=("a",), longest_lifetime_seconds=longest, binding="optional")
    assert broken_rules(policy, request) == rules


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        (
            labels.POLICY_LONGEST_LIFETIME,
            ["600", "1h30m", "90d", "1d2h3m4s"],
            ["", "1h1d", "1.5h", "-1", "h"],
        ),
        (labels.POLICY_AUDIENCES, ["a", "a b"], ["", " ", "a  b", " a", "a\n", "é"]),
        (labels.POLICY_BINDING, ["required", "optional"], ["", "Required", "none"]),
        (labels.POLICY_SUCCESSORS, ["forbidden", "allowed"], ["", "true"]),
        (f"{labels.OVERRIDES}bindings", [], ["required"]),
    ],
)
def test_invalid_annotations_are_reported(key: str, good: list[str], bad: list[str]) -> None:
    assert [text for text in (*good, *bad) if mistakes({key: text})] == bad
    assert mistakes({"policy.example.com/x": "y"}) == []
