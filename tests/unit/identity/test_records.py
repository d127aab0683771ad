"""Lists of objects in, records of identities out: their rights, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.identity.records import identity_records
from unit.identity.inventories import BOT, ListedObjects, binding, grant

ACCOUNT = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}


def group(name: str) -> Object:
    return {"kind": "Group", "name": name}


def test_an_identity_lists_its_grants_and_tokens() -> None:
    (record,) = identity_records(ListedObjects().objects())
    assert record.name == BOT
    assert [role.display for role in record.roles] == ["alice=view"]
    assert record.roles[0].daypass
    assert record.roles[0].authorization_policy is True
    assert record.can_request_tokens
    assert [secret.last_used for secret in record.secrets] == ["2027-01-14"]


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        (binding("x", "bob", "edit", ACCOUNT), "bob=clusterrole/edit"),
        (binding("x", "team", "edit", {"kind": "ServiceAccount", "name": "bot"}),
         "team=clusterrole/edit"),
        (binding("x", "bob", "edit", {"kind": "User", "name": "system:serviceaccount:team:bot"}),
         "bob=clusterrole/edit"),
        (binding("x", "bob", "edit", group("system:serviceaccounts:team")),
         "bob=clusterrole/edit"),
        (binding("x", None, "cluster-admin", ACCOUNT), "*=clusterrole/cluster-admin"),
    ],
)  # fmt: skip
def test_foreign_bindings_are_found_by_every_kind_of_subject(foreign: Object, shown: str) -> None:
    listed = ListedObjects()
    where = "bindings" if "namespace" in foreign["metadata"] else "cluster_bindings"
    listed.lists[where].append(foreign)
    (record,) = identity_records(listed.objects())
    assert [role.display for role in record.roles if not role.daypass] == [shown]


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "ServiceAccount", "name": "bot", "namespace": "other"},
        {"kind": "ServiceAccount", "name": "bot2", "namespace": "team"},
        {"kind": "User", "name": "bot"},
        group("system:serviceaccounts:other"),
    ],
)
def test_bindings_of_other_subjects_are_not_listed(subject: Object) -> None:
    listed = ListedObjects()
    listed.lists["bindings"].append(binding("x", "bob", "edit", subject))
    listed.lists["bindings"].append({"metadata": {"name": "x", "namespace": "b"}, "roleRef": {}})
    (record,) = identity_records(listed.objects())
    assert [role.display for role in record.roles] == ["alice=view"]


@pytest.mark.parametrize("names", [(), ("secrets",), ("roles", "bindings", "policies")])
def test_an_identity_is_listed_by_any_object_of_its_own(names: Sequence[str]) -> None:
    listed = ListedObjects()
    listed.account["metadata"]["labels"] = {}
    listed.account["metadata"]["annotations"] = {labels.IDENTITY: "team/other"}
    listed.lists |= {key: [] for key in names}
    (record,) = identity_records(listed.objects())
    assert record.account is not None
    assert (record.name, record.account.is_ours) == (BOT, False)


def test_a_foreign_service_account_is_no_identity() -> None:
    listed = ListedObjects()
    listed.account["metadata"]["annotations"][labels.IDENTITY] = "team/other"
    listed.secret["metadata"] |= {"name": "by-hand", "labels": {}}
    listed.lists |= {"roles": [], "bindings": [], "policies": []}
    assert identity_records(listed.objects()) == []


def test_a_namespace_lists_its_own_identities_and_their_leftovers() -> None:
    listed = ListedObjects()
    listed.lists["accounts"] = []
    assert [record.name for record in identity_records(listed.objects(), "team")] == [BOT]
    assert identity_records(listed.objects(), "alice") == []


def test_an_annotation_that_names_no_identity_is_ignored() -> None:
    listed = ListedObjects()
    for index, mark in enumerate(("", "x", "a/b/c", "../x", "team/BOT", "\x1b[2J/x")):
        odd, _ = grant(BOT, f"n{index}", "kubeflow-view")
        odd["metadata"]["annotations"][labels.IDENTITY] = mark
        odd["subjects"] = []
        listed.lists["bindings"].append(odd)
    assert [record.name for record in identity_records(listed.objects())] == [BOT]


@pytest.mark.parametrize(
    ("unseen", "role_kind"), [("cluster_roles", "ClusterRole"), ("roles", "Role")]
)
def test_the_models_of_a_role_that_cannot_be_seen_are_not_known(
    unseen: str, role_kind: str
) -> None:
    listed = ListedObjects()
    listed.lists["bindings"] = [binding("x", "alice", "custom", ACCOUNT, kind=role_kind)]
    (record,) = identity_records(listed.objects())
    assert not record.roles[0].exists
    assert record.roles[0].models == []
    listed.lists[unseen] = None
    (record,) = identity_records(listed.objects())
    assert record.roles[0].exists
    assert record.roles[0].models is None
