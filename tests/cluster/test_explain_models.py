"""`daypass gate explain` about models: what exists, and what RBAC lets a caller do, on a real API
server with KServe's kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from daypass._core.kubernetes.objects import new_object
from daypass._core.kubernetes.syntax import RBAC_GROUP
from daypass.gate.explain import ModelFacts
from daypass.kube.cluster import Cluster
from daypass.rules.claims import CallerIdentity
from daypass.rules.models import Access, ModelRule, UnknownModelsError, needed_accesses
from daypass.rules.patterns import HostPattern, Model, PathPattern
from support.clusters import account_token, admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.crds import install_kserve

INFERENCE, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
RBAC, KSERVE = f"{RBAC_GROUP}/v1", "serving.kserve.io"
RULES = (
    ModelRule(host=HostPattern.parse("{name}-{namespace}.example.com"), resource=INFERENCE),
    ModelRule(
        host=HostPattern.parse("api.example.com"),
        path=PathPattern.parse("/{namespace}/{name}/"),
        resource=LLM,
    ),
)
CALLER = CallerIdentity(
    user="system:serviceaccount:c:bot",
    groups=("system:serviceaccounts", "system:serviceaccounts:c", "system:authenticated"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    plane: ControlPlane
    cluster: Cluster


@pytest.fixture(scope="module")
def env(control_plane: ControlPlane) -> Iterator[Env]:
    """Two models that one host may mean, one of which the caller may get, and a third one."""
    install_kserve(control_plane)
    with admin_cluster(control_plane) as cluster:
        for namespace in ("c", "b-c"):
            cluster.apply(new_object("v1", "Namespace", namespace))
        for namespace, name in (("c", "a-b"), ("b-c", "a")):
            spec = {"predictor": {"model": {"modelFormat": {"name": "sklearn"}}}}
            cluster.apply(
                new_object(f"{KSERVE}/v1beta1", "InferenceService", name, namespace, spec=spec)
            )
        llm = {"model": {"uri": "hf://example/llama"}}
        cluster.apply(
            new_object(f"{KSERVE}/v1alpha1", "LLMInferenceService", "llama", "c", spec=llm)
        )
        rule = {"apiGroups": [KSERVE], "resources": ["inferenceservices"], "verbs": ["get"],
                "resourceNames": ["a-b"]}  # fmt: skip
        cluster.apply(new_object(RBAC, "Role", "one-model", "c", rules=[rule]))
        binding = new_object(
            RBAC, "RoleBinding", "one-model", "c",
            roleRef={"apiGroup": RBAC_GROUP, "kind": "Role", "name": "one-model"},
            subjects=[{"kind": "ServiceAccount", "namespace": "c", "name": "bot"}],
        )  # fmt: skip
        cluster.apply(binding)
        yield Env(plane=control_plane, cluster=cluster)


def find(host: str, path: str = "/", *, cluster: Cluster) -> dict[Access, bool | None]:
    models = ModelFacts(cluster, lambda fact, hint: None)
    needed = needed_accesses(RULES, host, path, models.names_in) or ()
    return {each: models.may(CALLER, each) for each in needed}


def test_what_exists_and_what_the_caller_may_use_is_found(env: Env) -> None:
    found = find("a-b-c.example.com", cluster=env.cluster)
    ours, other = Model(INFERENCE, "c", "a-b"), Model(INFERENCE, "b-c", "a")
    assert found == {Access("get", ours): True, Access("get", other): False}


def test_a_role_for_one_kind_is_none_for_another(env: Env) -> None:
    found = find("api.example.com", "/c/llama/v1", cluster=env.cluster)
    assert found == {Access("get", Model(LLM, "c", "llama")): False}
    none = find("api.example.com", "/c/none/v1", cluster=env.cluster)
    assert none == {Access("get", Model(LLM, "c", "none"), exists=False): False}


def test_what_the_user_may_not_ask_is_unknown(env: Env) -> None:
    env.cluster.apply(new_object("v1", "ServiceAccount", "reader", "c"))
    token = account_token(env.plane, "c", "reader")
    user = cluster_as(env.plane, token)
    with pytest.raises(UnknownModelsError):
        find("a-b-c.example.com", cluster=user)
    rule = {"apiGroups": [KSERVE], "resources": ["inferenceservices"], "verbs": ["list"]}
    env.cluster.apply(new_object(RBAC, "ClusterRole", "lists-models", rules=[rule]))
    env.cluster.apply(new_object(
        RBAC, "ClusterRoleBinding", "lists-models",
        roleRef={"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "lists-models"},
        subjects=[{"kind": "ServiceAccount", "namespace": "c", "name": "reader"}],
    ))  # fmt: skip
    found = find("a-b-c.example.com", cluster=user)
    assert list(found.values()) == [None, None]
    user.close()
