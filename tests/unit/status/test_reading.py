"""What `daypass status` reads of an API server that has not all kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daypass._core.findings import Level
from daypass.cli import main
from daypass.status.reading import read_cluster
from support.deploying import BOTH, GATE
from support.embedded import EmbeddedCluster
from support.messages import check
from support.rendered import config_of

MIXED = f"{BOTH}{GATE}".replace("domains:\n", "domains:\n  here: {host: localhost, front: envoy}\n")


def test_a_kind_that_is_not_served_is_a_note_and_the_rest_is_shown() -> None:
    embedded = EmbeddedCluster()
    found = read_cluster(embedded.cluster, config_of(f"{BOTH}{GATE}"))
    notes = [each for each in found.findings if each.check == "api-server"]
    assert {each.level for each in notes} == {Level.SKIPPED}
    check(notes[0].sentence, reason="api-server")
    assert found.identities is not None
    assert [each.host for each in found.domains] == ["ekf.example.com", "serving.example.com"]


def test_a_named_state_folder_is_looked_at_whatever_domains_of_clusters_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daypass.yaml").write_text(MIXED)
    assert main(["status", "--state", "state", "-o", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [each["host"] for each in found["domains"]] == ["localhost"]
    assert [each["check"] for each in found["findings"]] == ["up"]
