"""Objects in, rows out: the rights of each identity, and where they come from."""

from __future__ import annotations

import json
import re

import pytest

from daypass._core import labels
from daypass.cli.output import table
from daypass.identity.health import examine
from daypass.identity.inventory import identity_records
from daypass.identity.report import HEADINGS, display_age, json_document, table_rows
from daypass.kube.resources import Object
from support.inventories import BOT, World, binding, grant
from support.timing import FakeClock

ACCOUNT = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}


def group(name: str) -> Object:
    return {"kind": "Group", "name": name}


def test_an_identity_lists_its_grants_and_tokens() -> None:
    (record,) = identity_records(World().objects())
    assert record.name == BOT
    assert [role.display for role in record.roles] == ["alice=view"]
    assert record.roles[0].is_ours
    assert record.roles[0].has_policy is True
    assert record.can_request_tokens
    assert [token.last_used for token in record.tokens] == ["2027-01-14"]


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        (binding("x", "bob", "edit", ACCOUNT), "bob=clusterrole/edit"),
        (binding("x", "bob", "kubeflow-edit", ACCOUNT), "bob=edit"),
        (binding("x", "bob", "own", ACCOUNT, kind="Role"), "bob=role/own"),
        (binding("x", "team", "edit", {"kind": "ServiceAccount", "name": "bot"}),
         "team=clusterrole/edit"),
        (binding("x", "bob", "edit", {"kind": "User", "name": "system:serviceaccount:team:bot"}),
         "bob=clusterrole/edit"),
        (binding("x", "bob", "edit", group("system:serviceaccounts:team")),
         "bob=clusterrole/edit"),
        (binding("x", "bob", "edit", group("system:serviceaccounts")), "bob=clusterrole/edit"),
        (binding("x", "bob", "edit", group("system:authenticated"), ACCOUNT),
         "bob=clusterrole/edit"),
        (binding("x", None, "cluster-admin", ACCOUNT), "*=clusterrole/cluster-admin"),
    ],
)  # fmt: skip
def test_foreign_bindings_are_found_by_every_kind_of_subject(foreign: Object, shown: str) -> None:
    world = World()
    where = "bindings" if "namespace" in foreign["metadata"] else "cluster_bindings"
    world.lists[where].append(foreign)
    (record,) = identity_records(world.objects())
    assert [role.display for role in record.roles if not role.is_ours] == [shown]


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "ServiceAccount", "name": "bot", "namespace": "other"},
        {"kind": "ServiceAccount", "name": "bot2", "namespace": "team"},
        {"kind": "User", "name": "bot"},
        {"kind": "User", "name": "system:serviceaccount:team:bot:x"},
        group("system:serviceaccounts:other"),
        group("system:serviceaccounts:team:bot"),
    ],
)
def test_bindings_of_other_subjects_are_not_listed(subject: Object) -> None:
    world = World()
    world.lists["bindings"].append(binding("x", "bob", "edit", subject))
    world.lists["bindings"].append({"metadata": {"name": "x", "namespace": "b"}, "roleRef": {}})
    (record,) = identity_records(world.objects())
    assert [role.display for role in record.roles] == ["alice=view"]


def test_kubernetes_default_bindings_are_not_listed() -> None:
    world = World()
    default = binding("system:basic-user", None, "x", group("system:authenticated"))
    default["metadata"]["labels"] = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    world.lists["cluster_bindings"].append(default)
    (record,) = identity_records(world.objects())
    assert len(record.roles) == 1


def test_a_foreign_service_account_is_no_identity() -> None:
    world = World()
    world.account["metadata"]["annotations"][labels.IDENTITY] = "team/other"
    (record,) = identity_records(world.objects())
    assert (record.name, record.account) == (BOT, None)


def test_a_namespace_lists_its_own_identities_and_their_leftovers() -> None:
    world = World()
    world.lists["accounts"] = []
    assert [record.name for record in identity_records(world.objects(), "team")] == [BOT]
    assert identity_records(world.objects(), "alice") == []


def test_an_annotation_that_names_no_identity_is_ignored() -> None:
    world = World()
    for index, mark in enumerate(("", "x", "a/b/c", "../x", "team/BOT", "\x1b[2J/x")):
        odd, _ = grant(BOT, f"n{index}", "kubeflow-view")
        odd["metadata"]["annotations"][labels.IDENTITY] = mark
        odd["subjects"] = []
        world.lists["bindings"].append(odd)
    assert [record.name for record in identity_records(world.objects())] == [BOT]


def test_the_table_has_no_control_characters() -> None:
    world = World()
    world.account["metadata"]["annotations"][labels.DOOR] = "https://door\x1b[2J\n.test"
    for name in ("a", "b", "c"):
        world.lists["bindings"].append(grant(BOT, name, "kubeflow-view")[0])
    clock = FakeClock()
    examined = examine(world.objects(), clock, unused_seconds=10**9)
    drawn = table(HEADINGS, table_rows(examined, clock))
    heading, row = (re.split(" {3,}", line) for line in drawn.splitlines())
    assert heading == list(HEADINGS)
    assert row == [
        "team", "bot", "a=view, alice=view, and 2 more", "https://door [2J .test", "5d",
        "2027-01-14", "-", "half-grant",
    ]  # fmt: skip
    wide = table(HEADINGS, table_rows(examined, clock, wide=True))
    assert "a=view, alice=view, b=view, c=view" in wide
    assert len(examined[0].findings) == 3
    assert all(finding.text in wide for finding in examined[0].findings)


def test_the_json_document_has_all_fields_and_no_secret() -> None:
    world = World()
    (examined,) = examine(world.objects(), FakeClock(), unused_seconds=10**9)
    whole = json.loads(json.dumps(json_document(examined)))
    assert whole["findings"] == []
    assert whole["grants"] == [
        {
            "namespace": "alice", "role": "kubeflow-view", "kind": "ClusterRole",
            "binding": "user-system-serviceaccount-team-bot-clusterrole-view",
            "daypass": True, "authorizationPolicy": True,
        }
    ]  # fmt: skip
    assert whole["lastUsed"] == "2027-01-14"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d"), (800 * 86_400, "2y")],
)
def test_ages_are_short(seconds: float, shown: str) -> None:
    assert display_age(seconds) == shown
