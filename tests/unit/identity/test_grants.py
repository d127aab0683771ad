"""Grants as objects: the form that Kubeflow uses, and unique names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import UsageError
from daypass._core.kubernetes.syntax import is_subdomain
from daypass.identity.accounts import IdentityName
from daypass.identity.grants import (
    KUBEFLOW,
    TrustedHeader,
    grant_name,
    model_grant,
    read_grant,
    role_grant,
)
from daypass.identity.roles import EVERY_MODEL, callable_models
from support.messages import raises

BOT = IdentityName(namespace="team", name="bot")
EDIT = role_grant(identity=BOT, namespace="alice", cluster_role="kubeflow-edit")
NAME = "user-system-serviceaccount-team-bot-clusterrole-edit"
"""The result of kfam's getBindingName for User, this user, ClusterRole, edit."""


def test_a_grant_has_the_objects_that_kubeflows_kfam_creates() -> None:
    assert EDIT.names[0] == NAME
    binding, policy = EDIT.objects(NAME, KUBEFLOW)
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
    for principals in ((), ("",), ("a", "*"), ("cluster.local/ns/x/sa/*",)):
        with raises(UsageError, match="principal"):
            TrustedHeader(principals=principals)


def test_a_role_unknown_to_kubeflow_has_no_annotations_for_its_ui() -> None:
    grant = role_grant(identity=BOT, namespace="alice", cluster_role="edit")
    (name,) = grant.names
    assert name.startswith(f"{NAME}-")
    for document in grant.objects(name, KUBEFLOW):
        assert document["metadata"]["annotations"].keys() == {"daypass.dev/identity"}


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
subdomain = st.lists(label, min_size=1, max_size=4).map(".".join).filter(lambda n: len(n) <= 224)
roles = st.sampled_from(["kubeflow-view", "edit", "system:node", "A_role/with.all-sorts:" * 9])


@given(namespace=label, name=subdomain, role=roles)
def test_every_grant_name_is_a_valid_object_name(namespace: str, name: str, role: str) -> None:
    identity = IdentityName(namespace=namespace, name=name)
    grant = role_grant(identity=identity, namespace="alice", cluster_role=role)
    assert all(is_subdomain(each) for each in grant.names)
    assert len(set(grant.names)) == len(grant.names)


@given(namespace=label, name=subdomain, model=st.one_of(st.just(EVERY_MODEL), subdomain))
def test_each_object_of_a_models_grant_has_a_valid_name_that_leads_to_the_grant(
    namespace: str, name: str, model: str
) -> None:
    identity = IdentityName(namespace=namespace, name=name)
    grant = model_grant(identity=identity, namespace="alice", model=model)
    role, binding, *policies = grant.objects(grant.names[0], KUBEFLOW)
    documents = [role, binding, *policies]
    names = [document["metadata"]["name"] for document in documents]
    assert all(is_subdomain(each) for each in names)
    assert len(set(names)) == len(names) - 1  # Role and RoleBinding have the same
    assert {grant_name(document) for document in documents} == set(grant.names)
    assert all(grant.owns(document) for document in documents)
    assert read_grant(binding, role["rules"]) == grant
    assert {found for _, found in callable_models(role["rules"])} == {model}


def test_a_binding_that_was_changed_is_no_grant() -> None:
    grant = model_grant(identity=BOT, namespace="alice", model="iris")
    (name,) = grant.names
    for change in (
        {"metadata": {**grant.binding(name)["metadata"], "name": "other"}},
        {"roleRef": {"kind": "Role", "name": "other"}},
        {"roleRef": {"kind": "ClusterRole", "name": name}},
        {"metadata": {**grant.binding(name)["metadata"], "labels": {}}},
    ):
        assert read_grant({**grant.binding(name), **change}) is None


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"verbs": ["get"], "resources": ["inferenceservices"]}, ["inferenceservices *"]),
        ({"verbs": ["*"], "resources": ["*"]}, ["inferenceservices *", "llminferenceservices *"]),
        ({"verbs": ["list", "get"], "resources": ["llminferenceservices"],
          "resourceNames": ["a", "b"]}, ["llminferenceservices a", "llminferenceservices b"]),
        ({"verbs": ["get"], "resources": ["inferenceservices/status", "pods"]}, []),
        ({"verbs": ["get"], "resources": ["inferenceservices"], "apiGroups": [""]}, []),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, []),
    ],
)  # fmt: skip
def test_the_models_that_a_rule_lets_one_call_are_those_that_it_lets_one_get(
    rule: dict[str, list[str]], found: list[str]
) -> None:
    models = callable_models([{"apiGroups": ["serving.kserve.io"], **rule}])
    assert [f"{plural} {name}" for plural, name in models] == found
