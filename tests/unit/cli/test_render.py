"""`daypass render` as users and pipelines call it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from support.messages import check
from unit.cli.conftest import Run

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


def test_yaml_goes_to_stdout_and_prerequisites_to_stderr(run: Run) -> None:
    out, err = run("render")
    kinds = [document["kind"] for document in yaml.safe_load_all(out)]
    assert kinds[0] == "Namespace"
    assert kinds.count("Ingress") == kinds.count("VirtualService") == 1
    check(err, "Secret daypass/ekf-tls", reason="info")


def test_check_exits_with_3_and_a_diff_if_config_and_folder_differ(folder: Path, run: Run) -> None:
    line = "render --directory deploy"
    run(f"{line} --check", code=3)
    assert not (folder / "deploy").exists()
    run(line)
    assert run(f"{line} --check") == ("", "")
    (folder / "daypass.yaml").write_text(CONFIG + "door: {replicas: 3}\n")
    out, err = run(f"{line} --check", code=3)
    assert "-  minReplicas: 2\n" in out
    assert "+  minReplicas: 3\n" in out
    check(err, line, reason="findings")
