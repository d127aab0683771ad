"""Lists of objects in, records of identities out: their rights, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx2
import pytest

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.identity.records import (
    identity_records,
    list_objects,
)
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from support.authority import ANY_AUTHORITY
from support.inventories import BOT, ListedObjects, binding, grant
from support.lifecycle import Warnings

ACCOUNT = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}


def group(name: str) -> Object:
    return {"kind": "Group", "name": name}


def test_an_identity_lists_its_grants_and_tokens() -> None:
    (record,) = identity_records(ListedObjects().objects())
    assert record.name == BOT
    assert [role.display for role in record.roles] == ["alice=view"]
    assert record.roles[0].is_ours
    assert record.roles[0].has_policy is True
    assert record.can_request_tokens
    assert [secret.last_used for secret in record.secrets] == ["2027-01-14"]


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
    listed = ListedObjects()
    where = "bindings" if "namespace" in foreign["metadata"] else "cluster_bindings"
    listed.lists[where].append(foreign)
    (record,) = identity_records(listed.objects())
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
    listed = ListedObjects()
    listed.lists["bindings"].append(binding("x", "bob", "edit", subject))
    listed.lists["bindings"].append({"metadata": {"name": "x", "namespace": "b"}, "roleRef": {}})
    (record,) = identity_records(listed.objects())
    assert [role.display for role in record.roles] == ["alice=view"]


def test_kubernetes_default_bindings_are_not_listed() -> None:
    listed = ListedObjects()
    default = binding("system:basic-user", None, "x", group("system:authenticated"))
    default["metadata"]["labels"] = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    listed.lists["cluster_bindings"].append(default)
    (record,) = identity_records(listed.objects())
    assert len(record.roles) == 1


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


class Api(httpx2.BaseTransport):
    """Answers with `lists` by plural: of objects, or a status code. Other lists are empty.

    `kinds`: what it serves, by group.
    """

    def __init__(
        self,
        lists: Mapping[str, list[Object] | int],
        kinds: Mapping[str, list[Object]] | None = None,
    ) -> None:
        self.lists, self.kinds = lists, kinds or {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path, _, last = request.url.path.rpartition("/")
        if last == "v1":
            return httpx2.Response(200, json={"resources": self.kinds.get(path.rpartition("/")[2])})
        found = self.lists.get(last, [])
        if isinstance(found, int):
            status = {"kind": "Status", "code": found, "message": "no"}
            return httpx2.Response(found, json=status)
        return httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": found})

    def cluster(self) -> Cluster:
        access = ConnectionConfig(
            server="https://api.test", namespace="team", origin="a test", authority=ANY_AUTHORITY
        )
        return Cluster(access, transport=self, sleep=lambda _: None)


POLICIES = "validatingadmissionpolicybindings"
INSTALLED = {"metadata": {"name": "daypass", "uid": "1"}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([INSTALLED], [INSTALLED]),
        ([], []),
        (404, None),  # an API server that can enforce none
        (403, None),  # an administrator of a namespace
    ],
    ids=["installed", "not installed", "not served", "forbidden"],
)
def test_an_installed_policy_is_found_if_the_caller_may_read_it(
    answer: list[Object] | int, expected: object
) -> None:
    warnings = Warnings()
    objects = list_objects(Api({POLICIES: answer}).cluster(), "team", warn=warnings)
    assert objects.policy_bindings == expected
    assert warnings == []


@pytest.mark.parametrize(
    ("code", "kind", "field"),
    [
        (403, POLICIES, "policy_bindings"), (404, POLICIES, "policy_bindings"),
        (403, "configmaps", "published"),
    ],
)  # fmt: skip
def test_a_user_without_permission_to_read_policy_and_published_set_gets_the_rest(
    code: int, kind: str, field: str
) -> None:
    api = Api({kind: code})
    warnings = Warnings()
    assert getattr(list_objects(api.cluster(), "team", warn=warnings), field) is None
    assert warnings == []


@pytest.mark.parametrize("has_istio", [True, False])
def test_a_forbidden_list_is_reported_only_if_the_api_server_serves_the_kind(
    has_istio: bool,
) -> None:
    kind = {"kind": "AuthorizationPolicy", "name": "authorizationpolicies", "namespaced": True}
    api = Api({"authorizationpolicies": 403}, {"security.istio.io": [kind] if has_istio else []})
    warnings = Warnings()
    assert list_objects(api.cluster(), "team", warn=warnings).policies is None
    assert ["authorizationpolicies" in str(each) for each in warnings] == [True] * has_istio


@pytest.mark.parametrize(
    ("unseen", "role_kind"), [("cluster_roles", "ClusterRole"), ("roles", "Role")]
)
def test_the_models_of_a_role_that_cannot_be_seen_are_not_known(
    unseen: str, role_kind: str
) -> None:
    listed = ListedObjects()
    listed.lists["bindings"] = [binding("x", "alice", "custom", ACCOUNT, kind=role_kind)]
    (record,) = identity_records(listed.objects())
    assert record.roles[0].is_missing
    assert record.roles[0].models == ()
    listed.lists[unseen] = None
    (record,) = identity_records(listed.objects())
    assert not record.roles[0].is_missing
    assert record.roles[0].models is None
