"""Giving an identity a role in namespaces, and taking it away, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from daypass._core.errors import DaypassError
from daypass.cli import main
from daypass.identity.grants import (
    GrantRequest,
    NoIstioError,
    RiskyRoleError,
    apply,
    plan,
    unauthorize,
)
from daypass.identity.model import IdentityName, identity_objects, new_secret_name
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    SECRETS,
    Object,
    Resource,
    name_of,
)
from support import identities
from support.clusters import admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.kubeflow import install_kubeflow, make_profile
from support.messages import check, line_with, message_with, raises

VIEW = "user-system-serviceaccount-{}-bot-clusterrole-view"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """A control plane that knows Kubeflow's roles and Istio's kinds."""
    install_kubeflow(control_plane)
    return control_plane


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """All rights."""
    cluster = admin_cluster(plane)
    yield cluster
    cluster.close()


@pytest.fixture
def bot(plane: ControlPlane, cluster: Cluster) -> IdentityName:
    """An identity in a namespace of its own."""
    namespace = plane.make_namespace()
    for document in identity_objects(namespace, "bot", new_secret_name("bot")):
        cluster.apply(document)
    return IdentityName(namespace=namespace, name="bot")


def wish(bot: IdentityName, *namespaces: str, role: str = "kubeflow-view") -> GrantRequest:
    return GrantRequest(identity=bot, namespaces=namespaces, cluster_role=role)


def silent(fact: str, hint: str) -> None:
    """For what is warned about."""


def made(cluster: Cluster, namespace: str) -> list[tuple[str, str]]:
    """Kinds and names of what daypass has made in a namespace."""
    return [
        (resource.kind, name_of(each))
        for resource in (ROLE_BINDINGS, AUTHORIZATION_POLICIES)
        for each in cluster.list(resource, namespace, labels="app.kubernetes.io/managed-by=daypass")
    ]


def run(plane: ControlPlane, *words: str) -> int:
    return main(["identity", *words, "--kubeconfig", str(plane.kubeconfig)])


def test_the_identity_may_do_in_each_profile_what_the_role_allows_and_nothing_elsewhere(
    plane: ControlPlane, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = plane.make_identity()
    bot = IdentityName(namespace=identity.namespace, name="bot")
    for document in identity_objects(bot.namespace, "bot", identity.secret_name)[:-1]:
        cluster.apply(document, force=True)
    alice, bob, carol = (make_profile(plane) for _ in range(3))
    code = run(
        plane, "authorize", "bot", "-n", bot.namespace, "--in", f"{alice},{bob}", "--role", "view"
    )
    output = capsys.readouterr()
    assert (code, output.out) == (0, "")
    for namespace in (alice, bob):
        assert "view" in line_with(output.err, namespace)
    assert len(output.err.splitlines()) == 2
    check(line_with(output.err, alice), reason="granted")
    assert "warning" not in output.err
    attributes = {"namespace": bob, "verb": "list", "resource": "pods"}
    identities.wait_until_allowed(plane.admin, identity.user, attributes)
    itself = cluster_as(plane, identity.token)
    pods = Resource(api_version="v1", kind="Pod", plural="pods")
    assert itself.list(pods, alice) == itself.list(pods, bob) == []
    for namespace in (carol, bot.namespace):
        with pytest.raises(ForbiddenError):
            itself.list(pods, namespace)
    itself.close()
    name = VIEW.format(bot.namespace)
    for namespace in (alice, bob):
        assert made(cluster, namespace) == [("RoleBinding", name), ("AuthorizationPolicy", name)]
    assert made(cluster, carol) == []


def test_authorize_completes_a_partial_grant_and_restores_a_widened_policy(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    alice = make_profile(plane)
    documents = plan(cluster, wish(bot, alice), warn=silent)
    cluster.apply(documents[0])  # and there it broke off
    once, again = (apply(cluster, plan(cluster, wish(bot, alice), warn=silent)) for _ in range(2))
    assert [each["kind"] for each in once] == ["RoleBinding", "AuthorizationPolicy"]
    assert once == again
    name = name_of(documents[1])
    cluster.patch(AUTHORIZATION_POLICIES, name, {"spec": {"rules": [{}]}}, alice)
    apply(cluster, plan(cluster, wish(bot, alice), warn=silent))
    assert cluster.get(AUTHORIZATION_POLICIES, name, alice)["spec"] == documents[1]["spec"]


def test_where_one_namespace_is_not_there_nothing_is_made_in_any(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = make_profile(plane)
    places = f"{alice},nowhere"
    code = run(plane, "authorize", "bot", "-n", bot.namespace, "--in", places, "--role", "view")
    assert code == 1
    error = capsys.readouterr().err
    assert 'namespaces "nowhere" not found' in error
    assert "kubectl create namespace nowhere" in error
    check(error, reason="not-found")
    assert made(cluster, alice) == []


def test_where_the_api_server_refuses_one_object_none_is_made(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    alice, bob = make_profile(plane), make_profile(plane)
    documents = plan(cluster, wish(bot, alice, bob), warn=silent)
    documents[-1]["spec"]["action"] = "NONSENSE"
    with pytest.raises(ApiError, match="NONSENSE"):
        apply(cluster, documents)
    assert made(cluster, alice) == made(cluster, bob) == []


def test_a_risky_role_asks_for_confirmation(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = make_profile(plane)
    words = ("authorize", "bot", "-n", bot.namespace, "--in", alice, "--role", "edit")
    assert run(plane, *words) == 1
    refused = capsys.readouterr().err
    for value in ("kubeflow-edit", "Secrets", "impersonate", "Pods", "--yes"):
        assert value in refused
    check(refused, reason="risky-role")
    assert made(cluster, alice) == []
    assert run(plane, *words, "--yes") == 0
    warning = message_with(capsys.readouterr().err, "impersonate")
    assert warning.startswith("warning: ")
    assert "Secrets" in warning
    assert len(made(cluster, alice)) == 2


@pytest.mark.parametrize("role", ["edit", "admin", "cluster-admin", "kubeflow-edit"])
def test_built_in_roles_that_mint_tokens_ask_for_confirmation(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName, role: str
) -> None:
    alice = make_profile(plane)
    with raises(RiskyRoleError, match=f"ClusterRole {role} .*\n(.*\n)*.*Secrets"):
        plan(cluster, wish(bot, alice, role=role), warn=silent)


def test_the_built_in_view_role_needs_no_confirmation(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    binding, policy = plan(cluster, wish(bot, make_profile(plane), role="view"), warn=silent)
    assert binding["roleRef"]["name"] == "view"
    assert name_of(binding) == name_of(policy) != VIEW.format(bot.namespace)


def test_to_patch_secrets_or_to_delete_many_is_to_read_them(plane: ControlPlane) -> None:
    patcher = plane.make_identity()
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["patch", "deletecollection"]}
    identities.allow(plane.admin, patcher.namespace, "bot", rule)
    attributes = {"namespace": patcher.namespace, "verb": "patch", "resource": "secrets"}
    identities.wait_until_allowed(plane.admin, patcher.user, attributes)
    holder = cluster_as(plane, patcher.token)
    patched = holder.patch(SECRETS, patcher.secret_name, {}, patcher.namespace)
    dry_run, path = {"dryRun": "All"}, SECRETS.path(patcher.namespace)
    deleted = holder.request("DELETE", path, params=dry_run, what="delete all")["items"]
    holder.close()
    assert patched["data"]["token"]
    assert patched["data"] in [each.get("data") for each in deleted]


def test_two_identities_with_the_same_kubeflow_name_keep_separate_grants(
    plane: ControlPlane, cluster: Cluster
) -> None:
    alice = make_profile(plane)
    base = plane.make_namespace()
    other = f"{base}-x"
    identities.ensure_namespace(plane.admin, other)
    names = [IdentityName(namespace=base, name="x-y"), IdentityName(namespace=other, name="y")]
    for each in names:
        for document in identity_objects(each.namespace, each.name, new_secret_name(each.name)):
            cluster.apply(document)
        for _ in range(2):
            apply(cluster, plan(cluster, wish(each, alice), warn=silent))
    assert len(made(cluster, alice)) == 4
    bound = [
        (each["subjects"][0]["namespace"], each["subjects"][0]["name"])
        for each in cluster.list(ROLE_BINDINGS, alice)
    ]
    assert sorted(bound) == [(base, "x-y"), (other, "y")]
    unauthorize(cluster, names[0], [alice])
    assert len(made(cluster, alice)) == 2


def test_an_object_that_kubeflow_made_under_the_same_name_is_kept(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    alice = make_profile(plane)
    name = VIEW.format(bot.namespace)
    user = f"system:serviceaccount:{bot.namespace}:bot"
    theirs: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": alice},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubeflow-view",
        },
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }  # fmt: skip
    before = plane.admin.create(ROLE_BINDINGS.path(alice), theirs)
    apply(cluster, plan(cluster, wish(bot, alice), warn=silent))
    assert len(unauthorize(cluster, bot, None)) == 2
    assert cluster.get(ROLE_BINDINGS, name, alice)["metadata"] == before["metadata"]


def test_unauthorize_removes_only_the_named_grants(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob, carol = (make_profile(plane) for _ in range(3))
    apply(cluster, plan(cluster, wish(bot, alice, bob, carol), warn=silent))
    edit = replace(wish(bot, alice, role="kubeflow-edit"), accept_risks=True)
    apply(cluster, plan(cluster, edit, warn=silent))
    own = len(made(cluster, bot.namespace))
    who = ("unauthorize", "bot", "-n", bot.namespace)

    assert run(plane, *who, "--in", bob, "--dry-run") == 0
    assert len(made(cluster, bob)) == 2
    assert run(plane, *who, "--in", bob) == 0
    assert (made(cluster, bob), len(made(cluster, alice))) == ([], 4)
    assert run(plane, *who, "--in", alice, "--role", "edit") == 0
    assert [name for _, name in made(cluster, alice)] == [VIEW.format(bot.namespace)] * 2
    capsys.readouterr()
    assert run(plane, *who, "--in", bob) == 0
    message = capsys.readouterr().err
    assert bob in message
    check(message, reason="no-grant")
    assert run(plane, *who, "--everywhere") == 0
    assert made(cluster, alice) == made(cluster, carol) == []
    assert len(made(cluster, bot.namespace)) == own > 0
    assert cluster.find(AUTHORIZATION_POLICIES, "ns-owner-access-istio", alice) is not None


def test_unauthorize_removes_partial_grants_of_a_deleted_identity(
    plane: ControlPlane, cluster: Cluster
) -> None:
    alice, bob = make_profile(plane), make_profile(plane)
    gone = IdentityName(namespace=plane.make_namespace(), name="bot")
    for document in identity_objects(gone.namespace, "bot", new_secret_name("bot"))[:1]:
        cluster.apply(document)
    documents = plan(cluster, wish(gone, alice, bob), warn=silent)
    plane.admin.delete(f"/api/v1/namespaces/{gone.namespace}/serviceaccounts/bot")
    for half in (documents[0], documents[3]):
        cluster.apply(half)
    removed = unauthorize(cluster, gone, None, cluster_role="kubeflow-view")
    assert len(removed) == 2
    assert made(cluster, alice) == made(cluster, bob) == []


@pytest.mark.parametrize("output", ["yaml", "json"])
@pytest.mark.parametrize("dry_run", [(), ("--dry-run", "client"), ("--dry-run", "server")])
def test_authorize_prints_manifests_that_others_can_apply(
    plane: ControlPlane,
    cluster: Cluster,
    bot: IdentityName,
    capsys: pytest.CaptureFixture[str],
    output: str,
    dry_run: tuple[str, ...],
) -> None:
    alice = make_profile(plane)
    words = ("authorize", "bot", "-n", bot.namespace, "--in", alice, "--role", "view")
    assert run(plane, *words, "--output", output, *dry_run) == 0
    printed = capsys.readouterr().out
    documents = (
        json.loads(printed)["items"] if output == "json" else list(yaml.safe_load_all(printed))
    )
    assert made(cluster, alice) == []
    assert [each["kind"] for each in documents] == ["RoleBinding", "AuthorizationPolicy"]
    assert all("managedFields" not in each["metadata"] for each in documents)
    for document in documents:
        cluster.apply(document)


def test_the_first_policy_of_a_namespace_is_warned_about(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    warned: list[str] = []
    bare = plane.make_namespace()
    documents = plan(cluster, wish(bot, bare), warn=lambda fact, _: warned.append(fact))
    (message,) = warned
    assert message.startswith(f"{bare} ")
    assert "AuthorizationPolicy" in message
    check(message, reason="first-policy")
    apply(cluster, documents)
    plan(cluster, wish(bot, bare), warn=lambda fact, _: warned.append(fact))
    assert len(warned) == 1


def test_a_role_that_remains_next_to_a_lesser_one_is_reported(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    alice = make_profile(plane)
    edit = replace(wish(bot, alice, role="kubeflow-edit"), accept_risks=True)
    apply(cluster, plan(cluster, edit, warn=silent))
    warned: list[str] = []
    plan(cluster, wish(bot, alice), warn=lambda *words: warned.extend(words))
    for value in (str(bot), "edit", alice):
        assert value in warned[0]
    check(warned[0], reason="keeps-role")
    assert warned[1].endswith(f"unauthorize bot -n {bot.namespace} --in {alice} --role edit")


def test_another_gateway_and_another_header_may_be_named(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    alice = make_profile(plane)
    gateway = "cluster.local/ns/gateways/sa/gateway"
    words = ("authorize", "bot", "-n", bot.namespace, "--in", alice, "--role", "view")
    assert run(plane, *words, "--principal", gateway, "--user-header", "x-user") == 0
    policy = cluster.get(AUTHORIZATION_POLICIES, VIEW.format(bot.namespace), alice)
    (rule,) = policy["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": [gateway]}}]
    assert rule["when"][0]["key"] == "request.headers[x-user]"


@pytest.mark.parametrize(
    ("change", "error", "value"),
    [
        ({"cluster_role": "kubeflow-none"}, NotFoundError, "kubectl get clusterroles"),
        ({"cluster_role": "x/../y"}, DaypassError, "x/"),
        ({"istio": False}, NoIstioError, "AuthorizationPolicy"),
    ],
    ids=["unknown", "no name", "without Istio in a cluster with Istio"],
)
def test_an_impossible_grant_is_refused(
    plane: ControlPlane,
    cluster: Cluster,
    bot: IdentityName,
    change: dict[str, Any],
    error: type[Exception],
    value: str,
) -> None:
    alice = make_profile(plane)
    with raises(error, match=value):
        plan(cluster, replace(wish(bot, alice), **change), warn=silent)
    assert made(cluster, alice) == []


def test_a_role_that_the_user_cannot_read_counts_as_risky(
    plane: ControlPlane, cluster: Cluster, bot: IdentityName
) -> None:
    alice = make_profile(plane)
    owner = plane.make_identity(alice, "owner")
    identities.bind(plane.admin, alice, "owner", kind="ClusterRole", role="admin")
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}
    identities.allow(plane.admin, bot.namespace, "owner", rule, home=alice)
    group = "rbac.authorization.k8s.io"
    for attributes in (
        {"namespace": alice, "verb": "get", "resource": "rolebindings", "group": group},
        {"namespace": bot.namespace, "verb": "get", "resource": "serviceaccounts"},
    ):
        identities.wait_until_allowed(plane.admin, owner.user, attributes)
    asked = cluster_as(plane, owner.token)
    with raises(RiskyRoleError, match="kubeflow-view"):
        plan(asked, wish(bot, alice), warn=silent)
    asked.close()
