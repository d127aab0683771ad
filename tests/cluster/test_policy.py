"""`daypass policy` against a real API server: applied, checked, and not to be got around."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daypass import cli
from daypass._core import labels
from daypass._core.errors import DaypassError
from daypass.config.models import Mode, Policy
from daypass.identity.policy import apply_policy, policy_state
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from support import identities, policies
from support.admin import Answer
from support.clusters import admin_cluster, cluster_as
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.messages import check, line_with, message_with, raises
from support.policies import held_namespace

GATE = "gate.example.com"
CONFIG = """\
version: 1
domains: {here: {host: localhost, front: envoy}}
policy: {audiences: [gate.example.com], longestLifetime: 12h}
"""
POLICY = Policy(audiences=(GATE,), longest_lifetime_seconds=12 * 3600)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("policy")) as running:
        yield running


@pytest.fixture(scope="module")
def admin(plane: ControlPlane) -> Iterator[Cluster]:
    opened = admin_cluster(plane)
    yield opened
    opened.close()


@pytest.fixture
def cluster(plane: ControlPlane, admin: Cluster) -> Cluster:
    """POLICY in force, whatever another test has put there."""
    state = policy_state(admin, POLICY, "default")
    if not state.is_in_force or state.drift:
        for resource in (VALIDATING_ADMISSION_POLICY_BINDINGS, VALIDATING_ADMISSION_POLICIES):
            admin.delete(resource, labels.POLICY_NAME)
        policies.apply(plane, admin, POLICY)
    return admin


@pytest.fixture
def bot(plane: ControlPlane, cluster: Cluster) -> Identity:
    """An identity in a namespace that is held to the policy."""
    return plane.make_identity(held_namespace(plane))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "daypass.yaml"
    path.write_text(CONFIG)
    return path


def ask(plane: ControlPlane, bot: Identity, account: str | None = None, **spec: Any) -> Answer:
    """A real request of a bot, by its long-lived token."""
    spec = {"audiences": [GATE], "expirationSeconds": 600, **spec}
    path = identities.token_path(bot.namespace, account or bot.service_account)
    return plane.client(bot.token).request("POST", path, {"spec": spec})


def in_mode(plane: ControlPlane, cluster: Cluster, bot: Identity, mode: Mode) -> None:
    """Another mode in force, seen by what becomes of an unbound request."""
    apply_policy(cluster, POLICY.model_copy(update={"mode": mode}))
    eventually(
        f"mode {mode}",
        lambda: bool(ask(plane, bot).warnings) == (mode == "warn") and ask(plane, bot).code == 201,
    )


def run(plane: ControlPlane, verb: str, *arguments: str) -> int:
    """Run `daypass policy ...`; return its exit code."""
    return cli.main(["policy", verb, "--kubeconfig", str(plane.kubeconfig), *arguments])


def policy_check(
    plane: ControlPlane, capsys: pytest.CaptureFixture[str], bot: Identity, *arguments: str
) -> tuple[int, dict[str, Any]]:
    """`policy check --output json`: exit code and what it says."""
    capsys.readouterr()
    whose = ("-n", bot.namespace, "--service-account", bot.service_account)
    code = run(plane, "check", *whose, "--output", "json", *arguments)
    return code, json.loads(capsys.readouterr().out)


def test_a_token_bound_to_its_own_secret_is_issued_and_an_unbound_one_is_not(
    plane: ControlPlane, bot: Identity
) -> None:
    assert ask(plane, bot, boundObjectRef=bot.bound_object_ref).code == 201
    refused = ask(plane, bot)
    assert refused.code == 403
    assert f" {bot.service_account}-daypass-<" in refused.message
    check(_own(refused.message), reason="binding")


def test_a_token_cannot_be_bound_to_the_secret_of_a_longer_name(
    plane: ControlPlane, bot: Identity
) -> None:
    other = plane.make_identity(bot.namespace, f"{bot.service_account}-daypass")
    assert ask(plane, bot, boundObjectRef=other.bound_object_ref).code == 403
    assert ask(plane, other, boundObjectRef=other.bound_object_ref).code == 201


def test_a_short_lived_token_cannot_request_another(plane: ControlPlane, bot: Identity) -> None:
    spec: dict[str, Any] = {
        "audiences": ["https://kubernetes.default.svc"],
        "boundObjectRef": bot.bound_object_ref,
    }
    path = f"/api/v1/namespaces/{bot.namespace}"
    override = {labels.POLICY_AUDIENCES: f"https://kubernetes.default.svc {GATE}"}
    plane.admin.patch(path, {"metadata": {"annotations": override}})
    first = eventually("the override counts", lambda: _made(ask(plane, bot, **spec)))
    body = {"spec": {**spec, "audiences": [GATE]}}
    with_it = {"Authorization": f"Bearer {first}"}
    answer = plane.client().request("POST", bot.token_path, body, headers=with_it)
    assert answer.code == 403
    assert "successors: " in answer.message
    check(_own(answer.message), reason="successors")


def _own(message: str) -> str:
    """What the policy says, without what the API server puts before it."""
    return message.partition(" denied request: ")[2]


def _made(answer: Answer) -> str | None:
    return str(answer.json["status"]["token"]) if answer.code == 201 else None


def test_a_dry_run_is_held_to_the_policy_since_it_issues_a_real_token(
    plane: ControlPlane, bot: Identity
) -> None:
    body = {"spec": {"audiences": [GATE], "expirationSeconds": 600}}
    target = f"{bot.token_path}?dryRun=All"
    assert plane.client(bot.token).request("POST", target, body).code == 403


def test_a_huge_list_of_audiences_does_not_keep_the_api_server_busy(
    plane: ControlPlane, bot: Identity
) -> None:
    """It did for half a minute, which is longer than this client waits, while it looked at each."""
    assert ask(plane, bot, audiences=[GATE] * 100_000).code == 403


def test_in_mode_warn_the_token_is_made_with_a_warning(
    plane: ControlPlane, cluster: Cluster, bot: Identity
) -> None:
    in_mode(plane, cluster, bot, "warn")
    answer = ask(plane, bot)
    assert answer.code == 201
    assert "binding: " in answer.warnings[0]
    assert not ask(plane, bot, boundObjectRef=bot.bound_object_ref).warnings


def test_in_mode_audit_the_violation_is_only_in_the_audit_log(
    plane: ControlPlane, cluster: Cluster, bot: Identity
) -> None:
    in_mode(plane, cluster, bot, "audit")
    position = plane.audit_position()
    answer = ask(plane, bot)
    assert (answer.code, answer.warnings) == (201, [])
    key = "validation.policy.admission.k8s.io/validation_failure"

    def told() -> list[str]:
        events = plane.audit_events(since=position)
        return [event["annotations"][key] for event in events if key in event["annotations"]]

    assert "binding: " in eventually("the audit log tells", told)[0]


@pytest.fixture
def editor(plane: ControlPlane, bot: Identity) -> Iterator[Cluster]:
    """The bot as somebody gave it Kubernetes' own `edit`, next to a ServiceAccount `other`."""
    identities.ensure_service_account(plane.admin, bot.namespace, "other")
    identities.bind(
        plane.admin, bot.namespace, bot.service_account, kind="ClusterRole", role="edit"
    )
    attributes = {"namespace": bot.namespace, "verb": "impersonate", "resource": "serviceaccounts"}
    identities.wait_until_allowed(plane.admin, bot.user, attributes)
    opened = cluster_as(plane, bot.token)
    yield opened
    opened.close()


def test_the_edit_role_cannot_bypass_the_policy_with_other_service_accounts(
    plane: ControlPlane, bot: Identity, editor: Cluster
) -> None:
    own = bot.bound_object_ref
    for reference in (own, {}):
        assert "binding: " in ask(plane, bot, "other", boundObjectRef=reference).message
    named = {**own, "name": f"other-daypass-{'a' * 20}"}
    assert ask(plane, bot, "other", boundObjectRef=named, expirationSeconds=43_201).code == 403
    assert ask(plane, bot, "other", boundObjectRef=named, audiences=["x"]).code == 403


def test_the_edit_role_cannot_bypass_the_policy_by_impersonation(
    plane: ControlPlane, bot: Identity, editor: Cluster
) -> None:
    path = identities.token_path(bot.namespace, "other")
    body = {"spec": {"audiences": [GATE], "expirationSeconds": 600}}
    speaking = {"Impersonate-User": f"system:serviceaccount:{bot.namespace}:other"}
    identities.bind(plane.admin, bot.namespace, "other", kind="ClusterRole", role="edit")
    answer = eventually(
        "other may ask",
        lambda: _unless(
            "cannot create",
            plane.client(bot.token).request("POST", path, body, headers=speaking),
        ),
    )
    assert "binding: " in answer.message
    speaking = {"Impersonate-User": "system:serviceaccount:kube-system:default"}
    answer = plane.client(bot.token).request("POST", path, body, headers=speaking)
    assert "cannot impersonate" in answer.message


def _unless(word: str, answer: Answer) -> Answer | None:
    return None if word in answer.message else answer


@pytest.mark.parametrize("role", ["edit", "admin"])
def test_no_role_in_a_namespace_can_change_what_the_policy_reads(
    plane: ControlPlane, bot: Identity, editor: Cluster, role: str
) -> None:
    identities.bind(plane.admin, bot.namespace, "bot", kind="ClusterRole", role=role)
    attributes = {"namespace": bot.namespace, "verb": "get", "resource": "namespaces"}
    identities.wait_until_allowed(plane.admin, bot.user, attributes)
    change = {"metadata": {"annotations": {labels.POLICY_BINDING: "optional"}}}
    with pytest.raises(ForbiddenError):
        editor.patch(NAMESPACES, bot.namespace, change)
    with pytest.raises(ForbiddenError):
        editor.patch(NAMESPACES, bot.namespace, {"metadata": {"labels": {labels.POLICY: None}}})
    for resource in (VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS):
        with pytest.raises(ForbiddenError):
            editor.delete(resource, labels.POLICY_NAME)


def test_the_policy_ignores_config_maps(
    plane: ControlPlane, bot: Identity, editor: Cluster
) -> None:
    metadata = {"name": labels.POLICY_NAME, "namespace": bot.namespace}
    settings = {"binding": "optional", "longestLifetime": "720h"}
    editor.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": settings})
    assert editor.find(CONFIG_MAPS, labels.POLICY_NAME, bot.namespace)
    assert ask(plane, bot).code == 403


def test_the_edit_role_can_bind_a_token_to_a_secret_that_it_creates(
    plane: ControlPlane, bot: Identity, editor: Cluster
) -> None:
    """What the policy cannot see, and docs/policy.md says: a Secret is known by its name alone."""
    metadata = {"name": f"other-daypass-{'z' * 20}", "namespace": bot.namespace}
    made = editor.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    reference = {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": metadata["name"],
        "uid": made["metadata"]["uid"],
    }
    assert ask(plane, bot, "other", boundObjectRef=reference).code == 201


def test_check_reports_what_the_cluster_would_answer(
    plane: ControlPlane, bot: Identity, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--config", str(config)]
    code, said = policy_check(plane, capsys, bot, *named)
    assert (code, said["verdict"], said["brokenRules"], said["findings"]) == (0, "allowed", [], [])
    assert (said["mode"], said["held"], said["drift"]) == ("deny", True, [])
    for arguments, rule in (
        (["--lifetime", "13h"], "lifetime"),
        (["--audience", "x"], "audiences"),
        (["--unbound"], "binding"),
        (["--secret", f"{bot.service_account}-token"], "binding"),
    ):
        code, said = policy_check(plane, capsys, bot, *named, *arguments)
        assert (code, said["verdict"], said["brokenRules"]) == (3, "denied", [rule])
        assert said["message"].startswith(f"{rule}: ")
        check(said["message"], reason=rule)
    code, said = policy_check(plane, capsys, bot, *named, "--secret", bot.secret_name)
    assert (code, said["verdict"]) == (0, "allowed")


def test_check_makes_no_token(
    plane: ControlPlane, bot: Identity, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even where everything would be allowed."""
    free = {labels.POLICY_BINDING: "optional", labels.POLICY_LONGEST_LIFETIME: "9999d"}
    plane.admin.patch(f"/api/v1/namespaces/{bot.namespace}", {"metadata": {"annotations": free}})
    path = identities.token_path(bot.namespace, bot.service_account)
    eventually("the override counts", lambda: ask(plane, bot).code == 201)
    position = plane.audit_position()
    for arguments in (["--unbound"], [], ["--secret", bot.secret_name], ["--lifetime", "9000d"]):
        code, said = policy_check(plane, capsys, bot, "--config", str(config), *arguments)
        assert (code, said["verdict"]) == (0, "allowed"), said

    def codes() -> list[int] | None:
        events = [e for e in plane.audit_events(since=position) if e["requestURI"] == path]
        return [e["responseStatus"]["code"] for e in events] if len(events) == 4 else None

    assert eventually("four requests are logged", codes) == [400, 404, 409, 404]


def test_check_distinguishes_rbac_from_the_policy_and_needs_no_config(
    plane: ControlPlane,
    bot: Identity,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_jane = ("--unbound", "--audience", GATE, "--as", "jane")
    code, said = policy_check(plane, capsys, bot, "--config", str(config), *as_jane)
    assert (code, said["verdict"], said["brokenRules"]) == (3, "forbidden", ["binding"])
    assert 'User "jane" cannot create' in said["message"]
    (config.parent / "elsewhere").mkdir()
    monkeypatch.chdir(config.parent / "elsewhere")
    code, said = policy_check(plane, capsys, bot, "--audience", GATE, "--unbound")
    assert (code, said["verdict"]) == (3, "denied")
    assert (said["drift"], said["brokenRules"]) == (None, None)


def test_check_reports_drift_and_missing_parts(
    plane: ControlPlane,
    cluster: Cluster,
    config: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    free = plane.make_identity(held_namespace(plane, {f"{labels.OVERRIDES}x": "1"}, held=False))
    config.write_text(CONFIG.replace("12h", "11h").replace("gate.example.com]", "g], mode: warn"))
    code, said = policy_check(plane, capsys, free, "--config", str(config), "--audience", GATE)
    assert (code, said["verdict"], said["held"]) == (3, "allowed", False)
    assert said["drift"] == [
        "ValidatingAdmissionPolicy spec.variables",
        "ValidatingAdmissionPolicyBinding spec.validationActions",
    ]
    for value in (f" {labels.POLICY}=enforced", f" {labels.OVERRIDES}x "):
        (finding,) = (each for each in said["findings"] if value in each)
        check(finding, reason="finding")
    before = said["findings"]
    cluster.delete(VALIDATING_ADMISSION_POLICY_BINDINGS, labels.POLICY_NAME)
    _, said = policy_check(plane, capsys, free, "--config", str(config))
    (finding,) = (each for each in said["findings"] if each not in before)
    check(finding, reason="finding")
    before = said["findings"]
    cluster.delete(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    _, said = policy_check(plane, capsys, free, "--config", str(config))
    assert said["findings"][0] not in before
    check(said["findings"][0], reason="finding")


def test_check_prints_policy_namespace_request_and_answer(
    plane: ControlPlane, bot: Identity, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whose = ("-n", bot.namespace, "--service-account", "bot")
    run(plane, "check", *whose, "--lifetime", "13h", "--config", str(config))
    out = capsys.readouterr().out
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert [row[0] for row in rows] == ["policy", "namespace", "request", "answer"]
    mode, namespace, request, answer = (row[1] for row in rows)
    assert (mode, namespace) == ("mode deny", bot.namespace)
    for value in (f"bot for {GATE}, 46800 s", "bot-daypass-00000000000000000000",
                  f"system:serviceaccount:{bot.namespace}:bot"):  # fmt: skip
        assert value in request
    assert answer.startswith("denied: lifetime: ")
    assert " 43200 s" in answer
    assert " 46800 s" in answer
    check(out, reason="policy-check")


def test_check_prints_no_control_characters(
    plane: ControlPlane, bot: Identity, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"metadata": {"annotations": {labels.POLICY_BINDING: "\x1b[2J\nanswer allowed"}}}
    plane.admin.patch(f"/api/v1/namespaces/{bot.namespace}", change)
    run(plane, "check", "-n", bot.namespace, "--service-account", "bot", "--config", str(config))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\nanswer allowed" not in out


def test_policy_apply_reports_where_the_policy_is_in_force(
    plane: ControlPlane, bot: Identity, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(plane, "apply", "--config", str(config)) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("validatingadmissionpolicies/daypass") == 1
    seen = message_with(err, "mode deny")
    check(line_with(err, "validatingadmissionpolicies/daypass"), reason="applied")
    check(seen, reason="in-force")


def test_a_dry_run_of_apply_changes_nothing(
    plane: ControlPlane, cluster: Cluster, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    config.write_text(CONFIG.replace("12h", "1h"))
    assert run(plane, "apply", "--dry-run", "--config", str(config)) == 0
    line = line_with(capsys.readouterr().err, "validatingadmissionpolicies/daypass")
    check(line, reason="dry-run")
    assert cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME) == before


def test_policy_apply_restores_changed_fields_and_refuses_an_added_match_condition(
    plane: ControlPlane, cluster: Cluster
) -> None:
    change = {"spec": {"failurePolicy": "Ignore"}}
    cluster.patch(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME, change)
    apply_policy(cluster, POLICY)
    found = cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    assert found["spec"]["failurePolicy"] == "Fail"
    # A condition of somebody else outlives server-side apply, and could let all requests pass.
    found["spec"]["matchConditions"].append({"name": "hole", "expression": "false"})
    path = VALIDATING_ADMISSION_POLICIES.path(None, labels.POLICY_NAME)
    assert plane.admin.request("PUT", path, found).code == 200
    with raises(DaypassError, match=r"spec\.matchConditions"):
        apply_policy(cluster, POLICY)
