"""`daypass gate explain` about models: what exists, and what RBAC lets a caller do, on a real API
server with KServe's kinds.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from daypass.gate.explain import ModelFacts
from daypass.kube.cluster import Cluster
from daypass.rules.claims import CallerIdentity
from daypass.rules.models import Access, ModelRule, UnknownModelsError, needed_accesses
from daypass.rules.patterns import HostPattern, PathPattern
from daypass.rules.patterns import Model as Read
from support import identities
from support.clusters import account_token, cluster_as
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.kserve import LanguageModel, Model, inference_service, llm_inference_service

INFERENCE, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
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


def may(*verbs: str, names: tuple[str, ...] = ()) -> dict[str, list[str]]:
    rule = {"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"]}
    return {**rule, "verbs": list(verbs), "resourceNames": list(names)}


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane, cluster: Cluster) -> Cluster:
    """Two models that one host may mean, one of which the caller may get, and a third one."""
    install_kserve(plane)
    for namespace in ("c", "b-c"):
        identities.ensure_namespace(plane.admin, namespace)
    cluster.apply(inference_service(Model(name="a-b", namespace="c")))
    cluster.apply(inference_service(Model(name="a", namespace="b-c")))
    cluster.apply(llm_inference_service(LanguageModel(name="llama", namespace="c")))
    identities.allow(plane.admin, "c", "bot", may("get", names=("a-b",)))
    return cluster


def find(host: str, path: str = "/", *, cluster: Cluster) -> dict[Access, bool | None]:
    models = ModelFacts(cluster, lambda fact, hint: None)
    needed = needed_accesses(RULES, host, path, models.names_in) or ()
    return {each: models.may(CALLER, each) for each in needed}


def test_what_exists_and_what_the_caller_may_use_is_found(cluster: Cluster) -> None:
    found = find("a-b-c.example.com", cluster=cluster)
    ours, other = Read(INFERENCE, "c", "a-b"), Read(INFERENCE, "b-c", "a")
    assert found == {Access("get", ours): True, Access("get", other): False}


def test_a_role_for_one_kind_is_none_for_another(cluster: Cluster) -> None:
    found = find("api.example.com", "/c/llama/v1", cluster=cluster)
    assert found == {Access("get", Read(LLM, "c", "llama")): False}
    none = find("api.example.com", "/c/none/v1", cluster=cluster)
    assert none == {Access("get", Read(LLM, "c", "none"), exists=False): False}


def test_what_the_user_may_not_ask_is_unknown(plane: ControlPlane, cluster: Cluster) -> None:
    admin = plane.admin
    identities.ensure_service_account(admin, "c", "reader")
    role = {"metadata": {"name": "lists-models"}, "rules": [may("list")]}
    admin.create(f"{identities.RBAC}/clusterroles", role)
    reader = {"kind": "ServiceAccount", "namespace": "c", "name": "reader"}
    with closing(cluster_as(plane, account_token(plane, "c", "reader"))) as user:
        with pytest.raises(UnknownModelsError):
            find("a-b-c.example.com", cluster=user)
        with identities.bound_cluster_wide(admin, "lists-models", reader):
            asked = {"group": "serving.kserve.io", "resource": "inferenceservices", "verb": "list"}
            identities.wait_until_allowed(admin, "system:serviceaccount:c:reader", asked)
            found = find("a-b-c.example.com", cluster=user)
    assert list(found.values()) == [None, None]
