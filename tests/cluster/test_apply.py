"""From a bare cluster to applied manifests and back, on a real API server."""

from __future__ import annotations

import base64
import copy
import json
from contextlib import closing
from pathlib import Path

import pytest

from cluster.conftest import Run
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.labels import MANAGED_BY
from daypass.deploy.apply import execute
from daypass.deploy.cluster_state import INVENTORY, MissingError, read_cluster_state
from daypass.deploy.plan import RejectedObjectsError
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError
from daypass.kube.resources import CONFIG_MAPS, ENVOY_FILTERS, NAMESPACES, SECRETS
from daypass.render.names import GATE_KEYS
from daypass.rules.published import NAMES
from support.authority import Authority
from support.clusters import cluster_as
from support.controlplane import ControlPlane
from support.crds import install_gateway_api, install_istio
from support.deadline import eventually
from support.deploying import (
    BOTH,
    GATE,
    ONLY_EKF,
    QUICK_APPLY,
    apply,
    everything,
    plan,
    prepare,
    remove,
    settle,
    write,
)
from support.identities import RBAC, bound_cluster_wide, wait_until_allowed
from support.messages import check, line_with, message_with, raises
from support.repositories import add_hook, git, make_repository

pytestmark = pytest.mark.usefixtures("cleared")

DEPLOYMENT = "/apis/apps/v1/namespaces/daypass/deployments/daypass-door"
INGRESS = "/apis/networking.k8s.io/v1/namespaces/daypass/ingresses/daypass-domain-ekf"
GATEWAY_API = """\
version: 1
domains:
  gw: {host: gw.example.com, front: gateway-api, className: eg, tls: {secret: gw-tls}}
"""


def prepare_plane(plane: ControlPlane) -> None:
    """What is applied are singletons."""
    prepare(plane, (install_istio, install_gateway_api), "istio-system")


def writes(plane: ControlPlane, since: int) -> list[str]:
    """What the admin has changed since then, dry runs aside."""
    return [each for each in plane.admin_writes(since=since) if "dryRun" not in each]


def test_apply_and_remove_leave_a_cluster_exactly_as_it_was(
    cluster: Cluster, folder: Path, run: Run
) -> None:
    before = everything(cluster)
    opened = message_with(run(*QUICK_APPLY, "--yes")[1], "https://serving.example.com/kubernetes")
    check(opened, reason="opens-more")
    made = everything(cluster).keys() - before.keys()
    names = {kind.split(" ")[1] for kind, _, _ in made}
    assert {"Deployment", "Ingress", "Gateway", "VirtualService", "DestinationRule"} <= names
    run("diff")
    write(folder, f"{BOTH}{GATE}")
    run(*QUICK_APPLY, "--yes")
    run("gate", "watch", "--once")  # what it publishes is removed, too
    assert cluster.find(ENVOY_FILTERS, GATE_KEYS, "istio-system")
    for name in NAMES:
        assert cluster.find(ENVOY_FILTERS, name, "istio-system")
        assert cluster.find(CONFIG_MAPS, name, "daypass")
    run("remove", "--yes")
    after = everything(cluster)
    assert {k: v[0] for k, v in after.items()} == {k: v[0] for k, v in before.items()}


def test_a_second_apply_tries_and_writes_nothing_and_keeps_fields_of_others(
    plane: ControlPlane, cluster: Cluster, run: Run
) -> None:
    run(*QUICK_APPLY, "--yes")
    plane.admin.patch(INGRESS, {"metadata": {"annotations": {"theirs": "stays"}}})
    settle(cluster)
    before, since = everything(cluster), plane.audit_position()
    out, err = run(*QUICK_APPLY)
    assert writes(plane, since) == []
    # What is as it was applied needs not even a dry run.
    assert not [event for event in plane.audit_events(since=since) if event["verb"] == "patch"]
    assert everything(cluster) == before
    assert plane.admin.get(INGRESS)["metadata"]["annotations"]["theirs"] == "stays"
    assert out == ""
    host = plane.url.removeprefix("https://")
    check(message_with(err, f"{host}: "), reason="unchanged")


def test_removing_a_domain_deletes_its_objects_and_no_others(cluster: Cluster) -> None:
    apply(cluster, BOTH)
    before = everything(cluster)
    done = apply(cluster, ONLY_EKF)
    assert (done.removed, done.left) == (4, ())
    gone = {(kind.split(" ")[1], ns) for kind, ns, _ in before.keys() - everything(cluster).keys()}
    assert gone == {
        ("Gateway", "istio-system"),
        ("VirtualService", "daypass"),
        ("DestinationRule", "daypass"),
        ("Secret", "istio-system"),
    }


def test_an_object_recreated_by_another_user_is_not_pruned(
    plane: ControlPlane, cluster: Cluster
) -> None:
    apply(cluster, BOTH)
    path = "/apis/networking.istio.io/v1/namespaces/daypass/virtualservices/daypass-domain-serving"
    theirs = plane.admin.get(path)
    plane.admin.delete(path)
    theirs["metadata"] = {k: theirs["metadata"][k] for k in ("name", "namespace", "labels")}
    made = plane.admin.create(path.rpartition("/")[0], theirs)
    done = apply(cluster, ONLY_EKF)
    assert [(r.ref.name, r.action) for r in done.left] == [("daypass-domain-serving", "leave")]
    assert plane.admin.get(path)["metadata"]["uid"] == made["metadata"]["uid"]
    plane.admin.delete(path)


def test_a_field_of_another_manager_is_reported_and_kept_unless_forced(
    plane: ControlPlane, folder: Path, run: Run
) -> None:
    run(*QUICK_APPLY, "--yes")
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 77}}}}
    plane.admin.patch(f"{DEPLOYMENT}?fieldManager=their-tool", change)
    write(folder, ONLY_EKF)
    since = plane.audit_position()
    assert "-      terminationGracePeriodSeconds: 77\n" in run("diff", code=3)[0]
    error = message_with(run(*QUICK_APPLY, "--yes", code=1)[1], "--force-conflicts")
    field = ".spec.template.spec.terminationGracePeriodSeconds"
    check(error, "Deployment daypass/daypass-door: ", field, '"their-tool"', reason="conflict")
    assert writes(plane, since) == []
    run(*QUICK_APPLY, "--force-conflicts")
    spec = plane.admin.get(DEPLOYMENT)["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] != 77


def test_exposing_more_asks_for_confirmation_and_without_it_changes_nothing(
    plane: ControlPlane, folder: Path, run: Run
) -> None:
    write(folder, ONLY_EKF)
    run(*QUICK_APPLY, "--yes")
    write(folder, BOTH.replace("[gate.example.com]", "[gate.example.com, other], mode: warn"))
    since, files = plane.audit_position(), sorted((folder / "deploy").rglob("*"))
    _, told = run(*QUICK_APPLY, code=2)
    opened = message_with(told, "https://serving.example.com/kubernetes")
    audiences, mode = (line_with(opened, key) for key in ("policy.audiences", "policy.mode"))
    assert "other" in audiences
    assert "warn" in mode
    assert "deny" in mode
    check(opened, reason="opens-more")
    check(message_with(told, "daypass apply --yes --no-commit"), reason="not-confirmed")
    assert writes(plane, since) == []
    assert sorted((folder / "deploy").rglob("*")) == files


def test_what_ends_is_shown_and_a_gate_that_refuses_more_asks_for_confirmation(
    plane: ControlPlane, folder: Path, run: Run
) -> None:
    every = GATE.replace("hosts: [", "hosts: ['*', ").replace(
        "default: {", "default: {login: keep, "
    )
    write(folder, f"{BOTH}{every}")
    run(*QUICK_APPLY, "--yes")
    refusing = f"{BOTH}{every}".replace("login: keep", "login: none")
    write(folder, refusing)
    since = plane.audit_position()
    _, told = run(*QUICK_APPLY, code=2)
    check(message_with(told, "every host of its gateway"), reason="refuses")
    assert writes(plane, since) == []
    write(folder, refusing.replace("login: none", "login: keep").replace("ekf.", "new."))
    assert "https://ekf.example.com/kubernetes" in run("diff", code=3)[1]
    assert "https://ekf.example.com/kubernetes" in run(*QUICK_APPLY, "--yes")[1]


def test_remove_says_what_it_opens_and_which_identities_stay(
    plane: ControlPlane, folder: Path, run: Run
) -> None:
    namespace = plane.make_namespace()
    write(folder, f"{BOTH}{GATE}")
    run(*QUICK_APPLY, "--yes")
    run("identity", "create", "bot", "-n", namespace, "--domain", "ekf", "--no-wait")
    _, told = run("remove", "--dry-run")
    assert namespace in message_with(told, "identities stay")
    opened = message_with(told, "this opens more")
    assert "kubeflow-userid" in line_with(opened, "gates.default: ")
    assert "policy: " in opened
    _, told = run("remove", code=2)  # before it asks
    check(message_with(told, "kubeflow-groups"), "policy: ", reason="opens-more")
    stays = message_with(told, f"1 in {namespace}")
    check(stays, "daypass identity delete ", reason="stays", hide=r"\d+ in [^\n]*")
    run("remove", "--yes")
    plane.admin.delete(f"/api/v1/namespaces/{namespace}")


@pytest.mark.parametrize(
    ("before", "after", "missing", "hint"),
    [
        ("{secret: ekf-tls}", "{issuer: x}", r"Certificate \(cert-manager.io/v1\)", "issuer"),
        ("version: 1", "version: 1\nmetrics: {alerts: true}", "PrometheusRule", "`metrics`"),
        ("front: istio,", "front: istio, frontNamespace: nowhere,", "nowhere", "frontNamespace"),
    ],
    ids=["kind", "monitoring", "namespace"],
)
def test_missing_kinds_and_namespaces_are_named_before_anything_is_applied(
    plane: ControlPlane, cluster: Cluster, before: str, after: str, missing: str, hint: str
) -> None:
    since = plane.audit_position()
    with raises(MissingError, match=missing) as raised:
        plan(cluster, BOTH.replace(before, after))
    assert hint in raised.value.hint
    assert writes(plane, since) == []


def test_all_missing_rights_are_reported_at_once(plane: ControlPlane, cluster: Cluster) -> None:
    apply(cluster, ONLY_EKF)
    bot, admin = plane.make_identity(), plane.admin
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]
    admin.create(f"{RBAC}/clusterroles", {"metadata": {"name": "reader"}, "rules": rules})
    with bound_cluster_wide(admin, "reader", bot), closing(cluster_as(plane, bot.token)) as holder:
        attributes = {"verb": "list", "resource": "*", "group": "*"}
        wait_until_allowed(admin, bot.user, attributes)
        with pytest.raises(RejectedObjectsError) as raised:
            plan(holder, BOTH)
    told = str(raised.value)
    for resource in ("deployments", "configmaps", "virtualservices"):
        assert f'resources: ["{resource}"]' in told
    check(raised.value)


def test_a_dry_run_changes_nothing_and_no_secret_is_shown(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    since = plane.audit_position()
    dry = run(*QUICK_APPLY, "--dry-run")
    assert writes(plane, since) == []
    assert not (folder / "deploy").exists()
    assert "tls.key: '(not shown" in dry[0] or "tls.key: (not shown" in dry[0]
    check(message_with(dry[1], "ekf-tls"), "kubectl create secret tls ekf-tls", reason="missing")
    wet = run(*QUICK_APPLY, "--yes")
    key = cluster.get(SECRETS, "daypass-door-tls", "daypass")["data"]["tls.key"]
    plain = base64.b64decode(key).decode()
    for text in (*dry, *wet, *run("diff")):
        assert "PRIVATE KEY" not in text
        assert key not in text
        assert plain.splitlines()[1] not in text


def test_diff_finds_drift_between_config_files_git_and_cluster(
    plane: ControlPlane, cluster: Cluster, folder: Path, run: Run
) -> None:
    make_repository(folder)
    run("apply", "--yes", "--no-wait")
    run("diff")

    file = folder / "deploy" / "base" / "service.yaml"
    text = file.read_text()
    file.write_text(text.replace("443", "444"))
    run("diff", code=3)
    file.write_text(text)
    plane.admin.delete(INGRESS)
    compared, _ = run("diff", code=3)
    assert line_with(compared, "create  ").split()[:2] == ["create", "Ingress"]

    run(*QUICK_APPLY, "--yes")
    run("diff")
    write(folder, BOTH + "door: {replicas: 3}\n")
    run("diff", code=3)
    run(*QUICK_APPLY, "--yes")
    check(message_with(run("diff", code=3)[1], "daypass.yaml"), reason="uncommitted")


def test_a_namespace_that_existed_before_is_restored_and_kept(
    plane: ControlPlane, cluster: Cluster
) -> None:
    labels = {"owner": "platform"}
    plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "daypass", "labels": labels}})
    before = plane.admin.get("/api/v1/namespaces/daypass")
    apply(cluster, ONLY_EKF)
    assert MANAGED_BY in plane.admin.get("/api/v1/namespaces/daypass")["metadata"]["labels"]
    remove(cluster)
    after = plane.admin.get("/api/v1/namespaces/daypass")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert cluster.find(CONFIG_MAPS, INVENTORY, "daypass") is None
    plane.admin.delete("/api/v1/namespaces/daypass")


def test_a_namespace_is_kept_while_it_holds_objects_of_others(
    plane: ControlPlane, cluster: Cluster, run: Run
) -> None:
    run(*QUICK_APPLY, "--yes")
    secrets = "/api/v1/namespaces/daypass/secrets"
    plane.admin.create(secrets, {"metadata": {"name": "ekf-tls"}})
    since = plane.audit_position()
    check(message_with(run("remove", "--no-wait", code=2)[1], "daypass remove --yes --no-wait"))
    assert writes(plane, since) == []
    out, err = run("remove", "--yes")
    kept = line_with(out, "Secret ekf-tls")
    assert kept.split()[:3] == ["keep", "Namespace", "daypass:"]
    check(kept, reason="keep")
    check(message_with(err, "Secret ekf-tls"), reason="left")
    assert plane.admin.get(f"{secrets}/ekf-tls")
    assert not [k for k in everything(cluster) if k[2].startswith("daypass-door")]
    plane.admin.delete(f"{secrets}/ekf-tls")
    run("remove", "--yes")
    assert cluster.find(NAMESPACES, "daypass") is None
    check(run("remove", "--yes")[1], reason="nothing-to-remove")


def test_the_door_moves_to_another_namespace_and_leaves_the_old_one_empty(cluster: Cluster) -> None:
    apply(cluster, BOTH)
    moved = BOTH + "door: {namespace: edge}\n"
    planned = plan(cluster, moved)
    assert planned.widened == ()
    apply(cluster, moved)
    eventually("the old one goes", lambda: cluster.find(NAMESPACES, "daypass") is None)
    state = read_cluster_state(cluster)
    assert [inventory.namespace for inventory in state.inventories] == ["edge"]
    assert {i.namespace for i in state.entries} == {"", "edge", "istio-system"}


def test_a_forged_inventory_entry_removes_nothing(plane: ControlPlane, cluster: Cluster) -> None:
    apply(cluster, ONLY_EKF)
    victim = plane.make_namespace()
    path = f"/api/v1/namespaces/{victim}"
    published = f"{path}/configmaps/kube-root-ca.crt"
    eventually("a controller has made it", lambda: plane.admin.find(published))
    annotations = {"cert-manager.io/certificate-name": "theirs"}
    secret = plane.admin.create(
        f"{path}/secrets", {"metadata": {"name": "theirs", "annotations": annotations}}
    )
    forged = {
        f"_{victim}__Namespace": {
            "apiVersion": "v1", "uid": plane.admin.get(path)["metadata"]["uid"],
        },
        f"{victim}_kube-root-ca.crt__ConfigMap": {"apiVersion": "v1"},
        f"{victim}_theirs__Secret": {"apiVersion": "v1", "certificate": "theirs"},
    }  # fmt: skip
    data = {key: json.dumps(value) for key, value in forged.items()}
    plane.admin.patch(f"/api/v1/namespaces/daypass/configmaps/{INVENTORY}", {"data": data})
    done = remove(cluster)
    assert {r.ref.key for r in done.left} == forged.keys()
    assert "deletionTimestamp" not in plane.admin.get(path)["metadata"]
    assert plane.admin.get(f"{path}/secrets/theirs")["metadata"] == secret["metadata"]


def test_of_two_concurrent_applies_only_one_writes(cluster: Cluster) -> None:
    apply(cluster, ONLY_EKF)
    mine = plan(cluster, BOTH)
    apply(cluster, BOTH)
    with raises(DaypassError, match="daypass diff"):
        execute(mine)


def test_a_certificate_of_another_owner_is_used_and_never_changed(
    plane: ControlPlane, cluster: Cluster
) -> None:
    authority = Authority()
    pair = authority.server("daypass-door.daypass.svc")
    encoded = {
        name: base64.b64encode(text.encode()).decode()
        for name, text in {
            "ca.crt": pair.key_pem + authority.pem,  # a slip of theirs, that must not be copied
            "tls.crt": pair.certificate_pem,
            "tls.key": pair.key_pem,
        }.items()
    }
    plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "daypass"}})
    path = "/api/v1/namespaces/daypass/secrets"
    plane.admin.create(path, {"metadata": {"name": "daypass-door-tls"}, "data": encoded})
    before = plane.admin.get(f"{path}/daypass-door-tls")
    apply(cluster, GATEWAY_API)
    copied = cluster.get(CONFIG_MAPS, "daypass-door-trust", "daypass")["data"]["ca.crt"]
    assert copied.strip() == authority.pem.strip()
    remove(cluster)
    assert plane.admin.get(f"{path}/daypass-door-tls") == before
    plane.admin.delete("/api/v1/namespaces/daypass")


def test_a_field_that_the_api_server_does_not_know_is_refused_and_not_left_out(
    cluster: Cluster,
) -> None:
    apply(cluster, BOTH)
    for change in plan(cluster, BOTH + "door: {replicas: 3}\n").changes:
        if change.ref.kind in ("DestinationRule", "Deployment"):
            document = copy.deepcopy(change.document)
            document["spec"]["verifies"] = True
            with pytest.raises(ApiError, match="verifies"):
                cluster.apply(document, dry_run=True, strict=True)


def test_apply_commits_first_and_applies_nothing_without_the_commit(
    plane: ControlPlane, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "README").write_text("deployments\n")
    make_repository(folder)
    add_hook(folder, "pre-commit", "echo ask somebody >&2; exit 1")
    since = plane.audit_position()
    run("apply", "--no-wait", code=2)  # nobody has said yes
    assert not (folder / "deploy").exists()
    elsewhere = ("--directory", str(folder / "files"))
    _, told = run("apply", "--no-wait", "--yes", *elsewhere, code=1)
    assert " ".join(elsewhere) in line_with(told, "daypass apply --no-commit")
    refused = message_with(run("apply", "--no-wait", "--yes", code=1)[1], "ask somebody")
    check(refused, "daypass apply --no-commit", reason="not-committed")
    assert writes(plane, since) == []
    (folder / ".git/hooks/pre-commit").unlink()
    _, told = run("apply", "--no-wait", "--yes")
    commit = git(folder, "rev-parse", "--short", "HEAD").strip()
    message = message_with(told, commit)
    check(message, "[main ", reason="committed", hide=commit)
    assert (
        git(folder, "show", "-s", "--format=%s").strip()
        == "Apply base, domains/ekf, domains/serving and policy"
    )
    run("diff")
    run("apply", "--no-wait")
    assert git(folder, "rev-list", "--count", "HEAD").strip() == "2"
