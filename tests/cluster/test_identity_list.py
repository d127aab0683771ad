"""Who has access to what, read from a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import name_of
from daypass.identity.accounts import IdentityName
from daypass.identity.authorize import apply, plan
from daypass.identity.grants import role_grant
from daypass.identity.health import examine
from daypass.identity.records import list_objects, list_queries
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    NAMESPACES,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from support import identities
from support.admin_shell import AdminShell
from support.clusters import admin_cluster, cluster_as
from support.controlplane import ADMIN_USER, ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.kubeflow import install_kubeflow, make_profile
from support.lifecycle import SETTINGS, Warnings, make, silent
from support.messages import check, line_with


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane that knows Kubeflow's roles and Istio's kinds, and seems to have a policy."""
    install_kubeflow(control_plane)
    binding = VALIDATING_ADMISSION_POLICY_BINDINGS
    spec = {"policyName": "none-of-this-name", "validationActions": ["Deny"]}
    with admin_cluster(control_plane) as cluster:
        cluster.apply(
            {"apiVersion": binding.api_version, "kind": binding.kind,
             "metadata": {"name": labels.POLICY_NAME}, "spec": spec}
        )  # fmt: skip
        yield control_plane
        cluster.delete(binding, labels.POLICY_NAME)


@pytest.fixture
def shell(shell: AdminShell) -> AdminShell:
    """With the identity `bot`, in a namespace that is held to the policy."""
    make(shell.cluster, shell.bot)
    return shell


@pytest.fixture
def alice(shell: AdminShell) -> str:
    return granted_profile(shell)


def granted_profile(shell: AdminShell, identity: IdentityName | None = None) -> str:
    name = make_profile(shell.plane)
    owner = identity or shell.bot
    view = role_grant(identity=owner, namespace=name, cluster_role="kubeflow-view")
    apply(shell.cluster, plan(shell.cluster, [view], warn=silent))
    return name


def listed(shell: AdminShell, *words: str) -> dict[str, dict[str, Any]]:
    out, _ = shell.run("identity", "list", *words, "--output", "json")
    return {each["namespace"]: each for each in json.loads(out)["identities"]}


def test_list_shows_each_identity_with_its_grants_and_health(shell: AdminShell) -> None:
    alice, bob = sorted(granted_profile(shell) for _ in range(2))
    other = replace(shell.bot, namespace=shell.plane.make_namespace())
    make(shell.cluster, other)
    out, _ = shell.run("identity", "list", "-n", shell.namespace, "--check")
    heading, row = out.splitlines()
    assert heading.split()[0] == "NAMESPACE"
    assert row.split()[:2] == [shell.namespace, "bot"]
    assert f"  {alice}=view, {bob}=view  " in row
    assert row.endswith("  ok")
    assert (
        str(SETTINGS.door) in shell.run("identity", "list", "-n", shell.namespace, "-o", "wide")[0]
    )
    everything = listed(shell, "-A")
    assert {shell.namespace, other.namespace} <= everything.keys()
    assert everything[other.namespace]["grants"] == []
    shown, _ = shell.identity("show", "--check")
    assert f"  {bob}=view  by daypass: " in shown
    assert "health: ok" in shown
    shell.run("identity", "show", "nobody", "-n", shell.namespace, code=1)


def test_list_shows_the_day_of_the_last_use(shell: AdminShell) -> None:
    def last_used() -> str | None:
        used: str | None = listed(shell, "-n", shell.namespace)[shell.namespace]["lastUsed"]
        return used

    assert last_used() is None
    token = make(shell.cluster, shell.bot).token
    path = identities.token_path(shell.namespace, "bot")
    shell.plane.client(token).request("POST", path, {})
    assert eventually("the API server has noted the use", last_used).startswith("20")


def test_list_reads_no_token_and_makes_a_fixed_number_of_requests(shell: AdminShell) -> None:
    names = [replace(shell.bot, namespace=shell.plane.make_namespace()) for _ in range(5)]
    tokens = [make(shell.cluster, name).token.reveal() for name in names]
    for name in names:
        granted_profile(shell, name)
    since = shell.plane.audit_position()
    output, _ = shell.run("identity", "list", "-A", "--output", "json")
    assert all(name.namespace in output for name in names)
    assert not any(token in output for token in tokens)
    events = [
        event
        for event in shell.plane.whole_audit_log(since=since)
        if event["user"]["username"] == ADMIN_USER
        and event.get("userAgent", "").startswith("daypass/")
    ]
    assert sorted(event["objectRef"]["resource"] for event in events) == sorted(
        question.resource.plural for question in list_queries(None).values()
    )
    assert {event["verb"] for event in events} == {"list"}


def test_problems_are_named_and_a_check_exits_with_3(shell: AdminShell, alice: str) -> None:
    cluster, admin, bob = shell.cluster, shell.plane.admin, granted_profile(shell)
    (policy,) = cluster.list(AUTHORIZATION_POLICIES, alice, labels=labels.SELECTOR)
    cluster.delete(AUTHORIZATION_POLICIES, name_of(policy), alice)
    (binding,) = cluster.list(ROLE_BINDINGS, bob, labels=labels.SELECTOR)
    cluster.delete(ROLE_BINDINGS, name_of(binding), bob)
    identities.make_token_secret(admin, shell.namespace, "bot", name="by-hand")
    unlabel = {"metadata": {"labels": {labels.POLICY: None}}}
    cluster.patch(NAMESPACES, shell.namespace, unlabel)
    check_now = ("-n", shell.namespace, "--check")
    out, _ = shell.run("identity", "list", *check_now, code=3)
    for code in (
        "half-grant", "foreign-token", "no-policy",
    ):  # fmt: skip
        assert code in out.splitlines()[1]
    shown, _ = shell.identity("show")
    for code in ("half-grant: profile-", "foreign-token", "no-policy"):
        check(line_with(shown, f" {code}"), reason=code.partition(":")[0])


def test_a_missing_namespace_is_not_reported_as_healthy(shell: AdminShell) -> None:
    _, error = shell.run("identity", "list", "-n", "nowhere", "--check", code=1)
    check(error, "namespace nowhere", "daypass identity list -A", reason="not-found")
    shell.run("identity", "list", "-n", shell.plane.make_namespace(), "--check")


def test_orphaned_grants_are_listed_until_they_are_removed(shell: AdminShell, alice: str) -> None:
    shell.cluster.delete(SERVICE_ACCOUNTS, "bot", shell.namespace)
    orphan = listed(shell, "-n", shell.namespace)[shell.namespace]
    assert orphan["exists"] is False
    assert alice in {each["namespace"] for each in orphan["grants"]}
    assert [each["check"] for each in orphan["findings"]] == ["orphan"]
    shell.identity("unauthorize", "--everywhere")
    left = listed(shell, "-n", shell.namespace)[shell.namespace]
    assert alice not in {each["namespace"] for each in left["grants"]}


@pytest.fixture
def reader(shell: AdminShell) -> Identity:
    """A ServiceAccount with the role `admin` in the namespace of the identity."""
    made = shell.plane.make_identity(name="reader", authorize=False)
    until, home = {"verb": "list", "resource": "secrets"}, made.namespace
    identities.bind(
        shell.plane.admin, shell.namespace, "reader", role="admin", home=home, until=until
    )
    return made


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("seen_of_both", ["rolebindings", "authorizationpolicies"])
def test_a_grant_with_an_invisible_half_is_not_reported_as_partial(
    shell: AdminShell, reader: Identity, seen_of_both: str
) -> None:
    admin, role = shell.plane.admin, identities.unique("reader")
    rule = {"apiGroups": ["*"], "resources": [seen_of_both], "verbs": ["list"]}
    admin.create(f"{identities.RBAC}/clusterroles", {"metadata": {"name": role}, "rules": [rule]})
    with identities.bound_cluster_wide(admin, role, reader):
        attributes = {"verb": "list", "resource": seen_of_both, "group": "*"}
        identities.wait_until_allowed(admin, reader.user, attributes)
        with closing(cluster_as(shell.plane, reader.token)) as asked:
            objects = list_objects(asked, shell.namespace, warn=silent)
    (seen,) = examine(objects, asked.clock, namespace=shell.namespace)
    assert len(seen.record.roles) == (1 if seen_of_both == "rolebindings" else 0)
    assert seen.findings == ()


@pytest.mark.usefixtures("alice")
def test_a_user_with_limited_rights_sees_a_part_and_a_note(
    shell: AdminShell, reader: Identity
) -> None:
    asked, warnings = cluster_as(shell.plane, reader.token), Warnings()
    objects = list_objects(asked, shell.namespace, warn=warnings)
    asked.close()
    (seen,) = examine(objects, asked.clock, namespace=shell.namespace)
    assert seen.record.roles == []
    assert seen.findings == ()
    (warning,) = warnings
    assert "clusterroles" in warning
    check(warning, "rolebindings", reason="unseen")
