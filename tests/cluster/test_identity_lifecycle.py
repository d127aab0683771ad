"""Identities on a real API server, by the commands that people type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml

from daypass._core.errors import DaypassError
from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes import labels
from daypass._core.secret import Secret
from daypass.identity.accounts import find_account, token_secret
from daypass.identity.create import dry_run
from daypass.identity.credential_secrets import wait_for_token
from daypass.identity.delete import delete, delete_expired
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import (
    ACCOUNT_ANNOTATION,
    ACCOUNT_UID_ANNOTATION,
    NAMESPACES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from support import identities
from support.admin_shell import AdminShell
from support.clusters import cluster_as, write_kubeconfig
from support.deadline import eventually
from support.examples import EXAMPLES
from support.lifecycle import (
    DISGUISES,
    GATE,
    accepts,
    disguise,
    exchange,
    identity_objects,
    make,
    own_secrets,
    renew,
    silent,
)
from support.messages import check, message_with, raises
from support.programs import output_of
from support.up import Up


@pytest.fixture
def door(up: Up) -> Up:
    return up


def claims(token: str) -> dict[str, Any]:
    return decode_unverified(token)[1]


def ends(what: str, is_over: Callable[[], bool]) -> None:
    eventually(what, is_over, seconds=30)  # the API server remembers a token for ten seconds


def test_the_credentials_file_is_private_and_gives_bound_tokens(shell: AdminShell) -> None:
    out, words = shell.create()
    assert out == ""
    file = shell.folder / "bot.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert shell.token().reveal() not in words
    token = shell.credentials().token()
    (secret,) = own_secrets(shell.cluster, shell.bot)
    assert claims(token.value.reveal())["kubernetes.io"]["secret"]["uid"] == secret.uid
    assert accepts(shell.cluster, token.value, GATE)
    found = shell.cluster.get(NAMESPACES, shell.namespace)["metadata"]["labels"]
    assert found[labels.POLICY] == labels.POLICY_ENFORCED
    file.rename(shell.folder / "before.json")
    out, words = shell.create("--credentials-out", "-")
    assert json.loads(out)["token"] == shell.token("before.json").reveal()
    assert json.loads(out)["token"] not in words
    assert not file.exists()


def test_an_identity_applied_by_other_means_is_adopted_with_its_secret(shell: AdminShell) -> None:
    rendered, words = shell.create("--dry-run=client", "-o", "yaml")
    new_name = message_with(words, f"{shell.bot.name}-daypass-")
    assert new_name.split("\n")[0].split()[-1] in rendered
    check(new_name, reason="new-secret-name")
    label = message_with(words, f"kubectl label namespace {shell.namespace} ")
    check(label, reason="no-label")
    assert own_secrets(shell.cluster, shell.bot) == []
    (shell.folder / "bot.yaml").write_text(rendered)
    output_of("kubectl", "apply", "--server-side", "-f", "bot.yaml", folder=shell.folder)
    assert shell.create("--dry-run=client", "-o", "yaml")[0] == rendered
    assert (
        list(yaml.safe_load_all(rendered))
        == json.loads(shell.create("--dry-run=client", "-o", "json")[0])["items"]
    )
    shell.identity("create")  # the rest is in the marks
    assert json.loads((shell.folder / "bot.json").read_text())["door"] == shell.door[1]
    assert f"name: {shell.credentials().secret_name}" in rendered
    assert accepts(shell.cluster, shell.credentials().token().value, GATE)


def test_a_revocation_ends_the_long_lived_token_and_all_bound_to_its_secret(
    shell: AdminShell,
) -> None:
    shell.create()
    long_lived, child = shell.token(), shell.credentials().token().value
    assert accepts(shell.cluster, long_lived)
    assert accepts(shell.cluster, child, GATE)
    (secret,), holder = own_secrets(shell.cluster, shell.bot), cluster_as(shell.plane, long_lived)
    _, words = shell.identity("revoke", code=3)  # no policy denies unbound tokens
    message = message_with(words, f"{shell.bot.key} at https:")
    check(message, secret.name, reason="revoked")
    # At once, although the API server caches the long-lived token: there is no Secret to bind to.
    assert not isinstance(exchange(holder, shell.bot, bound_to=secret.name), Secret)
    holder.close()
    ends("the long-lived token", lambda: not accepts(shell.cluster, long_lived))
    ends("a token that is bound to it", lambda: not accepts(shell.cluster, child, GATE))
    with pytest.raises(DaypassError):
        shell.credentials().token()
    shell.identity("create")
    assert accepts(shell.cluster, shell.credentials().token().value, GATE)
    assert not accepts(shell.cluster, long_lived)


@pytest.fixture
def tenant(shell: AdminShell) -> Iterator[Cluster]:
    """A user with Kubernetes's role `edit` in the namespace of the identity."""
    user = shell.plane.make_identity(name="tenant")
    until, home = {"verb": "patch", "resource": "secrets"}, user.namespace
    identities.bind(
        shell.plane.admin, shell.namespace, "tenant", role="edit", home=home, until=until
    )
    with closing(cluster_as(shell.plane, user.token)) as cluster:
        yield cluster


@pytest.mark.parametrize("kind", DISGUISES)
@pytest.mark.parametrize(
    "command",
    ["revoke", "delete --yes"],
    ids=lambda command: command[:6],
)
def test_a_tenant_cannot_keep_a_token_by_disguising_its_secret(
    shell: AdminShell, tenant: Cluster, kind: str, command: str
) -> None:
    shell.create()
    long_lived, (secret,) = shell.token(), own_secrets(shell.cluster, shell.bot)
    disguise(tenant, kind, shell.bot, secret.name)
    (shown,) = json.loads(shell.run("identity", "list", "-n", shell.namespace, "-o", "json")[0])[
        "identities"
    ]
    assert (shown["name"], shown["exists"]) == ("bot", True)
    assert [(each["live"], each["daypass"]) for each in shown["tokens"]] == [(True, True)]
    verb, *words = command.split()
    # A ServiceAccount without the marks stays, which is reported.
    stays = verb == "delete" and kind.startswith("account")
    code = 3 if stays or verb == "revoke" else 0  # no policy denies unbound tokens
    err = shell.identity(verb, *words, code=code)[1]
    assert ("kubectl delete serviceaccount bot" in err) == stays
    ends("the long-lived token", lambda: not accepts(shell.cluster, long_lived))


def test_a_token_whose_secret_names_another_account_is_revoked(
    shell: AdminShell, tenant: Cluster
) -> None:
    shell.create()
    uid = identities.ensure_service_account(shell.plane.admin, shell.namespace, "other")
    long_lived, (secret,) = shell.token(), own_secrets(shell.cluster, shell.bot)
    annotations = {ACCOUNT_ANNOTATION: "other", ACCOUNT_UID_ANNOTATION: uid}
    change = {"metadata": {"annotations": annotations}}
    tenant.patch(SECRETS, secret.name, change, shell.namespace)
    assert accepts(shell.cluster, long_lived)
    shell.identity("revoke", code=3)
    ends("the long-lived token", lambda: not accepts(shell.cluster, long_lived))


def test_a_token_that_a_secret_of_another_name_account_and_type_holds_is_reported(
    shell: AdminShell, tenant: Cluster
) -> None:
    shell.create()
    uid = identities.ensure_service_account(shell.plane.admin, shell.namespace, "other")
    tenant.create(token_secret(shell.bot, "hidden"))
    long_lived = wait_for_token(tenant, shell.bot, "hidden").token
    annotations = {ACCOUNT_ANNOTATION: "other", ACCOUNT_UID_ANNOTATION: uid}
    change = {"metadata": {"annotations": annotations}}
    tenant.patch(SECRETS, "hidden", change, shell.namespace)
    out, _ = shell.identity("revoke", "-o", "json", code=3)
    assert json.loads(out)["left"] == ["hidden"]
    held = tenant.get(SECRETS, "hidden", shell.namespace)["data"]
    tenant.delete(SECRETS, "hidden", shell.namespace)
    metadata = {"name": "hidden", "namespace": shell.namespace, "finalizers": ["x.example/y"]}
    tenant.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": held})
    out, _ = shell.identity("revoke", "-o", "json", code=3)
    assert json.loads(out)["left"] == ["hidden"]
    assert accepts(shell.cluster, long_lived)
    tenant.delete(SECRETS, "hidden", shell.namespace)
    out, _ = shell.identity("revoke", "-o", "json", code=3)  # no policy denies unbound tokens
    assert json.loads(out)["left"] == []
    ends("the long-lived token", lambda: not accepts(shell.cluster, long_lived))
    tenant.patch(SECRETS, "hidden", {"metadata": {"finalizers": None}}, shell.namespace)


def test_a_deletion_also_ends_unbound_tokens_at_once(shell: AdminShell) -> None:
    shell.create()
    long_lived = shell.token()
    holder = cluster_as(shell.plane, long_lived)
    unbound = exchange(holder, shell.bot, bound_to=None)
    assert isinstance(unbound, Secret)
    assert accepts(shell.cluster, unbound, GATE)
    out, _ = shell.identity("delete", "--yes")
    # At once, though the API server remembers the long-lived token: there is nothing to ask for.
    assert not isinstance(exchange(holder, shell.bot, bound_to=None), Secret)
    holder.close()
    assert out.splitlines()[0] == f"deleted rolebindings/bot-daypass-token in {shell.namespace}"
    assert out.splitlines()[-1] == f"deleted serviceaccounts/bot in {shell.namespace}"
    ends("an unbound token", lambda: not accepts(shell.cluster, unbound, GATE))
    assert not accepts(shell.cluster, long_lived)
    shell.identity("delete", "--yes", code=1)


def test_with_an_account_that_stays_the_right_to_make_tokens_ends_first(shell: AdminShell) -> None:
    identities.ensure_service_account(shell.plane.admin, shell.namespace, "bot")
    shell.create("--adopt")
    holder = cluster_as(shell.plane, shell.token())
    assert isinstance(exchange(holder, shell.bot, bound_to=None), Secret)
    _, words = shell.identity("delete", "--yes", code=3)  # unbound tokens stay
    assert "serviceaccounts/bot" in words
    assert not isinstance(exchange(holder, shell.bot, bound_to=None), Secret)
    holder.close()
    assert shell.cluster.find(SERVICE_ACCOUNTS, "bot", shell.namespace) is not None


def test_the_cron_job_of_the_examples_deletes_what_has_expired_in_its_namespace_alone(
    shell: AdminShell,
) -> None:
    text = (EXAMPLES / "delete-expired.yaml").read_text()
    text = re.sub(r"\bteam\b", shell.namespace, text)
    *objects, cron_job = yaml.safe_load_all(text)
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    shell.cluster.patch(NAMESPACES, shell.namespace, label)
    for each in (*objects, cron_job):
        shell.cluster.apply(each)
    spec = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    metadata = {"name": "once", "namespace": shell.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    shell.cluster.apply(pod, dry_run=True)

    make(shell.cluster, shell.bot, deadline="2020-01-01T00:00:00Z")
    secret = identities.make_token_secret(
        shell.plane.admin, shell.namespace, "delete-expired", name="delete-expired-token"
    )
    kubeconfig = shell.folder / "cron-job.yaml"
    write_kubeconfig(shell.plane, identities.secret_token(secret), kubeconfig)
    command, *line = spec["containers"][0]["command"][3:]

    def deleted() -> bool:
        out, _ = shell.run(command, *line, "--kubeconfig", str(kubeconfig))
        return "deleted rolebindings/bot-daypass-token" in out

    eventually("it has its rights", deleted)
    assert own_secrets(shell.cluster, shell.bot) == []
    assert shell.cluster.list(ROLE_BINDINGS, shell.namespace, labels=labels.SELECTOR) == []
    assert find_account(shell.cluster, shell.bot) is not None
    cluster = cluster_as(shell.plane, identities.secret_token(secret))
    with closing(cluster), pytest.raises(ForbiddenError):
        delete_expired(cluster, None, warn=silent)


def test_an_admin_of_one_namespace_can_do_all_of_it_there(shell: AdminShell) -> None:
    somebody = shell.plane.make_identity(name="somebody")
    admin, home = shell.plane.admin, somebody.namespace
    until = {"verb": "create", "resource": "secrets"}
    identities.bind(admin, shell.namespace, "somebody", role="admin", home=home, until=until)
    cluster = cluster_as(shell.plane, somebody.token)
    # Who may not bind just anything is compared with a Role that is not there yet.
    assert len(dry_run(cluster, identity_objects(shell.bot))) == 4
    assert find_account(cluster, shell.bot) is None
    created = make(cluster, shell.bot)
    renew(cluster, shell.bot)
    told: list[str] = []
    deleted = delete(cluster, shell.bot, warn=lambda fact, hint: told.append(fact))
    cluster.close()
    assert created.is_new
    assert len(deleted.deleted) == 5
    (fact,) = (each for each in told if each.startswith("rolebindings "))
    check(fact, reason="unseen")
    assert find_account(shell.cluster, shell.bot) is None


def test_an_identity_refused_in_part_creates_nothing(shell: AdminShell) -> None:
    somebody = shell.plane.make_identity(name="somebody")
    rule = {"apiGroups": [""], "resources": ["serviceaccounts", "secrets"], "verbs": ["*"]}
    admin, home = shell.plane.admin, somebody.namespace
    identities.allow(admin, shell.namespace, "somebody", rule, home=home)
    cluster = cluster_as(shell.plane, somebody.token)
    hide = f"{home}|{shell.namespace}"
    with raises(ForbiddenError, match=r"cannot patch resource \"roles\"", hide=hide) as refused:
        make(cluster, shell.bot)
    cluster.close()
    assert 'resources: ["roles"]' in refused.value.hint
    assert find_account(shell.cluster, shell.bot) is None
    assert labels.POLICY not in shell.cluster.get(NAMESPACES, shell.namespace)["metadata"]["labels"]
