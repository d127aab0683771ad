"""What an older daypass made in a cluster is listed, rotated, revoked, removed and applied over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from compat.conftest import Run
from compat.loading import DATA, OldCluster, is_token_secret, read
from support.admin import Document
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.kubeflow import install_kubeflow

GRANT = "user-system-serviceaccount-team-{}-clusterrole-view"
FILTERS = "/apis/networking.istio.io/v1alpha3/namespaces/istio-system/envoyfilters"
DENIED = read("cluster/denied.json")["jti"]
QUIETLY = ("apply", "--yes", "--no-commit", "--no-wait")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldCluster]:
    with ControlPlane.start(tmp_path_factory.mktemp("old-cluster")) as plane:
        install_kubeflow(plane)
        for name in ("istio-system", "alice"):
            plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        yield OldCluster(plane)


@pytest.fixture
def old(cluster: OldCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OldCluster:
    """The cluster as the older one left it, for an administrator with its config."""
    cluster.load()
    config = (DATA / "cluster/daypass.yaml").read_text()
    # Its message says so.
    (tmp_path / "daypass.yaml").write_text(config.replace("check: both", "check: review"))
    monkeypatch.setenv("KUBECONFIG", str(cluster.plane.kubeconfig))
    return cluster


def secrets_of(old: OldCluster, name: str) -> list[Document]:
    """The token Secrets of an identity, as they are now."""
    listed = old.plane.admin.get("/api/v1/namespaces/team/secrets")["items"]
    return [
        each
        for each in listed
        if is_token_secret(each)
        and each["metadata"]["annotations"]["kubernetes.io/service-account.name"] == name
    ]


def names(old: OldCluster, collection: str) -> list[str]:
    return [each["metadata"]["name"] for each in old.plane.admin.get(collection)["items"]]


def identity(run: Run, name: str) -> Any:
    return run("identity", "show", name, "-n", "team", "-o", "json")


def test_all_identities_are_listed(old: OldCluster, run: Run) -> None:
    listed = run("identity", "list", "-A", "-o", "json")["identities"]
    made = {
        each["object"]["metadata"]["name"]
        for each in old.others
        if each["object"]["kind"] == "ServiceAccount"
    }
    assert made == {"bot", "worker", "leaver", "leaked", "ci"}
    assert made <= {each["name"] for each in listed}
    for name in made:
        (found,) = (each for each in listed if each["name"] == name)
        assert found["namespace"] == "team"
        assert found["door"] == "https://ekf.example.com/kubernetes"


def test_an_identity_shows_its_grants_and_its_tokens(old: OldCluster, run: Run) -> None:
    text = json.dumps(identity(run, "leaver"))
    assert "alice" in text
    assert "kubeflow-view" in text
    for secret in secrets_of(old, "leaver"):
        assert secret["metadata"]["name"] in text


def test_a_federated_identity_is_shown_as_one_and_is_deleted(old: OldCluster, run: Run) -> None:
    assert identity(run, "ci")["federated"] is True
    run("identity", "delete", "ci", "-n", "team", "--yes", "--no-wait")
    assert old.find("ServiceAccount", "ci", "team") is None
    assert old.find("Role", "ci-daypass-token", "team") is None
    assert old.find("RoleBinding", "ci-daypass-federated", "team") is None


def test_a_federated_identity_gets_an_anchor_when_it_is_federated_again(
    old: OldCluster, run: Run, tmp_path: Path
) -> None:
    def codes() -> set[str]:
        return {each["code"] for each in identity(run, "ci")["findings"]}

    assert "no-anchor" in codes()
    then = read("credentials/federated-github.json")
    (tmp_path / "ci.json").write_text(json.dumps(then))
    run(
        "identity", "federate", "ci", "-n", "team", "--issuer", "https://ci.example.com",
        "--subject", "repo:a/b", "--source", "github", "--credentials-out", "ci.json", "--no-wait",
    )  # fmt: skip
    assert "no-anchor" not in codes()
    now = json.loads((tmp_path / "ci.json").read_text())
    assert now == {**then, "secretName": now["secretName"]}
    assert now["secretName"] in names(old, "/api/v1/namespaces/team/secrets")
    run("identity", "revoke", "ci", "-n", "team", "--no-wait")
    assert now["secretName"] not in names(old, "/api/v1/namespaces/team/secrets")
    assert "no-anchor" in codes()


def test_an_identity_is_rotated_into_the_same_credentials(
    old: OldCluster, run: Run, tmp_path: Path
) -> None:
    before = {each["metadata"]["uid"] for each in secrets_of(old, "bot")}
    run("identity", "rotate", "bot", "-n", "team", "--no-wait")
    after = {each["metadata"]["uid"] for each in secrets_of(old, "bot")}
    assert before < after
    assert len(after) == len(before) + 1
    then, now = read("credentials/token.json"), json.loads((tmp_path / "bot.json").read_text())
    assert now["token"] != then["token"]
    assert {**now, "token": ""} == {**then, "token": ""}


def test_what_was_rotated_out_is_deleted_by_a_rotation_without_overlap(
    old: OldCluster, run: Run
) -> None:
    """The older one had rotated it, and left the old Secret until its time."""
    assert len(secrets_of(old, "worker")) >= 2
    run("identity", "rotate", "worker", "-n", "team", "--overlap", "0", "--no-wait")
    assert len(secrets_of(old, "worker")) == 1


def test_an_identity_is_revoked(old: OldCluster, run: Run) -> None:
    assert secrets_of(old, "bot")
    run("identity", "revoke", "bot", "-n", "team", "--no-wait")
    assert not secrets_of(old, "bot")
    assert old.find("ServiceAccount", "bot", "team") is not None


def test_an_identity_is_deleted_with_its_grants(old: OldCluster, run: Run) -> None:
    run("identity", "delete", "leaver", "-n", "team", "--yes", "--no-wait")
    assert not secrets_of(old, "leaver")
    for kind, name, namespace in (
        ("ServiceAccount", "leaver", "team"),
        ("Role", "leaver-daypass-token", "team"),
        ("RoleBinding", "leaver-daypass-token", "team"),
        ("RoleBinding", GRANT.format("leaver"), "alice"),
        ("AuthorizationPolicy", GRANT.format("leaver"), "alice"),
    ):
        assert old.find(kind, name, namespace) is None, kind
    assert old.find("RoleBinding", GRANT.format("bot"), "alice") is not None


def test_an_authorization_is_taken_back(old: OldCluster, run: Run) -> None:
    run("identity", "unauthorize", "bot", "-n", "team", "--in", "alice")
    assert old.find("RoleBinding", GRANT.format("bot"), "alice") is None
    assert old.find("AuthorizationPolicy", GRANT.format("bot"), "alice") is None


def test_a_denial_is_taken_back(old: OldCluster, run: Run) -> None:
    run("gate", "deny", "--jti", DENIED, "--undo", "--no-wait")
    document = old.get("ConfigMap", "daypass-denied", "daypass")
    assert not document.get("data")
    path = old.path(document)
    old.plane.admin.patch(path, {"data": {f"jti.{DENIED}": "2999-01-01T00:00:00Z"}})


def test_the_policy_is_applied_over_that_of_then(old: OldCluster, run: Run) -> None:
    before = old.get("ValidatingAdmissionPolicy", "daypass")
    run("policy", "apply")
    after = old.get("ValidatingAdmissionPolicy", "daypass")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_names_labels_and_annotations_are_still_rendered(old: OldCluster, run: Run) -> None:
    def head(document: Document) -> tuple[str, ...]:
        metadata = document["metadata"]
        kept = {key: metadata.get(key) or {} for key in ("namespace", "labels", "annotations")}
        return document["apiVersion"], document["kind"], metadata["name"], json.dumps(kept)

    rendered = list(yaml.safe_load_all(run("render")))
    assert sorted(map(head, rendered)) == sorted(map(head, old.manifests))


def test_apply_takes_over_what_was_applied_then_and_remove_removes_it(
    old: OldCluster, run: Run
) -> None:
    before = {old.path(each): old.plane.admin.get(old.path(each)) for each in old.manifests}
    inventory = old.get("ConfigMap", "daypass-inventory", "daypass")
    run(*QUIETLY)
    for path, document in before.items():
        assert old.plane.admin.get(path)["metadata"]["uid"] == document["metadata"]["uid"], path
    after = old.get("ConfigMap", "daypass-inventory", "daypass")
    assert after["metadata"]["uid"] == inventory["metadata"]["uid"]
    assert after["data"].keys() >= inventory["data"].keys()
    run("diff")
    # The watch of then wrote them; nothing reads them any more.
    for collection in (FILTERS, "/api/v1/namespaces/daypass/configmaps"):
        left = ("daypass-gate-known", "daypass-gate-revoked")
        assert not [name for name in names(old, collection) if name.startswith(left)]
    # A namespace stays for what others have put into it, and a denial is an administrator's.
    old.plane.admin.delete("/api/v1/namespaces/daypass/configmaps/daypass-denied")
    run("remove", "--yes")
    for path in before:
        eventually(f"{path} has gone", lambda path=path: old.plane.admin.find(path) is None)  # type: ignore[misc]
    assert not names(old, FILTERS)
    assert not [
        name
        for name in names(old, "/api/v1/namespaces/istio-system/secrets")
        if name.startswith("daypass-")
    ]
    assert old.find("ServiceAccount", "bot", "team") is not None
