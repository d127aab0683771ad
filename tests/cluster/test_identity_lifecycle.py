"""Identities on a real API server, by the commands that people type."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import yaml

from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.identity.create import dry_run
from daypass.identity.credential_secrets import live_secrets, secrets_of, wait_for_token
from daypass.identity.delete import delete
from daypass.identity.model import (
    IdentityNotFoundError,
    find_account,
    get_identity,
    identity_objects,
)
from daypass.identity.reap import reap, reaper_objects
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, ForbiddenError
from daypass.kube.resources import (
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from support import identities
from support.clusters import admin_access, cluster_as
from support.crashes import Crash, CrashingCluster
from support.deadline import eventually
from support.desk import Desk
from support.ekf import git_init
from support.lifecycle import (
    DISGUISES,
    GATE,
    accepts,
    disguise,
    exchange,
    make,
    own_secrets,
    renew,
    silent,
)
from support.messages import check, message_with, raises
from support.up import Up


@pytest.fixture
def door(up: Up) -> Up:
    return up


def claims(token: str) -> dict[str, Any]:
    return decode_unverified(token)[1]


def ends(what: str, is_over: Callable[[], bool]) -> None:
    eventually(what, is_over, seconds=30)  # the API server remembers a token for ten seconds


def test_the_credentials_file_is_private_and_gives_bound_tokens(desk: Desk) -> None:
    out, words = desk.create()
    assert out == ""
    file = desk.folder / "bot.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert desk.token().reveal() not in words
    token = desk.credentials().token()
    (secret,) = own_secrets(desk.cluster, desk.bot)
    assert claims(token.value.reveal())["kubernetes.io"]["secret"]["uid"] == secret.uid
    assert accepts(desk.cluster, token.value, GATE)
    found = desk.cluster.get(NAMESPACES, desk.namespace)["metadata"]["labels"]
    assert found[labels.POLICY] == labels.POLICY_ENFORCED
    file.rename(desk.folder / "before.json")
    out, words = desk.create("--credentials-out", "-")
    assert json.loads(out)["token"] == desk.token("before.json").reveal()
    assert json.loads(out)["token"] not in words
    assert not file.exists()


@pytest.mark.parametrize("tool", ["curl", "kubectl"])
def test_the_printed_commands_work_as_they_are(desk: Desk, tool: str) -> None:
    _, words = desk.create("--show-exchange")
    assert desk.token().reveal() not in words
    (script,) = re.findall(rf"with {tool}:\n((?:    .*\n?)+)", words)
    done = subprocess.run(
        ["sh", "-euc", script], cwd=desk.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    token = json.loads(done.stdout)["status"]["token"] if tool == "curl" else done.stdout.strip()
    (secret,) = own_secrets(desk.cluster, desk.bot)
    assert claims(token)["aud"] == [GATE]
    assert claims(token)["exp"] - claims(token)["iat"] == 3600
    assert claims(token)["kubernetes.io"]["secret"]["uid"] == secret.uid


def test_an_identity_applied_by_other_means_is_adopted_with_its_secret(desk: Desk) -> None:
    rendered, words = desk.create("--dry-run=client", "-o", "yaml")
    new_name = message_with(words, f"{desk.bot.name}-daypass-")
    assert new_name.split("\n")[0].split()[-1] in rendered
    check(new_name, reason="new-secret-name")
    label = message_with(words, f"kubectl label namespace {desk.namespace} ")
    check(label, reason="no-label")
    assert own_secrets(desk.cluster, desk.bot) == []
    (desk.folder / "bot.yaml").write_text(rendered)
    applied = subprocess.run(
        ["kubectl", "apply", "--server-side", "-f", "bot.yaml"],
        cwd=desk.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert applied.returncode == 0, applied.stderr
    assert desk.create("--dry-run=client", "-o", "yaml")[0] == rendered
    assert (
        list(yaml.safe_load_all(rendered))
        == json.loads(desk.create("--dry-run=client", "-o", "json")[0])["items"]
    )
    desk.identity("create")  # the rest is in the marks
    assert json.loads((desk.folder / "bot.json").read_text())["door"] == desk.door[1]
    assert f"name: {desk.credentials().secret_name}" in rendered
    assert accepts(desk.cluster, desk.credentials().token().value, GATE)


def test_without_a_cluster_objects_are_rendered_all_the_same(desk: Desk) -> None:
    kubeconfig = desk.folder / "dead.kubeconfig"
    kubeconfig.write_text(
        desk.plane.kubeconfig.read_text().replace(desk.plane.url, "https://[::1]:9")
    )
    out, words = desk.create("--dry-run=client", "-o", "json", "--kubeconfig", str(kubeconfig))
    warning = message_with(words, "https://[::1]:9 ")
    assert warning.startswith("warning: ")
    check(warning, reason="not-asked")
    assert [each["kind"] for each in json.loads(out)["items"]] == [
        "ServiceAccount", "Role", "RoleBinding", "Secret",
    ]  # fmt: skip


def test_a_dry_run_creates_nothing(desk: Desk) -> None:
    for where in ("client", "server"):
        _, words = desk.create(f"--dry-run={where}")
        account = message_with(words, f"ServiceAccount {desk.namespace}/bot")
        label = message_with(words, f"{labels.POLICY}=enforced")
        assert f"Namespace {desk.namespace}: " in label
        check(account, reason="dry-run")
        check(label, reason="dry-run")
        out, _ = desk.create(f"--dry-run={where}", "--output", "json")
        assert len(json.loads(out)["items"]) == 4
    assert find_account(desk.cluster, desk.bot) is None
    assert list(desk.folder.iterdir()) == []


def test_a_revocation_ends_the_long_lived_token_and_all_bound_to_its_secret(desk: Desk) -> None:
    desk.create()
    long_lived, child = desk.token(), desk.credentials().token().value
    assert accepts(desk.cluster, long_lived)
    assert accepts(desk.cluster, child, GATE)
    (secret,), holder = own_secrets(desk.cluster, desk.bot), cluster_as(desk.plane, long_lived)
    _, words = desk.identity("revoke")
    message = message_with(words, f"{desk.bot.key} at https:")
    check(message, secret.name, reason="revoked")
    # At once, although the API server caches the long-lived token: there is no Secret to bind to.
    assert not isinstance(exchange(holder, desk.bot, bound_to=secret.name), Secret)
    holder.close()
    ends("the long-lived token", lambda: not accepts(desk.cluster, long_lived))
    ends("a token that is bound to it", lambda: not accepts(desk.cluster, child, GATE))
    with pytest.raises(DaypassError):
        desk.credentials().token()
    desk.identity("create")
    assert accepts(desk.cluster, desk.credentials().token().value, GATE)
    assert not accepts(desk.cluster, long_lived)


@pytest.fixture
def tenant(desk: Desk) -> Iterator[Cluster]:
    """A user with Kubernetes's role `edit` in the namespace of the identity."""
    user = desk.plane.make_identity(name="tenant")
    until, home = {"verb": "patch", "resource": "secrets"}, user.namespace
    identities.bind(desk.plane.admin, desk.namespace, "tenant", role="edit", home=home, until=until)
    with closing(cluster_as(desk.plane, user.token)) as cluster:
        yield cluster


@pytest.mark.parametrize("kind", DISGUISES)
@pytest.mark.parametrize(
    "command",
    ["revoke", "rotate --overlap 0 --force", "delete --yes"],
    ids=lambda command: command[:6],
)
def test_a_tenant_cannot_keep_a_token_by_disguising_its_secret(
    desk: Desk, tenant: Cluster, kind: str, command: str
) -> None:
    desk.create()
    long_lived, (secret,) = desk.token(), own_secrets(desk.cluster, desk.bot)
    disguise(tenant, kind, desk.bot, secret.name)
    (shown,) = json.loads(desk.run("identity", "list", "-n", desk.namespace, "-o", "json")[0])[
        "identities"
    ]
    assert (shown["name"], shown["exists"]) == ("bot", True)
    assert [(each["live"], each["daypass"]) for each in shown["tokens"]] == [(True, True)]
    verb, *words = command.split()
    # A ServiceAccount without the marks stays, which is reported.
    code = 3 if verb == "delete" and kind.startswith("account") else 0
    assert ("kubectl delete serviceaccount bot" in desk.identity(verb, *words, code=code)[1]) == (
        code == 3
    )
    ends("the long-lived token", lambda: not accepts(desk.cluster, long_lived))


def test_a_token_whose_secret_names_another_account_is_revoked(desk: Desk, tenant: Cluster) -> None:
    desk.create()
    uid = identities.ensure_service_account(desk.plane.admin, desk.namespace, "other")
    long_lived, (secret,) = desk.token(), own_secrets(desk.cluster, desk.bot)
    annotations = {
        "kubernetes.io/service-account.name": "other", "kubernetes.io/service-account.uid": uid,
    }  # fmt: skip
    change = {"metadata": {"annotations": annotations}}
    tenant.patch(SECRETS, secret.name, change, desk.namespace)
    assert accepts(desk.cluster, long_lived)
    desk.identity("revoke")
    ends("the long-lived token", lambda: not accepts(desk.cluster, long_lived))


def test_a_deletion_also_ends_unbound_tokens_at_once(desk: Desk) -> None:
    desk.create()
    long_lived = desk.token()
    holder = cluster_as(desk.plane, long_lived)
    unbound = exchange(holder, desk.bot, bound_to=None)
    assert isinstance(unbound, Secret)
    assert accepts(desk.cluster, unbound, GATE)
    out, _ = desk.identity("delete", "--yes")
    # At once, though the API server remembers the long-lived token: there is nothing to ask for.
    assert not isinstance(exchange(holder, desk.bot, bound_to=None), Secret)
    holder.close()
    assert out.splitlines()[0] == f"deleted rolebindings/bot-daypass-token in {desk.namespace}"
    assert out.splitlines()[-1] == f"deleted serviceaccounts/bot in {desk.namespace}"
    ends("an unbound token", lambda: not accepts(desk.cluster, unbound, GATE))
    assert not accepts(desk.cluster, long_lived)
    desk.identity("delete", "--yes", code=1)


def test_with_an_account_that_stays_the_right_to_make_tokens_ends_first(desk: Desk) -> None:
    identities.ensure_service_account(desk.plane.admin, desk.namespace, "bot")
    desk.create("--adopt")
    holder = cluster_as(desk.plane, desk.token())
    assert isinstance(exchange(holder, desk.bot, bound_to=None), Secret)
    _, words = desk.identity("delete", "--yes")
    assert "serviceaccounts/bot" in words
    assert not isinstance(exchange(holder, desk.bot, bound_to=None), Secret)
    holder.close()
    assert desk.cluster.find(SERVICE_ACCOUNTS, "bot", desk.namespace) is not None


def interruptions(cluster: CrashingCluster, action: Callable[[], object]) -> Iterator[bool]:
    """Repeat an action, interrupted one request later each time, until it ends by itself.

    Yield after each interruption whether the API server had acted on the last request.
    """
    for call, acted in itertools.product(range(1, 20), (False, True)):
        try:
            with cluster.crashing(call, acted=acted):
                action()
            return
        except Crash:
            yield acted
    pytest.fail("more than 20 requests")


def test_an_interrupted_creation_or_rotation_resumes_from_any_request(desk: Desk) -> None:
    with closing(CrashingCluster(admin_access(desk.plane))) as cluster:
        assert list(interruptions(cluster, lambda: make(cluster, desk.bot)))
        for overlap_seconds in (0, 3600):
            rotation = partial(renew, cluster, desk.bot, overlap_seconds=overlap_seconds)
            assert list(interruptions(cluster, rotation))
            account = get_identity(cluster, desk.bot)
            (live,) = live_secrets(secrets_of(cluster, desk.bot), account.uid)
            token = wait_for_token(cluster, desk.bot, live.name).token
            with closing(cluster_as(desk.plane, token)) as holder:
                assert isinstance(exchange(holder, desk.bot, bound_to=live.name), Secret)


def test_an_interrupted_deletion_resumes_from_any_request(desk: Desk) -> None:
    def assert_gone() -> None:
        assert find_account(desk.cluster, desk.bot) is None
        assert desk.cluster.list(ROLE_BINDINGS, desk.namespace, labels=labels.SELECTOR) == []

    with closing(CrashingCluster(admin_access(desk.plane))) as cluster:
        deletion = partial(delete, cluster, desk.bot, warn=silent)
        make(cluster, desk.bot)
        for acted in interruptions(cluster, deletion):
            try:
                deletion()
            except IdentityNotFoundError:
                assert acted
            assert_gone()
            make(cluster, desk.bot)
        assert_gone()


def test_the_rendered_reaper_has_the_rights_it_needs_and_may_run_under_restricted_security(
    desk: Desk,
) -> None:
    objects = reaper_objects(home=desk.namespace, namespace=None, image="example.com/daypass:1")
    suffix = desk.namespace
    for each in objects[1:3]:  # what is of the whole cluster
        each["metadata"]["name"] = f"daypass-reap-{suffix}"
    objects[2]["roleRef"]["name"] = f"daypass-reap-{suffix}"
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    desk.cluster.patch(NAMESPACES, desk.namespace, label)
    for each in objects:
        desk.cluster.apply(each)
    template = objects[3]["spec"]["jobTemplate"]["spec"]["template"]
    metadata = {"name": "reap", "namespace": desk.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    desk.cluster.apply(pod, dry_run=True)

    make(desk.cluster, desk.bot, deadline="2020-01-01T00:00:00Z")
    reaper = identities.make_token_secret(
        desk.plane.admin, desk.namespace, "daypass-reap", name="daypass-reap-token"
    )
    cluster = cluster_as(desk.plane, identities.secret_token(reaper))

    def reaped() -> bool:
        try:
            return reap(cluster, None, warn=silent).expired == [desk.bot.key]
        except DaypassError as error:
            raise AssertionError(error.fact) from error  # its rights are some milliseconds old

    eventually("the reaper has its rights", reaped)
    cluster.close()
    assert own_secrets(desk.cluster, desk.bot) == []
    assert desk.cluster.list(ROLE_BINDINGS, desk.namespace, labels=labels.SELECTOR) == []
    assert find_account(desk.cluster, desk.bot) is not None
    desk.cluster.delete(CLUSTER_ROLES, f"daypass-reap-{suffix}")


def test_an_admin_of_one_namespace_can_do_all_of_it_there(desk: Desk) -> None:
    somebody = desk.plane.make_identity(name="somebody")
    admin, home = desk.plane.admin, somebody.namespace
    until = {"verb": "create", "resource": "secrets"}
    identities.bind(admin, desk.namespace, "somebody", role="admin", home=home, until=until)
    cluster = cluster_as(desk.plane, somebody.token)
    # Who may not bind just anything is compared with a Role that is not there yet.
    assert len(dry_run(cluster, identity_objects(desk.namespace, "bot", "bot-daypass-x"))) == 4
    assert find_account(cluster, desk.bot) is None
    created = make(cluster, desk.bot)
    renew(cluster, desk.bot)
    told: list[str] = []
    deleted = delete(cluster, desk.bot, warn=lambda fact, hint: told.append(fact))
    cluster.close()
    assert created.is_new
    assert len(deleted.deleted) == 5
    (fact,) = (each for each in told if each.startswith("rolebindings "))
    check(fact, reason="unseen")
    assert find_account(desk.cluster, desk.bot) is None


def test_an_identity_refused_in_part_creates_nothing(desk: Desk) -> None:
    somebody = desk.plane.make_identity(name="somebody")
    rule = {"apiGroups": [""], "resources": ["serviceaccounts", "secrets"], "verbs": ["*"]}
    admin, home = desk.plane.admin, somebody.namespace
    identities.allow(admin, desk.namespace, "somebody", rule, home=home)
    cluster = cluster_as(desk.plane, somebody.token)
    hide = f"{home}|{desk.namespace}"
    with raises(ForbiddenError, match=r"cannot patch resource \"roles\"", hide=hide) as refused:
        make(cluster, desk.bot)
    cluster.close()
    assert 'resources: ["roles"]' in refused.value.hint
    assert find_account(desk.cluster, desk.bot) is None
    assert labels.POLICY not in desk.cluster.get(NAMESPACES, desk.namespace)["metadata"]["labels"]


def test_an_invalid_output_folder_is_refused_before_any_rotation(desk: Desk) -> None:
    created = make(desk.cluster, desk.bot)
    (desk.folder / "file").touch()
    rotate = ("identity", "rotate", "--all", "-n", desk.namespace)
    _, words = desk.run(*rotate, "--credentials-out", "file", code=2)
    check(words, "file ", reason="usage")
    assert [each.name for each in own_secrets(desk.cluster, desk.bot)] == [created.secret_name]


def test_a_fleet_is_rotated_with_a_summary(desk: Desk) -> None:
    for number in range(5):
        make(desk.cluster, replace(desk.bot, name=f"bot-{number}"))
    occupied = desk.folder / "out" / desk.namespace / "bot-2.json"
    occupied.parent.mkdir(mode=0o700, parents=True)
    occupied.write_text("other")
    occupied.parent.parent.chmod(0o700)
    rotate = ("identity", "rotate", "--all", "-n", desk.namespace)
    out, words = desk.run(*rotate, "--credentials-out", "out", "--output", "json", code=1)
    summary = {each["name"]: each for each in json.loads(out)}
    assert [name for name, each in summary.items() if each["error"]] == ["bot-2"]
    assert occupied.read_text() == "other"
    check(message_with(words, "4 of 5"), reason="rotated")
    assert "\r" not in words  # no progress without a terminal
    file = summary["bot-1"]["credentials"]
    assert desk.credentials(file).secret_name == summary["bot-1"]["secret"]


def test_credentials_in_a_git_work_tree_are_warned_about(desk: Desk) -> None:
    warning = "{} holds a token, and git does not ignore it"
    _, err = desk.create()
    assert warning.format("bot.json") not in err
    git_init(desk.folder)
    for _, err in (desk.create(), desk.identity("rotate")):
        assert warning.format("bot.json") in err
    all_at_once = ("--all", "-n", desk.namespace, "--credentials-out", "all")
    _, err = desk.run("identity", "rotate", *all_at_once)
    assert warning.format("all") in err


def test_a_role_changed_by_another_manager_is_a_conflict(desk: Desk) -> None:
    make(desk.cluster, desk.bot)
    desk.cluster.request(
        "PATCH",
        ROLES.path(desk.namespace, "bot-daypass-token"),
        {"rules": []},
        content_type="application/merge-patch+json",
        params={"fieldManager": "somebody"},
        what="change a role",
    )
    with pytest.raises(ConflictError, match="somebody"):
        make(desk.cluster, desk.bot)
