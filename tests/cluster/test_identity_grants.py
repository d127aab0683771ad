"""Giving an identity a role in namespaces, and taking it away, on a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass._core.errors import DaypassError
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass.identity.accounts import IdentityName, Warn
from daypass.identity.authorize import (
    RiskyRoleError,
    apply,
    plan,
    unauthorize,
)
from daypass.identity.grants import role_grant
from daypass.kube.errors import ApiError, ForbiddenError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from support import identities
from support.admin_shell import AdminShell
from support.clusters import account_token, cluster_as
from support.controlplane import ControlPlane
from support.kubeflow import install_kubeflow, make_profile
from support.lifecycle import Warnings, identity_objects, silent
from support.messages import check, line_with, message_with, raises

VIEW = "user-system-serviceaccount-{}-bot-clusterrole-view"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    install_kubeflow(control_plane)
    return control_plane


@pytest.fixture
def shell(shell: AdminShell) -> AdminShell:
    for document in identity_objects(shell.bot):
        shell.cluster.apply(document)
    return shell


@pytest.fixture
def alice(plane: ControlPlane) -> str:
    return make_profile(plane)


@pytest.fixture
def bob(plane: ControlPlane) -> str:
    return make_profile(plane)


def planned(
    shell: AdminShell,
    *namespaces: str,
    warn: Warn = silent,
    identity: IdentityName | None = None,
    cluster_role: str = "kubeflow-view",
    **changes: Any,
) -> list[Object]:
    """The objects of a grant of Kubeflow's view; `changes`: to the request."""
    name = identity or shell.bot
    grants = [
        role_grant(identity=name, namespace=namespace, cluster_role=cluster_role)
        for namespace in namespaces
    ]
    return plan(shell.cluster, grants, warn=warn, **changes)


def grant(shell: AdminShell, *namespaces: str, **changes: Any) -> list[Object]:
    return apply(shell.cluster, planned(shell, *namespaces, **changes))


def made(shell: AdminShell, namespace: str) -> list[tuple[str, str]]:
    return [
        (resource.kind, name_of(each))
        for resource in (ROLE_BINDINGS, AUTHORIZATION_POLICIES)
        for each in shell.cluster.list(resource, namespace, labels=labels.SELECTOR)
    ]


def test_the_identity_may_do_in_each_profile_what_the_role_allows_and_nothing_elsewhere(
    shell: AdminShell, alice: str, bob: str
) -> None:
    carol = make_profile(shell.plane)
    out, err = shell.identity("authorize", "--in", f"{alice},{bob}", "--role", "view")
    assert out == ""
    for namespace in (alice, bob):
        assert "view" in line_with(err, namespace)
    assert len(err.splitlines()) == 2
    check(line_with(err, alice), reason="granted")
    assert "warning" not in err
    attributes = {"namespace": bob, "verb": "list", "resource": "pods"}
    identities.wait_until_allowed(shell.plane.admin, shell.bot.user, attributes)
    itself = cluster_as(shell.plane, account_token(shell.plane, shell.namespace, "bot"))
    pods = Resource(api_version="v1", kind="Pod", plural="pods")
    assert itself.list(pods, alice) == itself.list(pods, bob) == []
    for namespace in (carol, shell.namespace):
        with pytest.raises(ForbiddenError):
            itself.list(pods, namespace)
    itself.close()
    name = VIEW.format(shell.namespace)
    for namespace in (alice, bob):
        assert made(shell, namespace) == [("RoleBinding", name), ("AuthorizationPolicy", name)]
    assert made(shell, carol) == []


def test_authorize_completes_a_partial_grant_and_restores_a_widened_policy(
    shell: AdminShell, alice: str
) -> None:
    documents = planned(shell, alice)
    shell.cluster.apply(documents[0])  # and there it broke off
    once, again = (grant(shell, alice) for _ in range(2))
    assert [each["kind"] for each in once] == ["RoleBinding", "AuthorizationPolicy"]
    assert once == again
    name = name_of(documents[1])
    shell.cluster.patch(AUTHORIZATION_POLICIES, name, {"spec": {"rules": [{}]}}, alice)
    grant(shell, alice)
    found = shell.cluster.get(AUTHORIZATION_POLICIES, name, alice)
    assert found["spec"] == documents[1]["spec"]


def test_where_one_namespace_is_not_there_nothing_is_made_in_any(
    shell: AdminShell, alice: str
) -> None:
    _, error = shell.identity("authorize", "--in", f"{alice},nowhere", "--role", "view", code=1)
    assert 'namespaces "nowhere" not found' in error
    check(error, "kubectl create namespace nowhere", reason="not-found")
    assert made(shell, alice) == []


def test_where_the_api_server_refuses_one_object_none_is_made(
    shell: AdminShell, alice: str, bob: str
) -> None:
    documents = planned(shell, alice, bob)
    documents[-1]["spec"]["action"] = "NONSENSE"
    with pytest.raises(ApiError, match="NONSENSE"):
        apply(shell.cluster, documents)
    assert made(shell, alice) == made(shell, bob) == []


def test_a_risky_role_asks_for_confirmation(shell: AdminShell, alice: str) -> None:
    words = ("authorize", "--in", alice, "--role", "edit")
    _, refused = shell.identity(*words, code=1)
    risks = ("Secrets", "impersonate", "Pods")
    check(refused, "kubeflow-edit", *risks, "--yes", reason="risky-role")
    assert made(shell, alice) == []
    warning = message_with(shell.identity(*words, "--yes")[1], "impersonate")
    assert warning.startswith("warning: ")
    assert "Secrets" in warning
    assert len(made(shell, alice)) == 2


@pytest.mark.parametrize("role", ["edit", "cluster-admin"])
def test_built_in_roles_that_mint_tokens_ask_for_confirmation(
    shell: AdminShell, alice: str, role: str
) -> None:
    with raises(RiskyRoleError, match=f"ClusterRole {role} .*\n(.*\n)*.*Secrets"):
        planned(shell, alice, cluster_role=role)


def test_to_patch_secrets_or_to_delete_many_is_to_read_them(plane: ControlPlane) -> None:
    patcher = plane.make_identity()
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["patch", "deletecollection"]}
    identities.allow(plane.admin, patcher.namespace, "bot", rule)
    holder = cluster_as(plane, patcher.token)
    patched = holder.patch(SECRETS, patcher.secret_name, {}, patcher.namespace)
    dry_run, path = {"dryRun": "All"}, SECRETS.path(patcher.namespace)
    deleted = holder.request("DELETE", path, params=dry_run, what="delete all")["items"]
    holder.close()
    assert patched["data"]["token"]
    assert patched["data"] in [each.get("data") for each in deleted]


def test_two_identities_with_the_same_kubeflow_name_keep_separate_grants(
    shell: AdminShell, alice: str
) -> None:
    base, other = shell.namespace, f"{shell.namespace}-x"
    identities.ensure_namespace(shell.plane.admin, other)
    names = [IdentityName(namespace=base, name="x-y"), IdentityName(namespace=other, name="y")]
    for each in names:
        for document in identity_objects(each):
            shell.cluster.apply(document)
        for _ in range(2):
            grant(shell, alice, identity=each)
    assert len(made(shell, alice)) == 4
    bound = [
        (each["subjects"][0]["namespace"], each["subjects"][0]["name"])
        for each in shell.cluster.list(ROLE_BINDINGS, alice)
    ]
    assert sorted(bound) == [(base, "x-y"), (other, "y")]
    unauthorize(shell.cluster, names[0], [alice], warn=silent)
    assert len(made(shell, alice)) == 2


def test_an_object_that_kubeflow_made_under_the_same_name_is_kept(
    shell: AdminShell, alice: str
) -> None:
    name, group = VIEW.format(shell.namespace), "rbac.authorization.k8s.io"
    theirs: Object = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": alice},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "kubeflow-view"},
        "subjects": [{"kind": "User", "name": shell.bot.user, "apiGroup": group}],
    }
    before = shell.plane.admin.create(ROLE_BINDINGS.path(alice), theirs)
    grant(shell, alice)
    assert len(unauthorize(shell.cluster, shell.bot, None, warn=silent)) == 2
    assert shell.cluster.get(ROLE_BINDINGS, name, alice)["metadata"] == before["metadata"]


def test_unauthorize_removes_only_the_named_grants(shell: AdminShell, alice: str, bob: str) -> None:
    carol = make_profile(shell.plane)
    grant(shell, alice, bob, carol)
    grant(shell, alice, cluster_role="kubeflow-edit", accept_risks=True)
    own = len(made(shell, shell.namespace))

    planned, _ = shell.identity("unauthorize", "--in", bob, "--dry-run", "-o", "json")
    assert len(made(shell, bob)) == 2
    done, _ = shell.identity("unauthorize", "--in", bob, "-o", "json")
    assert json.loads(done) == json.loads(planned)
    assert len(json.loads(done)["removed"]) == 2
    assert (made(shell, bob), len(made(shell, alice))) == ([], 4)
    shell.identity("unauthorize", "--in", alice, "--role", "edit")
    assert [name for _, name in made(shell, alice)] == [VIEW.format(shell.namespace)] * 2
    _, message = shell.identity("unauthorize", "--in", bob)
    check(message, bob, reason="no-grant")
    shell.identity("unauthorize", "--everywhere")
    assert made(shell, alice) == made(shell, carol) == []
    assert len(made(shell, shell.namespace)) == own > 0
    assert shell.cluster.find(AUTHORIZATION_POLICIES, "ns-owner-access-istio", alice) is not None


def test_unauthorize_removes_partial_grants_of_a_deleted_identity(
    shell: AdminShell, alice: str, bob: str
) -> None:
    documents = planned(shell, alice, bob)
    shell.cluster.delete(SERVICE_ACCOUNTS, "bot", shell.namespace)
    for half in (documents[0], documents[3]):
        shell.cluster.apply(half)
    shell.identity("unauthorize", "--everywhere", "--role", "edit")
    assert len(made(shell, alice) + made(shell, bob)) == 2
    shell.identity("unauthorize", "--everywhere", "--role", "view")
    assert made(shell, alice) == made(shell, bob) == []


def test_authorize_prints_manifests_that_others_can_apply(shell: AdminShell, alice: str) -> None:
    words = ("--in", alice, "--role", "view", "-o", "json", "--dry-run=server")
    printed, _ = shell.identity("authorize", *words)
    documents = json.loads(printed)["items"]
    assert made(shell, alice) == []
    assert [each["kind"] for each in documents] == ["RoleBinding", "AuthorizationPolicy"]
    assert all("managedFields" not in each["metadata"] for each in documents)
    for document in documents:
        shell.cluster.apply(document)


def test_a_role_that_remains_next_to_a_lesser_one_is_reported(
    shell: AdminShell, alice: str
) -> None:
    grant(shell, alice, cluster_role="kubeflow-edit", accept_risks=True)
    warnings = Warnings()
    planned(shell, alice, warn=warnings)
    fact, hint = warnings[0].split("\n")
    check(fact, str(shell.bot), "edit", alice, reason="keeps-role")
    assert hint.endswith(f"unauthorize bot -n {shell.namespace} --in {alice} --role edit")


@pytest.mark.parametrize(
    ("role", "value"), [("kubeflow-none", "kubectl get clusterroles"), ("x/../y", "x/")]
)
def test_a_role_that_does_not_exist_is_refused(
    shell: AdminShell, alice: str, role: str, value: str
) -> None:
    with raises(DaypassError, match=value):
        planned(shell, alice, cluster_role=role)
    assert made(shell, alice) == []


def test_a_role_that_the_user_cannot_read_counts_as_risky(shell: AdminShell, alice: str) -> None:
    admin, group = shell.plane.admin, "rbac.authorization.k8s.io"
    owner = shell.plane.make_identity(alice, "owner")
    until = {"verb": "get", "resource": "rolebindings", "group": group}
    identities.bind(admin, alice, "owner", role="admin", until=until)
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}
    identities.allow(admin, shell.namespace, "owner", rule, home=alice)
    asked = cluster_as(shell.plane, owner.token)
    with raises(RiskyRoleError, match="kubeflow-view"):
        view = role_grant(identity=shell.bot, namespace=alice, cluster_role="kubeflow-view")
        plan(asked, [view], warn=silent)
    asked.close()
