"""Each problem of an identity is found, and a healthy identity has no findings."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest

from daypass._core.findings import Finding, Level
from daypass._core.kubernetes import labels
from daypass.identity.health import examine
from daypass.render.rbac import namespace_rights
from support.messages import check
from support.timing import FakeClock
from unit.identity.inventories import BOT, ListedObjects, grant

DAY = 86_400
PAST, FUTURE = "2027-01-15T07:59:59Z", "2027-01-15T08:00:01Z"
ACCOUNT = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}
Spoil = Callable[[ListedObjects], object]


def findings(spoil: Spoil) -> list[Finding]:
    listed = ListedObjects()
    spoil(listed)
    (examined,) = examine(listed.objects(), FakeClock())
    return list(examined.findings)


def annotate(listed: ListedObjects, which: str, mark: str, value: str) -> None:
    getattr(listed, which)["metadata"]["annotations"][mark] = value


def add_secret(listed: ListedObjects, name: str, **annotations: str) -> None:
    secret = copy.deepcopy(listed.secret)
    secret["metadata"] |= {"name": name, "uid": name}
    secret["metadata"]["annotations"] |= annotations
    listed.lists["secrets"].append(secret)


def foreign_secret(listed: ListedObjects) -> None:
    add_secret(listed, "by-hand")
    listed.lists["secrets"][-1]["metadata"]["labels"] = {}


def lose(listed: ListedObjects, *names: str) -> None:
    for name in names:
        listed.lists[name] = []


def only(listed: ListedObjects, name: str, *kept: object) -> None:
    listed.lists[name] = list(kept)


def move_to_kube_system(listed: ListedObjects) -> None:
    listed.lists = json.loads(json.dumps(listed.lists).replace("team", "kube-system"))


def lack_policy_and_label(listed: ListedObjects) -> None:
    listed.namespace["metadata"].pop("labels")
    lose(listed, "policy_bindings")


def label_unused(listed: ListedObjects, last: str | None) -> None:
    labels = listed.secret["metadata"]["labels"]
    del labels["kubernetes.io/legacy-token-last-used"]
    if last:
        labels["kubernetes.io/legacy-token-last-used"] = last


CREATE = "daypass identity create bot -n team"
GRANT = "user-system-serviceaccount-team-bot-clusterrole-view"
OPENING = f"authorizationpolicies/{GRANT} in alice"
PROBLEMS: list[tuple[str, Spoil, *tuple[str, ...]]] = [
    ("orphan", lambda w: lose(w, "accounts", "secrets"), "daypass identity delete bot -n team"),
    ("unmarked", lambda w: annotate(w, "account", labels.IDENTITY, "a/b"), f"{CREATE} --adopt"),
    ("half-grant", lambda w: lose(w, "policies"), "alice=view"),
    ("half-grant", lambda w: only(w, "bindings", w.own_binding), OPENING),
    ("deadline-passed", lambda w: annotate(w, "account", labels.DEADLINE, PAST), PAST),
    ("retirement-overdue", lambda w: annotate(w, "secret", labels.RETIRE_AFTER, PAST), PAST),
    ("unreadable-time", lambda w: annotate(w, "account", labels.DEADLINE, "soon"), "'soon'"),
    ("unreadable-time", lambda w: annotate(w, "secret", labels.RETIRE_AFTER, "now"), "'now'"),
    ("unused", lambda w: label_unused(w, "2026-10-16"), "90 days"),
    ("foreign-token", foreign_secret, "Secret by-hand"),
    ("several-tokens", lambda w: add_secret(w, "second"), "second", "2"),
    (
        "rotation-unfinished",
        lambda w: add_secret(w, "second", **{labels.REPLACES: w.secret["metadata"]["name"]}),
        "second", "2",
    ),
    ("no-token-right", lambda w: only(w, "bindings", w.binding), CREATE),
    ("no-token-right", lambda w: lose(w, "roles"), CREATE),
    ("no-policy", lambda w: w.namespace["metadata"].pop("labels"), "daypass.dev/policy=enforced"),
    ("no-policy", lack_policy_and_label, "daypass apply"),
    ("no-policy", move_to_kube_system, "kube-system"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "spoil", "values"),
    [(code, spoil, values) for code, spoil, *values in PROBLEMS],
    ids=[problem[0] for problem in PROBLEMS],
)
def test_each_problem_is_the_only_finding(code: str, spoil: Spoil, values: list[str]) -> None:
    (found,) = findings(spoil)
    assert found.check == code
    assert found.level is Level.FAILURE
    assert all(value in found.sentence for value in values)
    check(found.sentence, reason=code)


def ended(listed: ListedObjects) -> None:
    annotate(listed, "account", labels.DEADLINE, PAST)
    lose(listed, "secrets", "bindings", "policies", "roles")


@pytest.mark.parametrize(
    ("codes", "spoil"),
    [
        (["no-token"], lambda w: lose(w, "secrets")),
        (["ended", "no-token"], ended),
    ],
    ids=["no-token", "ended"],
)
def test_an_intended_state_is_a_note_and_no_problem(codes: list[str], spoil: Spoil) -> None:
    found = findings(spoil)
    assert [each.check for each in found] == codes
    assert {each.level for each in found} == {Level.WARNING}
    for each in found:
        check(each.sentence, reason=each.check)


def invalid(listed: ListedObjects) -> None:
    add_secret(listed, "second")
    label = "kubernetes.io/legacy-token-invalid-since"
    listed.lists["secrets"][-1]["metadata"]["labels"][label] = "2027-01-01"


def federated(listed: ListedObjects) -> None:
    lose(listed, "secrets")
    listed.lists["other_secrets"] = [listed.secret]
    listed.secret["metadata"]["name"] = f"bot-daypass-anchor-{'a' * 20}"
    listed.own_binding["metadata"]["name"] = "bot-daypass-federated"
    listed.own_binding["subjects"] = [{"kind": "User", "name": "github:x"}]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda w: None,
        lambda w: annotate(w, "secret", labels.RETIRE_AFTER, FUTURE),
        lambda w: add_secret(w, "old", **{labels.RETIRE_AFTER: FUTURE}),
        lambda w: add_secret(w, "dead", **{"kubernetes.io/service-account.uid": "before"}),
        invalid,
        federated,
        lambda w: label_unused(w, "2026-10-18"),
        lambda w: label_unused(w, None),  # made five days ago
        lambda w: w.lists.update(
            policies=None, secrets=None, namespaces=None, roles=None,
            cluster_roles=None, cluster_bindings=None, policy_bindings=None,
        ),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_healthy_or_unreadable_state_has_no_findings(spoil: Spoil) -> None:
    assert findings(spoil) == []


def test_an_annotation_alone_makes_no_orphan() -> None:
    listed = ListedObjects()
    odd, _ = grant(BOT, "bob", "kubeflow-view")
    odd["metadata"]["annotations"][labels.IDENTITY] = "team/nobody"
    listed.lists["bindings"].append(odd)
    (bot,) = examine(listed.objects(), FakeClock())
    assert [(each.namespace, each.daypass) for each in bot.record.roles] == [
        ("alice", True), ("bob", False),
    ]  # fmt: skip


def test_a_forged_binding_is_not_attributed_to_daypass() -> None:
    """A user who can write RoleBindings can write annotations, too."""
    listed = ListedObjects()
    forged, policy = grant(BOT, "bob", "kubeflow-view")
    forged["metadata"]["name"] = policy["metadata"]["name"] = "another-name"
    forged["roleRef"]["name"] = "kubeflow-edit"
    listed.lists["bindings"].append(forged)
    (bot,) = examine(listed.objects(), FakeClock())
    assert [each.daypass for each in bot.record.roles] == [True, False]


def gated(listed: ListedObjects) -> None:
    """Let a gate watch the identity's namespace."""
    rights = namespace_rights("team", "daypass")
    listed.lists["roles"].append(rights[0])
    listed.lists["bindings"].append(rights[1])
    listed.lists["gates"] = [{"metadata": {"name": "daypass"}}]


def unlabelled(listed: ListedObjects) -> None:
    gated(listed)
    listed.secret["metadata"]["labels"].pop(labels.MANAGED_BY)


def unwatched(listed: ListedObjects) -> None:
    gated(listed)
    listed.lists["roles"].pop()


@pytest.mark.parametrize(
    ("spoil", "code", "value"),
    [
        (unlabelled, "unknown-to-gate", "daypass identity rotate bot -n team"),
        (unwatched, "not-watched", "daypass identity create bot -n team"),
    ],
    ids=["unlabelled", "unwatched"],
)
def test_what_no_gate_can_know_is_a_problem(spoil: Spoil, code: str, value: str) -> None:
    assert findings(gated) == []
    (found,) = findings(spoil)
    assert (found.check, found.level) == (code, Level.FAILURE)
    check(found.sentence, value, reason=code)
