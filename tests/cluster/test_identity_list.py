"""Who has access to what, read from a real API server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from daypass._core import labels
from daypass._core.labels import POLICY_NAME
from daypass.cli import main
from daypass.identity.grants import GrantRequest, apply, plan
from daypass.identity.health import examine
from daypass.identity.inventory import list_objects, list_queries
from daypass.identity.model import IdentityName, identity_objects
from daypass.kube.cluster import Cluster
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    name_of,
)
from support import identities
from support.clusters import admin_cluster, cluster_as
from support.controlplane import ADMIN_USER, ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.kubeflow import install_kubeflow, make_profile
from support.messages import check, line_with


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane that knows Kubeflow's roles and Istio's kinds, and seems to have a policy."""
    install_kubeflow(control_plane)
    binding = VALIDATING_ADMISSION_POLICY_BINDINGS
    spec = {"policyName": "none-of-this-name", "validationActions": ["Deny"]}
    with closing(admin_cluster(control_plane)) as cluster:
        cluster.apply(
            {"apiVersion": binding.api_version, "kind": binding.kind,
             "metadata": {"name": POLICY_NAME}, "spec": spec}
        )  # fmt: skip
        yield control_plane
        cluster.delete(binding, POLICY_NAME)


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """All rights."""
    cluster = admin_cluster(plane)
    yield cluster
    cluster.close()


def make(plane: ControlPlane, cluster: Cluster, namespace: str | None = None) -> Identity:
    """An identity with a token, in a namespace that is held to the policy."""
    held = {labels.POLICY: labels.POLICY_ENFORCED}
    namespace = namespace or plane.make_namespace(labels=held)
    for document in identity_objects(namespace, "bot", "", {labels.DOOR: "https://d.test/k"})[:-1]:
        cluster.apply(document)
    identity = plane.make_identity(namespace, authorize=False)
    annotations = {labels.IDENTITY: f"{namespace}/bot"}
    ours = {"metadata": {"labels": {labels.MANAGED_BY: labels.MANAGER}, "annotations": annotations}}
    plane.admin.patch(identity.secret_path, ours)
    return identity


def authorize(cluster: Cluster, identity: Identity, *namespaces: str) -> None:
    name = IdentityName(namespace=identity.namespace, name="bot")
    wish = GrantRequest(identity=name, namespaces=namespaces, cluster_role="kubeflow-view")
    apply(cluster, plan(cluster, wish, warn=lambda *_: None))


def run(plane: ControlPlane, *words: str) -> int:
    return main(["identity", *words, "--kubeconfig", str(plane.kubeconfig)])


def listed(
    plane: ControlPlane, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, dict[str, Any]]:
    """The inventory by namespace."""
    capsys.readouterr()
    assert run(plane, "list", *words, "--output", "json") == 0
    document = json.loads(capsys.readouterr().out)
    return {each["namespace"]: each for each in document["identities"]}


def test_list_shows_each_identity_with_its_grants_and_health(
    plane: ControlPlane, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = make(plane, cluster), make(plane, cluster)
    alice, bob = sorted((make_profile(plane), make_profile(plane)))
    authorize(cluster, one, alice, bob)
    assert run(plane, "list", "-n", one.namespace, "--check") == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "NAMESPACE"
    assert row.split()[:2] == [one.namespace, "bot"]
    assert f"{alice}=view, {bob}=view   https://d.test/k" in row
    assert row.endswith("   ok")
    everything = listed(plane, capsys, "-A")
    assert {one.namespace, two.namespace} <= everything.keys()
    assert everything[two.namespace]["grants"] == []
    assert run(plane, "show", "bot", "-n", one.namespace, "--check") == 0
    shown = capsys.readouterr().out
    assert f"{bob}=view" in shown
    assert "health: ok" in shown
    assert run(plane, "show", "nobody", "-n", one.namespace) == 1


def test_list_shows_the_day_of_the_last_use(
    plane: ControlPlane, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = make(plane, cluster)
    assert listed(plane, capsys, "-n", bot.namespace)[bot.namespace]["lastUsed"] is None
    plane.client(bot.token).request("POST", bot.token_path, {})
    found = eventually(
        "the API server has noted the use",
        lambda: listed(plane, capsys, "-n", bot.namespace)[bot.namespace]["lastUsed"],
    )
    assert found.startswith("20")


def test_list_reads_no_token_and_makes_a_fixed_number_of_requests(
    plane: ControlPlane, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    bots = [make(plane, cluster) for _ in range(5)]
    for bot in bots:
        authorize(cluster, bot, make_profile(plane))
    since = plane.audit_position()
    assert run(plane, "list", "-A", "--output", "json") == 0
    output = capsys.readouterr().out
    assert all(bot.namespace in output and bot.token.reveal() not in output for bot in bots)

    def asked() -> list[Any] | None:
        events = [
            event
            for event in plane.audit_events(since=since)
            if event["user"]["username"] == ADMIN_USER
            and event.get("userAgent", "").startswith("daypass/")
        ]
        return events if len(events) >= len(list_queries(None)) else None

    events = eventually("all requests are in the audit log", asked)
    assert sorted(event["objectRef"]["resource"] for event in events) == sorted(
        question.resource.plural for question in list_queries(None).values()
    )
    assert {event["verb"] for event in events} == {"list"}


def test_problems_are_named_and_a_check_exits_with_3(
    plane: ControlPlane, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = make(plane, cluster)
    alice, bob = make_profile(plane), make_profile(plane)
    authorize(cluster, bot, alice, bob)
    (policy,) = cluster.list(AUTHORIZATION_POLICIES, alice, labels=labels.SELECTOR)
    cluster.delete(AUTHORIZATION_POLICIES, name_of(policy), alice)
    (binding,) = cluster.list(ROLE_BINDINGS, bob, labels=labels.SELECTOR)
    cluster.delete(ROLE_BINDINGS, name_of(binding), bob)
    identities.bind(plane.admin, bot.namespace, "bot", kind="ClusterRole", role="edit")
    plane.make_identity(bot.namespace, authorize=False)  # one more Secret, by somebody else
    secrets = [{"name": bot.secret_name}]
    path = f"/api/v1/namespaces/{bot.namespace}/serviceaccounts/bot"
    plane.admin.patch(path, {"secrets": secrets})
    plane.admin.patch(f"/api/v1/namespaces/{bot.namespace}",
                      {"metadata": {"labels": {labels.POLICY: None}}})  # fmt: skip
    assert run(plane, "list", "-n", bot.namespace, "--check", "--unused-after", "0s") == 3
    health = capsys.readouterr().out.splitlines()[1]
    for code in (
        "half-grant", "more-rights", "foreign-token", "listed-token", "no-policy", "unused",
    ):  # fmt: skip
        assert code in health
    assert run(plane, "show", "bot", "-n", bot.namespace) == 0
    shown = capsys.readouterr().out
    for code in ("half-grant: profile-", "foreign-token", "listed-token", "no-policy"):
        check(line_with(shown, f" {code}"), reason=code.partition(":")[0])
    rights = line_with(shown, " more-rights: ")
    assert f"{bot.namespace}=clusterrole/edit" in rights
    assert "tokens of other ServiceAccounts" in rights
    check(rights, reason="more-rights", hide=r"(?<=rolebindings/bot-)[a-z0-9]+")


def test_a_missing_namespace_is_not_reported_as_healthy(
    plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(plane, "list", "-n", "nowhere", "--check") == 1
    error = capsys.readouterr().err
    assert "namespace nowhere" in error
    assert "daypass identity list -A" in error
    check(error, reason="not-found")
    assert run(plane, "list", "-n", plane.make_namespace(), "--check") == 0


def test_a_user_with_limited_rights_sees_a_part_and_a_note(
    plane: ControlPlane, cluster: Cluster
) -> None:
    bot = make(plane, cluster)
    authorize(cluster, bot, make_profile(plane))
    reader = plane.make_identity(bot.namespace, "reader", authorize=False)
    identities.bind(plane.admin, bot.namespace, "reader", kind="ClusterRole", role="admin")
    attributes = {"namespace": bot.namespace, "verb": "list", "resource": "secrets"}
    identities.wait_until_allowed(plane.admin, reader.user, attributes)
    asked = cluster_as(plane, reader.token)
    told: list[str] = []
    objects = list_objects(asked, bot.namespace, warn=lambda *words: told.extend(words))
    asked.close()
    (seen,) = examine(objects, cluster.clock, namespace=bot.namespace, unused_seconds=10**9)
    assert seen.record.roles == []
    assert seen.findings == ()
    for resource in ("rolebindings", "clusterroles"):
        (fact,) = (words for words in told if resource in words.split())
        check(fact, reason="unseen")
    assert any('resources: ["rolebindings"]' in words for words in told)


def test_list_with_watch_shows_changes_as_they_happen(
    plane: ControlPlane, cluster: Cluster
) -> None:
    bot = make(plane, cluster)
    command = [
        sys.executable, "-m", "daypass", "identity", "list", "-n", bot.namespace, "--watch",
        "--output", "json", "--kubeconfig", str(plane.kubeconfig),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        try:
            first = json.loads(watching.stdout.readline())
            assert [each["name"] for each in first["identities"]] == ["bot"]
            alice = make_profile(plane)
            authorize(cluster, bot, alice)
            while True:  # the binding and its policy may come one after the other
                (seen,) = json.loads(watching.stdout.readline())["identities"]
                if seen["grants"] and not seen["findings"]:
                    break
            assert [each["namespace"] for each in seen["grants"]] == [alice]
            cluster.delete(SERVICE_ACCOUNTS, "bot", bot.namespace)
            while not any(each["code"] == "orphan" for each in seen["findings"]):
                (seen,) = json.loads(watching.stdout.readline())["identities"]
            assert seen["exists"] is False
            assert alice in seen["findings"][0]["text"]
        finally:
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=30)
    assert (watching.returncode, errors) == (130, b"")
