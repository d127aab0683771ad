"""API servers that are no target of a deployment: the embedded one, and versions too old."""

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
from support.hints import mistake_in
from support.messages import check

COMMANDS = (["apply"], ["apply", "--dry-run"], ["diff"], ["remove"], ["remove", "--yes"])


class OldApi(httpx2.BaseTransport):
    """Kubernetes 1.29, which has no aggregated discovery. `version`: the answer of /version."""

    def __init__(self, version: httpx2.Response) -> None:
        self.version = version
        self.changed: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != "GET":
            self.changed.append(request.url.path)
        if request.url.path == "/version":
            return self.version
        kind = "APIVersions" if request.url.path == "/api" else "APIGroupList"
        return httpx2.Response(200, json={"kind": kind, "versions": ["v1"], "groups": []})


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


@pytest.mark.parametrize("arguments", [*COMMANDS, ["policy", "apply"]], ids=" ".join)
def test_the_embedded_api_server_is_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = run(EmbeddedCluster().cluster, arguments, monkeypatch, capsys)
    assert "embedded API server" in words
    assert "--kubeconfig" in words
    assert "`daypass render`" in words
    assert "1.30" not in words


FORBIDDEN = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "version",
    [
        httpx2.Response(200, json={"major": "1", "minor": "29", "gitVersion": "v1.29.4+rke2r1"}),
        httpx2.Response(403, json=FORBIDDEN),
        httpx2.Response(200, json={"gitVersion": None}),
    ],
    ids=["old", "forbidden", "odd"],
)
def test_an_old_api_server_is_refused_with_a_hint_for_the_command(
    version: httpx2.Response,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api = OldApi(version)
    access = ConnectionConfig(
        server="https://old.test", namespace="default", origin="a test", authority=ANY_AUTHORITY
    )
    words = run(Cluster(access, transport=api), arguments, monkeypatch, capsys)
    assert "https://old.test" in words
    assert "1.30" in words
    verb = {"apply": "apply", "diff": "diff", "remove": "delete"}[arguments[0]]
    hint = words.splitlines()[1].strip()
    assert hint.startswith("daypass render | kubectl ")
    assert hint.split()[4] == verb
    assert mistake_in("daypass", ["render"]) == ""
    assert api.changed == []
