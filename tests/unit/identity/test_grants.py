"""Grants as objects: the form that Kubeflow uses, and unique names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.k8s_names import is_subdomain
from daypass.identity.grants import (
    INGRESS_GATEWAY,
    USER_HEADER,
    Grant,
    admits_only,
    authorization_policy,
    role_binding,
)
from daypass.identity.model import IdentityName
from support.messages import raises

BOT = IdentityName(namespace="team", name="bot")
EDIT = Grant(identity=BOT, namespace="alice", cluster_role="kubeflow-edit")
NAME = "user-system-serviceaccount-team-bot-clusterrole-edit"
"""The result of kfam's getBindingName for User, this user, ClusterRole, edit."""


def test_a_grant_has_the_objects_that_kubeflows_kfam_creates() -> None:
    assert EDIT.names[0] == NAME
    binding = role_binding(EDIT, NAME)
    policy = authorization_policy(EDIT, NAME, principals=(INGRESS_GATEWAY,), header=USER_HEADER)
    for document in (binding, policy):
        assert document["metadata"]["name"] == NAME
        assert document["metadata"]["namespace"] == "alice"
        # kfam's List reads these two, and requires exactly one subject.
        annotations = document["metadata"]["annotations"]
        assert annotations["user"] == "system:serviceaccount:team:bot"
        assert annotations["role"] == "edit"
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubeflow-edit",
    }  # fmt: skip
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "bot", "namespace": "team"}]
    (rule,) = policy["spec"]["rules"]
    assert rule["when"] == [
        {"key": "request.headers[kubeflow-userid]", "values": ["system:serviceaccount:team:bot"]}
    ]
    gateway = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
    assert rule["from"] == [{"source": {"principals": [gateway]}}]


def test_a_policy_without_a_principal_is_refused() -> None:
    with raises(ValueError):
        authorization_policy(EDIT, NAME, principals=(), header=USER_HEADER)


def test_a_role_unknown_to_kubeflow_has_no_annotations_for_its_ui() -> None:
    grant = Grant(identity=BOT, namespace="alice", cluster_role="edit")
    (name,) = grant.names
    assert name.startswith(f"{NAME}-")
    for document in (
        role_binding(grant, name),
        authorization_policy(grant, name, principals=("p",), header="h"),
    ):
        assert document["metadata"]["annotations"].keys() == {"daypass.dev/identity"}


def test_identities_with_the_same_kubeflow_name_have_different_second_names() -> None:
    one, two = (
        Grant(
            identity=IdentityName(namespace=namespace, name=name),
            namespace="alice", cluster_role="kubeflow-edit",
        )
        for namespace, name in (("a-b", "c"), ("a", "b-c"))
    )  # fmt: skip
    assert one.names[0] == two.names[0]
    assert one.names[1] != two.names[1]


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
subdomain = st.lists(label, min_size=1, max_size=4).map(".".join).filter(lambda n: len(n) <= 224)
roles = st.sampled_from(["kubeflow-view", "edit", "system:node", "A_role/with.all-sorts:" * 9])


@given(namespace=label, name=subdomain, role=roles)
def test_every_grant_name_is_a_valid_object_name(namespace: str, name: str, role: str) -> None:
    identity = IdentityName(namespace=namespace, name=name)
    grant = Grant(identity=identity, namespace="alice", cluster_role=role)
    assert all(is_subdomain(each) for each in grant.names)
    assert len(set(grant.names)) == len(grant.names)


@pytest.mark.parametrize(
    "change",
    [
        {"from": None},
        {"from": []},
        {"from": [{"source": {}}]},
        {"from": [{"source": {"principals": ["*"]}}]},
        {"from": [{"source": {"principals": ["p", "cluster.local/*"]}}]},
        {"from": [{"source": {"principals": ["p"]}}, {"source": {"namespaces": ["x"]}}]},
        {"when": []},
        {"when": [{"key": "request.headers[kubeflow-userid]", "values": ["*"]}]},
        {"when": [{"key": "request.headers[kubeflow-userid]",
                   "values": ["system:serviceaccount:team:bot", "other"]}]},
        {"when": [{"key": "source.ip", "values": ["system:serviceaccount:team:bot"]}]},
    ],
)  # fmt: skip
def test_a_widened_policy_proves_nothing(change: dict[str, object]) -> None:
    policy = authorization_policy(EDIT, NAME, principals=("p",), header=USER_HEADER)
    assert admits_only(policy, BOT)
    assert not admits_only(policy, IdentityName(namespace="team", name="other"))
    policy["spec"]["rules"].append(policy["spec"]["rules"][0] | change)
    assert not admits_only(policy, BOT)
    assert not admits_only({**policy, "spec": {"action": "ALLOW"}}, BOT)
    assert not admits_only({**policy, "spec": {}}, BOT)
