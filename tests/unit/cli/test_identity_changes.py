"""What `identity federate`, `rotate` and `show` say about rights and tokens that they change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daypass._core.kubernetes import labels
from daypass.kube.resources import SECRETS
from support.embedded import EmbeddedCluster
from support.lifecycle import make, own_secrets
from support.messages import check, message_with
from support.repositories import git_init
from unit.cli.conftest import Run

MAIN, DEV = "repo:org/app:ref:refs/heads/main", "repo:org/app:ref:refs/heads/dev"
FEDERATE = """identity federate ci --issuer https://ci.example.com --source github
    --credentials-out ci.json --door https://ekf.example.com/kubernetes --audience gate"""
pytestmark = pytest.mark.usefixtures("embedded")


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "another name"), (b"[]", "YAML")],
    ids=["empty", "a list"],
)
def test_a_configuration_to_merge_that_is_none_is_refused(
    run: Run, tmp_path: Path, content: bytes, fault: str
) -> None:
    (tmp_path / "authentication.yaml").write_bytes(content)
    line = f"{FEDERATE} --subject {MAIN} --merge authentication.yaml"
    check(run(line, code=2)[1], "authentication.yaml", fault, reason="usage")


def test_the_credentials_file_of_a_federated_identity_is_replaced_by_its_own_commands_only(
    run: Run, tmp_path: Path
) -> None:
    run(f"{FEDERATE} --subject {MAIN}")
    file = tmp_path / "ci.json"
    file.chmod(0o644)  # as git has it
    first = json.loads(file.read_text())
    git_init(tmp_path)
    would, rotated = (run(f"identity rotate ci{option}")[1] for option in (" --dry-run", ""))
    for each in (would, rotated):
        assert ("no secret" in each, "git" in each, "delete it" in each) == (True, False, False)
    second = json.loads(file.read_text())
    assert first["secretName"] in rotated
    assert second["secretName"] in rotated
    assert second == {**first, "secretName": second["secretName"]}
    run(f"{FEDERATE} --subject {MAIN} --lifetime 10m")
    assert json.loads(file.read_text()) == {**second, "lifetimeSeconds": 600}
    other = FEDERATE.replace(" ci ", " other ")
    err = run(f"{other} --subject {DEV}", code=1)[1]
    check(err, "ci.json", "team/other", reason="file-in-use")
    run(f"{other} --subject {DEV} --force")
    assert json.loads(file.read_text())["serviceAccount"] == "other"


def test_a_retired_token_is_reported_to_work_until_it_is_deleted(
    embedded: EmbeddedCluster, run: Run
) -> None:
    old = make(embedded.cluster).secret.name
    message = message_with(run("identity rotate bot --overlap 1d")[1], "rotated identity")
    secret = embedded.cluster.get(SECRETS, old, "team")
    time = secret["metadata"]["annotations"][labels.RETIRE_AFTER]
    check(
        message, old, f"until {time}", "daypass identity delete --expired -n team", reason="rotated"
    )
    assert f"retired at {time}" in run("identity show bot")[0]
    embedded.clock.advance(2 * 86_400)
    assert old in {each.name for each in own_secrets(embedded.cluster)}
    run("identity delete --expired -n team --yes")
    assert old not in {each.name for each in own_secrets(embedded.cluster)}
