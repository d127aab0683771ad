"""Identities on a real API server, by the commands that people type."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from daypass._core import labels
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.cli import main
from daypass.client.credentials import Credentials
from daypass.identity.create import dry_run
from daypass.identity.delete import delete
from daypass.identity.model import (
    IdentityName,
    IdentityNotFoundError,
    find_account,
    identity_objects,
)
from daypass.identity.reap import reap, reaper_objects
from daypass.identity.tokens import wait_for_token
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError, ForbiddenError
from daypass.kube.resources import (
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
from support import identities
from support.clusters import admin_access, admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.crashes import Crash, CrashingCluster
from support.deadline import eventually
from support.lifecycle import GATE, deaf, is_good, live_names, make, mint, ours, turn
from support.messages import check, message_with, raises
from support.up import Up

REFUSED_WITHIN_SECONDS = 30.0
"""The API server remembers a token for ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where an admin sits: a folder, a cluster, a door, and a namespace to work in."""

    plane: ControlPlane
    cluster: Cluster
    up: Up
    namespace: str
    folder: Path
    output: pytest.CaptureFixture[str]

    @property
    def bot(self) -> IdentityName:
        """An identity in the namespace."""
        return IdentityName(namespace=self.namespace, name="bot")

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """`daypass identity ...`; what it printed and what it said."""
        self.output.readouterr()
        ended = main(["identity", *arguments, "--kubeconfig", str(self.plane.kubeconfig)])
        out, err = self.output.readouterr()
        assert ended == code, err
        return out, err

    def create(self, *arguments: str) -> tuple[str, str]:
        """Make `bot`, to come in by the door."""
        authority = str(self.up.authority_file)
        return self.run(
            "create", "bot", "-n", self.namespace, "--door", self.up.door, "--audience", GATE,
            "--certificate-authority", authority, *arguments,
        )  # fmt: skip

    def credentials(self, file: str = "bot.json") -> Credentials:
        """What was handed over."""
        return Credentials.from_file(self.folder / file)

    def token(self, file: str = "bot.json") -> Secret:
        """The long-lived token that was handed over."""
        return Secret(json.loads((self.folder / file).read_text())["token"])


@pytest.fixture
def desk(
    control_plane: ControlPlane,
    up: Up,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    cluster = admin_cluster(control_plane)
    yield Desk(
        plane=control_plane,
        cluster=cluster,
        up=up,
        namespace=control_plane.make_namespace(),
        folder=tmp_path,
        output=capsys,
    )
    cluster.close()


def claims(token: str) -> dict[str, Any]:
    return decode_unverified(token)[1]


def ends(what: str, is_over: Callable[[], bool]) -> float:
    """Wait for the end of something; how many seconds it took."""
    began = SYSTEM_CLOCK.monotonic()
    eventually(what, is_over, seconds=REFUSED_WITHIN_SECONDS)
    return SYSTEM_CLOCK.monotonic() - began


def test_the_credentials_file_is_private_and_gives_bound_tokens(
    desk: Desk,
) -> None:
    out, words = desk.create()
    assert out == ""
    file = desk.folder / "bot.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert desk.token().reveal() not in words
    token = desk.credentials().token()
    (secret,) = ours(desk.cluster, desk.bot)
    assert claims(token.value.reveal())["kubernetes.io"]["secret"]["uid"] == secret.uid
    assert is_good(desk.cluster, token.value, GATE)
    found = desk.cluster.get(NAMESPACES, desk.namespace)["metadata"]["labels"]
    assert found[labels.POLICY] == labels.POLICY_ENFORCED


@pytest.mark.parametrize("tool", ["curl", "kubectl"])
def test_the_printed_commands_work_as_they_are(desk: Desk, tool: str) -> None:
    _, words = desk.create()
    assert desk.token().reveal() not in words
    lines = [line.removeprefix("  ") for line in words.splitlines()]
    first = lines.index(f"with {tool}:")
    rest = lines[first + 1 :]
    following = next((i for i, line in enumerate(rest) if not line.startswith("  ")), len(rest))
    script = "\n".join(rest[:following])
    done = subprocess.run(
        ["sh", "-euc", script], cwd=desk.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    token = json.loads(done.stdout)["status"]["token"] if tool == "curl" else done.stdout.strip()
    (secret,) = ours(desk.cluster, desk.bot)
    assert claims(token)["aud"] == [GATE]
    assert claims(token)["exp"] - claims(token)["iat"] == 3600
    assert claims(token)["kubernetes.io"]["secret"]["uid"] == secret.uid


def test_credentials_are_written_to_stdout_on_request(desk: Desk) -> None:
    out, words = desk.create("-o", "-")
    token = json.loads(out)["token"]
    assert token not in words
    assert list(desk.folder.iterdir()) == []
    assert is_good(desk.cluster, Secret(token))


def test_an_identity_applied_by_other_means_is_adopted_with_its_secret(
    desk: Desk,
) -> None:
    rendered, words = desk.create("--output", "yaml")
    new_name = message_with(words, f"{desk.bot.name}-daypass-")
    assert new_name.split("\n")[0].split()[-1] in rendered
    check(new_name, reason="new-secret-name")
    label = message_with(words, f"kubectl label namespace {desk.namespace} ")
    check(label, reason="no-label")
    assert ours(desk.cluster, desk.bot) == []
    (desk.folder / "bot.yaml").write_text(rendered)
    applied = subprocess.run(
        [
            "kubectl", "--kubeconfig", str(desk.plane.kubeconfig), "apply", "--server-side",
            "-f", "bot.yaml",
        ],
        cwd=desk.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert applied.returncode == 0, applied.stderr
    assert desk.create("--output", "yaml")[0] == rendered
    assert (
        list(yaml.safe_load_all(rendered))
        == json.loads(desk.create("--output", "json")[0])["items"]
    )
    desk.run("create", "bot", "-n", desk.namespace)  # the rest is in the marks
    assert json.loads((desk.folder / "bot.json").read_text())["door"] == desk.up.door
    assert f"name: {desk.credentials().secret_name}" in rendered
    assert is_good(desk.cluster, desk.credentials().token().value, GATE)


def test_without_a_cluster_objects_are_rendered_all_the_same(desk: Desk) -> None:
    kubeconfig = desk.folder / "dead.kubeconfig"
    kubeconfig.write_text(
        desk.plane.kubeconfig.read_text().replace(desk.plane.url, "https://[::1]:9")
    )
    code = main([
        "identity", "create", "bot", "-n", "team", "--door", desk.up.door, "--audience", GATE,
        "--output", "json", "--kubeconfig", str(kubeconfig),
    ])  # fmt: skip
    out, words = desk.output.readouterr()
    assert code == 0
    warning = message_with(words, "https://[::1]:9 ")
    assert warning.startswith("warning: ")
    check(warning, reason="not-asked")
    assert [each["kind"] for each in json.loads(out)["items"]] == [
        "ServiceAccount", "Role", "RoleBinding", "Secret",
    ]  # fmt: skip


def test_a_dry_run_creates_nothing(desk: Desk) -> None:
    for where in ("client", "server"):
        _, words = desk.create("--dry-run", where)
        account = message_with(words, f"ServiceAccount {desk.namespace}/bot")
        label = message_with(words, f"{labels.POLICY}=enforced")
        assert f"Namespace {desk.namespace}: " in label
        check(account, reason="dry-run")
        check(label, reason="dry-run")
        out, _ = desk.create("--dry-run", where, "--output", "json")
        assert len(json.loads(out)["items"]) == 4
    assert find_account(desk.cluster, desk.bot) is None
    assert list(desk.folder.iterdir()) == []


def test_a_revocation_ends_the_long_lived_token_and_all_bound_to_its_secret(desk: Desk) -> None:
    desk.create()
    long_lived, child = desk.token(), desk.credentials().token().value
    assert is_good(desk.cluster, long_lived)
    assert is_good(desk.cluster, child, GATE)
    (secret,), holder = ours(desk.cluster, desk.bot), cluster_as(desk.plane, long_lived)
    _, words = desk.run("revoke", "bot", "-n", desk.namespace)
    message = message_with(words, f"{desk.bot.key} ")
    assert secret.name in message
    check(message, reason="revoked")
    # At once, although the API server caches the long-lived token: there is no Secret to bind to.
    assert not isinstance(mint(holder, desk.bot, bound_to=secret.name), Secret)
    holder.close()
    ends("the long-lived token", lambda: not is_good(desk.cluster, long_lived))
    ends("a token that is bound to it", lambda: not is_good(desk.cluster, child, GATE))
    with pytest.raises(DaypassError):
        desk.credentials().token()
    desk.run("create", "bot", "-n", desk.namespace)
    assert is_good(desk.cluster, desk.credentials().token().value, GATE)
    assert not is_good(desk.cluster, long_lived)


def test_a_deletion_also_ends_unbound_tokens_at_once(desk: Desk) -> None:
    desk.create()
    long_lived = desk.token()
    holder = cluster_as(desk.plane, long_lived)
    unbound = mint(holder, desk.bot, bound_to=None)
    assert isinstance(unbound, Secret)
    assert is_good(desk.cluster, unbound, GATE)
    out, _ = desk.run("delete", "bot", "-n", desk.namespace)
    # At once, though the API server remembers the long-lived token: there is nothing to ask for.
    assert not isinstance(mint(holder, desk.bot, bound_to=None), Secret)
    holder.close()
    assert out.splitlines()[0] == f"rolebindings/bot-daypass-token in {desk.namespace}"
    assert out.splitlines()[-1] == f"serviceaccounts/bot in {desk.namespace}"
    ends("an unbound token", lambda: not is_good(desk.cluster, unbound, GATE))
    assert not is_good(desk.cluster, long_lived)
    desk.run("delete", "bot", "-n", desk.namespace, code=1)


def test_with_an_account_that_stays_the_right_to_make_tokens_ends_first(desk: Desk) -> None:
    identities.ensure_service_account(desk.plane.admin, desk.namespace, "bot")
    desk.create("--adopt")
    holder = cluster_as(desk.plane, desk.token())
    assert isinstance(mint(holder, desk.bot, bound_to=None), Secret)
    _, words = desk.run("delete", "bot", "-n", desk.namespace)
    assert "serviceaccounts/bot" in words
    assert not isinstance(mint(holder, desk.bot, bound_to=None), Secret)
    holder.close()
    assert desk.cluster.find(SERVICE_ACCOUNTS, "bot", desk.namespace) is not None


def test_an_interrupted_rotation_resumes_from_any_request(desk: Desk) -> None:
    cluster = CrashingCluster(admin_access(desk.plane))
    _broken_off(cluster, lambda: make(cluster, desk.bot))
    for overlap_seconds in (0, 3600):
        _broken_off(cluster, lambda: turn(cluster, desk.bot, overlap_seconds=overlap_seconds))  # noqa: B023
        account = find_account(cluster, desk.bot)
        assert account is not None
        (name,) = live_names(cluster, account)
        token = wait_for_token(cluster, desk.namespace, name)
        holder = cluster_as(desk.plane, token)
        assert isinstance(mint(holder, desk.bot, bound_to=name), Secret)
        holder.close()
    cluster.close()


def test_an_interrupted_deletion_resumes_from_any_request(desk: Desk) -> None:
    cluster = CrashingCluster(admin_access(desk.plane))
    finished = False
    for call in range(1, 20):
        for acted in (False, True):
            make(cluster, desk.bot)
            finished = True
            with cluster.crashing(call, acted=acted):
                try:
                    delete(cluster, desk.bot, warn=deaf)
                except Crash:
                    finished = False
            if not finished:
                try:
                    delete(cluster, desk.bot, warn=deaf)
                except IdentityNotFoundError:
                    assert acted
            assert find_account(cluster, desk.bot) is None
            assert cluster.list(ROLE_BINDINGS, desk.namespace, labels=labels.SELECTOR) == []
        if finished:
            break
    else:
        pytest.fail("a deletion of more than 20 requests")
    cluster.close()


def _broken_off(cluster: CrashingCluster, action: Callable[[], object]) -> None:
    """Do it until it ends, each time a request later."""
    for call in range(1, 20):
        for acted in (False, True):
            with cluster.crashing(call, acted=acted):
                try:
                    action()
                except Crash:
                    continue
            return
    pytest.fail("more than 20 requests")


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
    desk.cluster.create(pod, dry_run=True)

    make(desk.cluster, desk.bot, deadline="2020-01-01T00:00:00Z")
    reaper = identities.make_token_secret(
        desk.plane.admin, desk.namespace, "daypass-reap", name="daypass-reap-token"
    )
    cluster = cluster_as(desk.plane, identities.secret_token(reaper))

    def reaped() -> bool:
        try:
            return reap(cluster, None, warn=deaf).expired == [desk.bot.key]
        except DaypassError as error:
            raise AssertionError(error.fact) from error  # its rights are some milliseconds old

    eventually("the reaper has its rights", reaped)
    cluster.close()
    assert ours(desk.cluster, desk.bot) == []
    assert desk.cluster.list(ROLE_BINDINGS, desk.namespace, labels=labels.SELECTOR) == []
    assert find_account(desk.cluster, desk.bot) is not None
    desk.cluster.delete(CLUSTER_ROLES, f"daypass-reap-{suffix}")


def test_an_admin_of_one_namespace_can_do_all_of_it_there(desk: Desk) -> None:
    somebody = desk.plane.make_identity(name="somebody")
    admin = desk.plane.admin
    subject = {
        "kind": "ServiceAccount", "name": "somebody", "namespace": somebody.namespace,
    }  # fmt: skip
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    admin.create(
        f"{identities.RBAC}/namespaces/{desk.namespace}/rolebindings",
        {"metadata": {"name": "somebody"}, "roleRef": role, "subjects": [subject]},
    )
    identities.wait_until_allowed(
        admin, somebody.user, {"namespace": desk.namespace, "verb": "create", "resource": "secrets"}
    )
    cluster = cluster_as(desk.plane, somebody.token)
    # Who may not bind just anything is compared with a Role that is not there yet.
    assert len(dry_run(cluster, identity_objects(desk.namespace, "bot", "bot-daypass-x"))) == 4
    assert find_account(cluster, desk.bot) is None
    created = make(cluster, desk.bot)
    turn(cluster, desk.bot)
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
    rules = {"apiGroups": [""], "resources": ["serviceaccounts", "secrets"], "verbs": ["*"]}
    role = f"{identities.RBAC}/namespaces/{desk.namespace}"
    desk.plane.admin.create(f"{role}/roles", {"metadata": {"name": "some"}, "rules": [rules]})
    subject = {"kind": "ServiceAccount", "name": "somebody", "namespace": somebody.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some"}
    desk.plane.admin.create(
        f"{role}/rolebindings",
        {"metadata": {"name": "some"}, "roleRef": reference, "subjects": [subject]},
    )
    attributes = {"namespace": desk.namespace, "verb": "patch", "resource": "serviceaccounts"}
    identities.wait_until_allowed(desk.plane.admin, somebody.user, attributes)
    cluster = cluster_as(desk.plane, somebody.token)
    hide = f"{somebody.namespace}|{desk.namespace}"
    with raises(ForbiddenError, match=r"cannot patch resource \"roles\"", hide=hide) as refused:
        make(cluster, desk.bot)
    cluster.close()
    assert 'resources: ["roles"]' in refused.value.hint
    assert find_account(desk.cluster, desk.bot) is None
    assert labels.POLICY not in desk.cluster.get(NAMESPACES, desk.namespace)["metadata"]["labels"]


def test_an_invalid_output_folder_is_refused_before_any_rotation(desk: Desk) -> None:
    created = make(desk.cluster, desk.bot)
    (desk.folder / "file").touch()
    _, words = desk.run("rotate", "--all", "-n", desk.namespace, "--output-dir", "file", code=2)
    assert "file " in words
    check(words, reason="usage")
    assert [each.name for each in ours(desk.cluster, desk.bot)] == [created.secret_name]


def test_a_fleet_is_rotated_with_a_summary(desk: Desk) -> None:
    names = [replace(desk.bot, name=f"bot-{number}") for number in range(5)]
    for name in names:
        make(desk.cluster, name)
    (desk.folder / "out" / desk.namespace).mkdir(mode=0o700, parents=True)
    (desk.folder / "out" / desk.namespace / "bot-2.json").write_text("other")
    (desk.folder / "out").chmod(0o700)
    out, words = desk.run(
        "rotate", "--all", "-n", desk.namespace, "--output-dir", "out", "--output", "json", code=1
    )
    summary = {each["name"]: each for each in json.loads(out)}
    assert [name for name, each in summary.items() if each["error"]] == ["bot-2"]
    done = message_with(words, "4 of 5")
    check(done, reason="rotated")
    assert "\r" not in words  # no progress where nobody looks
    file = Path(summary["bot-1"]["credentials"])
    assert Credentials.from_file(file).secret_name == summary["bot-1"]["secret"]


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
