"""Commands that need no cluster of their own print what `output.schema.json` describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.reference.output import make_schema

from daypass.cli import main
from local.up_embedded import fixed_config
from support.deploying import BOTH
from support.output_schema import mistakes_in, schema_name
from support.up import Up

LINES = (
    "version",
    "render --config cluster.yaml",
    "identity create bot --dry-run=client",
    "identity list",
    "identity list -A",
    "identity show bot",
    "token",
    "gate explain --token-file token --host localhost",
    "verify --credentials bot.json",
    "identity federate ci --issuer https://issuer.example --subject s --source github"
    " --credentials-out ci.json",
    "identity authorize bot --in default --cluster-role view --dry-run=server",
    "identity unauthorize bot --in default --dry-run",
    "identity unauthorize bot --everywhere",
    "identity rotate bot",
    "identity rotate --all --credentials-out out",
    "identity delete --expired --yes",
    "identity revoke bot",
    "identity delete bot --dry-run",
    "identity delete bot --yes",
)
"""Command lines in an order in which each has something to print."""

BEFORE = ("identity create bot", "identity authorize bot --in default --cluster-role view")

ELSEWHERE = {"doctor", "status", "trace", "up", "error"}
"""Their outputs are those of other tests: most of them in tests/cluster and tests/operation."""


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DAYPASS_CREDENTIALS", "bot.json")
    (tmp_path / "cluster.yaml").write_text(BOTH)
    with Up(tmp_path, fixed_config()) as up:
        monkeypatch.setenv("KUBECONFIG", str(up.ready["kubeconfig"]))
        yield up


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_each_command_prints_one_document_as_described(
    output: str, up: Up, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in BEFORE:
        assert main(line.split()) == 0
    capsys.readouterr()
    assert main(["token"]) == 0
    (tmp_path / "token").write_text(capsys.readouterr().out)
    for line in LINES:
        words = [*line.split(), "-o", output]
        code = main(words)
        printed, err = capsys.readouterr()
        assert code in (0, 3), err
        assert mistakes_in(words, code, printed) == ""


def test_no_command_is_left_out() -> None:
    commands = {name for name in make_schema()["$defs"] if name[0].islower()}
    assert {schema_name(line.split()) for line in LINES} == commands - ELSEWHERE
