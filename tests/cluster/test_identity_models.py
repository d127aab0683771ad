"""Giving an identity the right to call models, and taking it away, on a real API server.

Each right is asked for by a SubjectAccessReview, as a gate asks.
"""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.identity.delete import delete
from daypass.kube.resources import AUTHORIZATION_POLICIES, ROLE_BINDINGS, ROLES
from support import identities
from support.admin_shell import AdminShell
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.kserve import (
    SERVING,
    LanguageModel,
    Model,
    inference_service,
    llm_inference_service,
)
from support.kubeflow import install_kubeflow, make_profile
from support.lifecycle import identity_objects, silent
from support.messages import check, line_with, message_with

IRIS = {"serving.kserve.io/inferenceservice": "iris"}
LLM = {"app.kubernetes.io/part-of": "llminferenceservice", "kserve.io/component": "workload"}
DIGEST = r"(?<=-)[0-9a-f]{12}\b"
"""What differs in a grant's name: its identity's namespace does."""


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    install_kubeflow(control_plane)
    install_kserve(control_plane)
    return control_plane


@pytest.fixture
def shell(shell: AdminShell) -> AdminShell:
    for document in identity_objects(shell.bot):
        shell.cluster.apply(document)
    return shell


@pytest.fixture
def alice(shell: AdminShell) -> str:
    return make_profile(shell.plane)


def add_model(shell: AdminShell, namespace: str, name: str = "iris", **more: bool) -> None:
    shell.cluster.apply(inference_service(Model(name=name, namespace=namespace, **more)))


def add_llm(shell: AdminShell, namespace: str, name: str = "iris") -> None:
    shell.cluster.apply(llm_inference_service(LanguageModel(name=name, namespace=namespace)))


def attributes(namespace: str, name: str = "iris", **others: str) -> dict[str, str]:
    """What a gate asks for."""
    asked = {"group": SERVING, "resource": "inferenceservices", "verb": "get"}
    return {**asked, "namespace": namespace, "name": name, **others}


def is_allowed(shell: AdminShell, asked: dict[str, str]) -> bool:
    collection = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    review = {"spec": {"user": shell.bot.user, "resourceAttributes": asked}}
    return bool(shell.plane.admin.create(collection, review)["status"]["allowed"])


def wait_until_allowed(shell: AdminShell, asked: dict[str, str]) -> None:
    identities.wait_until_allowed(shell.plane.admin, shell.bot.user, asked)


def made(shell: AdminShell, namespace: str) -> list[Object]:
    """The objects of grants, as they would be created: the Role first."""
    return [
        {**each, "kind": resource.kind}
        for resource in (ROLES, ROLE_BINDINGS, AUTHORIZATION_POLICIES)
        for each in shell.cluster.list(resource, namespace, labels=labels.SELECTOR)
    ]


def kinds(documents: list[Object]) -> list[str]:
    return [document["kind"] for document in documents]


def selectors(documents: list[Object]) -> list[Any]:
    policies = (each for each in documents if each["kind"] == "AuthorizationPolicy")
    return [each["spec"]["selector"]["matchLabels"] for each in policies]


def listed(shell: AdminShell) -> dict[str, Any]:
    out, _ = shell.run("identity", "list", "-n", shell.namespace, "-o", "json")
    (found,) = json.loads(out)["identities"]
    return dict(found)


def codes(shell: AdminShell) -> list[str]:
    """The problems, but for what these tests leave out."""
    ignored = {"no-policy", "not-watched"}
    return [each["check"] for each in listed(shell)["findings"] if each["check"] not in ignored]


def test_exactly_this_model_may_be_called(shell: AdminShell, alice: str) -> None:
    bob = make_profile(shell.plane)
    for namespace, name in product((alice, bob, shell.namespace), ("iris", "iris-2", "other")):
        identities.ensure_namespace(shell.plane.admin, namespace)
        add_model(shell, namespace, name)
    _, err = shell.identity("authorize", "--model", f"{alice}/iris", "--principal", "p")
    line = line_with(err, "granted")
    check(line, alice, "model/iris", "Role, RoleBinding and", reason="granted", hide=DIGEST)
    assert len(err.splitlines()) == 1
    wait_until_allowed(shell, attributes(alice))
    refused = [
        *(attributes(alice, name) for name in ("iris-2", "other", "IRIS", "iri", "", "*")),
        *(attributes(place) for place in (bob, shell.namespace, "")),
        *(attributes(alice, verb=verb) for verb in ("list", "watch", "create", "update", "patch",
                                                    "delete", "deletecollection", "*")),
        attributes(alice, resource="llminferenceservices"),
        attributes(alice, subresource="status"),
        attributes(alice, group=""),
        attributes(alice, resource="pods", group=""),
        attributes(alice, resource="secrets", group=""),
    ]  # fmt: skip
    assert [each for each in refused if is_allowed(shell, each)] == []
    documents = made(shell, alice)
    assert kinds(documents) == ["Role", "RoleBinding", "AuthorizationPolicy"]
    assert selectors(documents) == [IRIS]
    (rule,) = documents[-1]["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["p"]}}]
    assert rule["when"][0]["values"] == [shell.bot.user]
    assert made(shell, bob) == []


def test_a_language_model_is_found_and_selected_by_its_workload(
    shell: AdminShell, alice: str
) -> None:
    add_llm(shell, alice, "llama")
    shell.identity("authorize", "--model", f"{alice}/llama")
    wait_until_allowed(shell, attributes(alice, "llama", resource="llminferenceservices"))
    assert not is_allowed(shell, attributes(alice, "llama"))
    assert selectors(made(shell, alice)) == [{**LLM, "app.kubernetes.io/name": "llama"}]


def test_both_models_of_one_name_are_granted_and_reported(shell: AdminShell, alice: str) -> None:
    add_model(shell, alice, standard=True)
    shell.identity("authorize", "--model", f"{alice}/iris")
    add_llm(shell, alice)
    _, err = shell.identity("authorize", "--model", f"{alice}/iris")
    check(line_with(err, "warning"), "InferenceService", "LLMInferenceService", reason="two-models")
    wait_until_allowed(shell, attributes(alice, resource="llminferenceservices"))
    assert is_allowed(shell, attributes(alice))
    documents = made(shell, alice)
    assert kinds(documents) == ["Role", "RoleBinding", *["AuthorizationPolicy"] * 2]
    assert selectors(documents) == [IRIS, {**LLM, "app.kubernetes.io/name": "iris"}]
    assert codes(shell) == []


def test_a_model_that_does_not_exist_is_refused(shell: AdminShell, alice: str) -> None:
    add_model(shell, alice)
    name, model = "other", f"{alice}/other"
    _, err = shell.identity("authorize", "--model", f"{alice}/iris", "--model", model, code=1)
    check(message_with(err, name), model, "--ignore-not-found", reason="model-not-found")
    assert made(shell, alice) == []
    _, err = shell.identity("authorize", "--model", model, "--ignore-not-found")
    check(line_with(err, "warning"), model, reason="later-model")
    for resource in ("inferenceservices", "llminferenceservices"):
        wait_until_allowed(shell, attributes(alice, name, resource=resource))
    assert len(made(shell, alice)) == 4


def test_inference_only_is_the_right_to_call_all_models_of_a_namespace_and_nothing_else(
    shell: AdminShell, alice: str
) -> None:
    bob = make_profile(shell.plane)
    _, err = shell.identity("authorize", "--in", alice, "--inference-only")
    check(line_with(err, "granted"), "model/*", reason="granted", hide=DIGEST)
    for resource, name in product(("inferenceservices", "llminferenceservices"), ("a", "b")):
        wait_until_allowed(shell, attributes(alice, name, resource=resource))
    refused = [
        attributes(bob),
        *(attributes(alice, verb=verb) for verb in ("list", "watch", "create", "delete")),
        attributes(alice, resource="servingruntimes"),
        attributes(alice, resource="pods", group=""),
        attributes(alice, resource="notebooks", group="kubeflow.org"),
    ]
    assert [each for each in refused if is_allowed(shell, each)] == []
    components = [{"component": each} for each in ("predictor", "transformer", "explainer")]
    by_labels = sorted(selectors(made(shell, alice)), key=str)
    assert by_labels == sorted([*components, LLM], key=str)
    shell.identity("unauthorize", "--in", f"{alice},{bob}", "--role", "view")
    assert len(made(shell, alice)) == 6
    shell.identity("unauthorize", "--everywhere", "--inference-only")
    assert made(shell, alice) == []


def test_the_first_policy_for_the_pods_of_a_model_is_warned_about(shell: AdminShell) -> None:
    bare = shell.plane.make_namespace()
    for name in ("iris", "mnist"):
        add_model(shell, bare, name, standard=True)
    _, err = shell.identity("authorize", "--model", f"{bare}/iris")
    warning = line_with(err, "warning")
    check(warning, "serving.kserve.io/inferenceservice=iris", reason="first-policy")
    _, err = shell.identity("authorize", "--model", f"{bare}/iris", "--model", f"{bare}/mnist")
    check(line_with(err, "warning"), "inferenceservice=mnist", reason="first-policy")
    _, err = shell.identity("authorize", "--in", bare, "--cluster-role", "view")
    check(line_with(err, f"warning: {bare} has no"), reason="first-policy")
    _, err = shell.identity("unauthorize", "--in", bare, "--cluster-role", "view")
    check(line_with(err, "warning"), f"{bare} has no", reason="last-policy")
    _, err = shell.identity("unauthorize", "--model", f"{bare}/iris", "--dry-run")
    check(line_with(err, "warning"), "inferenceservice=iris", reason="last-policy")


GATES = """
version: 1
domains: {{ekf: {{host: ekf.example.com, front: istio, tls: outside, gateway: a/b}}}}
gates:
  serving:
    audience: serving
    hosts: [serving.example.com]
    gatewayNamespace: {namespace}
    gatewayLabels: {{istio: serving-gateway, app: serving}}
    headers: {{user: x-user}}
  ekf: {{engine: envoy-gateway, audience: ekf, hosts: [ekf.example.com], gateway: a/b}}
"""


def test_the_principal_is_that_of_the_pods_of_the_gateway_of_the_named_gate(
    shell: AdminShell, alice: str
) -> None:
    add_model(shell, alice, standard=True)
    gateways = shell.plane.make_namespace()
    (shell.folder / "daypass.yaml").write_text(GATES.format(namespace=gateways))
    words = ("authorize", "--model", f"{alice}/iris", "--gate", "serving")
    _, err = shell.identity(*words, code=2)
    check(err, gateways, "app=serving,istio=serving-gateway", "--principal", reason="usage")
    pods = {"a": "one", "b": "one", "c": "two"}
    for name, account in pods.items():
        identities.ensure_service_account(shell.plane.admin, gateways, account)
        pod = pod_of(gateways, name, account, istio="serving-gateway", app="serving")
        shell.cluster.apply(pod)
    identities.ensure_service_account(shell.plane.admin, gateways, "other")
    shell.cluster.apply(pod_of(gateways, "d", "other", istio="serving-gateway"))
    _, err = shell.identity(*words)
    check(line_with(err, "warning"), "serving", reason="no-authorize")
    (policy,) = shell.cluster.list(AUTHORIZATION_POLICIES, alice, labels=labels.SELECTOR)
    (rule,) = policy["spec"]["rules"]
    accounts = [f"cluster.local/ns/{gateways}/sa/{each}" for each in ("one", "two")]
    assert rule["from"] == [{"source": {"principals": accounts}}]
    assert rule["when"][0]["key"] == "request.headers[x-user]"
    _, err = shell.identity(*words[:-1], "ekf", code=2)
    check(err, "ekf", "--principal", reason="usage")


def pod_of(namespace: str, name: str, account: str, **pod_labels: str) -> Object:
    container = {"name": "istio-proxy", "image": "registry.example.com/proxy:1"}
    spec = {"serviceAccountName": account, "containers": [container]}
    metadata = {"name": name, "namespace": namespace, "labels": pod_labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("created", range(1, 4))
def test_an_interrupted_grant_is_shown_and_completed(
    shell: AdminShell, alice: str, created: int
) -> None:
    add_model(shell, alice, standard=True)
    add_llm(shell, alice)
    words = ("authorize", "--model", f"{alice}/iris")
    printed, _ = shell.identity(*words, "--dry-run=server", "-o", "json")
    documents = json.loads(printed)["items"]
    assert len(documents) == 4
    for document in documents[:created]:
        shell.cluster.apply(document)
    assert codes(shell) == ["half-grant"]
    finding = line_with(shell.identity("show")[0], "half-grant")
    check(finding, reason="half-grant", hide=DIGEST)
    shell.identity(*words)
    assert codes(shell) == []
    assert len(made(shell, alice)) == 4


def test_list_and_show_say_who_may_call_which_model(shell: AdminShell, alice: str) -> None:
    admin, bob = shell.plane.admin, make_profile(shell.plane)
    add_model(shell, alice, standard=True)
    shell.identity("authorize", "--model", f"{alice}/iris")
    by_hand = {"apiGroups": [SERVING], "resources": ["*"], "verbs": ["*"], "resourceNames": ["x"]}
    identities.allow(admin, bob, "bot", by_hand, home=shell.namespace)
    shell.identity("authorize", "--in", bob, "--inference-only")
    models = [
        (each["namespace"], each["daypass"], model["resource"], model["name"])
        for each in listed(shell)["grants"]
        for model in each["models"]
    ]
    assert sorted(models, key=str) == sorted(
        [
            (alice, True, "inferenceservices", "iris"),
            (bob, True, "inferenceservices", None),
            (bob, True, "llminferenceservices", None),
            (bob, False, "inferenceservices", "x"),
            (bob, False, "llminferenceservices", "x"),
        ],
        key=str,
    )
    shown, _ = shell.identity("show")
    assert line_with(shown, f"  {alice}/iris ").split()[1:] == ["InferenceService"]
    both = ["InferenceService,", "LLMInferenceService"]
    assert line_with(shown, f"  {bob}/* ").split()[1:] == both


def test_a_deleted_identity_loses_its_models(shell: AdminShell, alice: str) -> None:
    add_model(shell, alice, standard=True)
    shell.identity("authorize", "--model", f"{alice}/iris")
    shell.identity("authorize", "--in", alice, "--inference-only")
    wait_until_allowed(shell, attributes(alice))
    deleted = delete(shell.cluster, shell.bot, warn=silent)
    assert len([each for each in deleted.deleted if each.endswith(f" in {alice}")]) == 9
    assert made(shell, alice) == []


@pytest.mark.parametrize("text", ["iris", "a/../b"])
def test_what_names_no_model_is_refused(shell: AdminShell, text: str) -> None:
    _, err = shell.identity("authorize", "--model", text, code=2)
    check(err, repr(text), "alice/iris", reason="usage")
