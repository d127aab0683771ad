"""API servers that are no target of a deployment, by what they serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main
from daypass.kube.cluster import Cluster
from daypass.local.stack import stack_config
from support.embedded import EmbeddedCluster
from support.messages import check

COMMANDS = (["apply"], ["diff"], ["remove", "--yes"])


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "daypass.yaml").write_text(stack_config())
    monkeypatch.chdir(here)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_nothing_is_deployed_where_kinds_cannot_be_listed_at_once(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in Kubernetes 1.29."""
    cluster = EmbeddedCluster().cluster
    monkeypatch.setattr(Cluster, "open", lambda **_: cluster)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    check(err, cluster.connection.server, "1.30", "--kubeconfig FILE", reason="failed")
