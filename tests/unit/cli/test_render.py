"""`daypass render` as users and pipelines call it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from daypass.cli import main
from support.messages import check

CONFIG = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daypass.yaml").write_text(CONFIG)
    return tmp_path


def test_yaml_goes_to_stdout_and_prerequisites_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["render"]) == 0
    told = capsys.readouterr()
    kinds = [document["kind"] for document in yaml.safe_load_all(told.out)]
    assert kinds[0] == "Namespace"
    assert kinds.count("Ingress") == kinds.count("VirtualService") == 1
    assert "Secret daypass/ekf-tls" in told.err
    check(told.err, reason="info")


def test_check_exits_with_3_and_a_diff_if_config_and_folder_differ(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["render", "--directory", "deploy"]
    assert main([*arguments, "--check"]) == 3
    assert not (folder / "deploy").exists()
    assert main(arguments) == 0
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 0
    assert capsys.readouterr() == ("", "")
    (folder / "daypass.yaml").write_text(CONFIG + "door: {replicas: 3}\n")
    assert main([*arguments, "--check"]) == 3
    told = capsys.readouterr()
    assert "-  minReplicas: 2\n" in told.out
    assert "+  minReplicas: 3\n" in told.out
    assert "daypass render --directory deploy" in told.err
    check(told.err, reason="findings")
