"""API servers that are no target of a deployment, by what they serve."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from daypass.cli import main
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.local.stack import stack_config
from support.authority import ANY_AUTHORITY
from support.embedded import EmbeddedCluster
from support.messages import check

COMMANDS = (["apply"], ["diff"], ["remove", "--yes"])


class OldApi(httpx2.BaseTransport):
    """Kubernetes 1.29, which has no aggregated discovery."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        assert request.method == "GET"
        kind = "APIVersions" if request.url.path == "/api" else "APIGroupList"
        return httpx2.Response(200, json={"kind": kind, "versions": ["v1"], "groups": []})


def old_cluster() -> Cluster:
    access = ConnectionConfig(
        server="https://old.test", namespace="default", origin="a test", authority=ANY_AUTHORITY
    )
    return Cluster(access, transport=OldApi())


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "daypass.yaml").write_text(stack_config())
    monkeypatch.chdir(here)


def run(
    cluster: Cluster,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setattr(Cluster, "open", lambda **_: cluster)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    check(captured.err, reason="failed")
    return captured.err


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("old", [True, False], ids=["old", "embedded"])
def test_nothing_is_deployed_where_kinds_cannot_be_listed_at_once(
    arguments: list[str],
    old: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = old_cluster() if old else EmbeddedCluster().cluster
    words = run(cluster, arguments, monkeypatch, capsys)
    assert cluster.connection.server in words
    assert "1.30" in words
    assert "--kubeconfig FILE" in words
