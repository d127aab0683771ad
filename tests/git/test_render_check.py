"""`daypass render --check`: compares the config with the files, and the files with git."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daypass.cli import main
from support.deploying import BOTH, ONLY_EKF
from support.ekf import git
from support.messages import check

CHECK = ["render", "--directory", "deploy", "--check"]


@pytest.fixture
def rendered(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a config and what it renders to, all of it committed."""
    monkeypatch.chdir(repository)
    (repository / "daypass.yaml").write_text(BOTH)
    assert main(["render", "--directory", "deploy"]) == 0
    git(repository, "add", "deploy", "daypass.yaml")
    git(repository, "commit", "-qm", "rendered")
    return repository


def test_a_committed_current_tree_has_no_drift(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "other").write_text("not ours")
    capsys.readouterr()
    assert main(CHECK) == 0
    assert capsys.readouterr() == ("", "")


def test_an_unstaged_file_is_drift_until_it_is_staged(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "daypass.yaml").write_text(BOTH + "door: {replicas: 3}\n")
    assert main(["render", "--directory", "deploy"]) == 0
    capsys.readouterr()
    assert main(CHECK) == 3
    captured = capsys.readouterr()
    assert "daypass.yaml, deploy/base/" in captured.err
    check(captured.err, reason="drift")
    git(rendered, "add", "deploy", "daypass.yaml")
    assert main(CHECK) == 0  # as a pre-commit hook would run it


def test_new_and_removed_files_are_drift(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "daypass.yaml").write_text(ONLY_EKF)
    assert main(["render", "--directory", "deploy"]) == 0
    git(rendered, "rm", "-q", "--cached", "deploy/base/service.yaml")
    capsys.readouterr()
    assert main(CHECK) == 3
    out, stderr = capsys.readouterr()
    assert "(daypass.yaml, deploy/...)" in stderr
    check(stderr, reason="drift")
    assert main([*CHECK, "-o", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert "".join(each["diff"] for each in found["files"]) == out
    assert {"daypass.yaml", "deploy/base/service.yaml"} <= set(found["uncommitted"])


def test_a_tree_outside_a_repository_is_compared_with_the_config_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daypass.yaml").write_text(BOTH)
    assert main(["render", "--directory", "deploy"]) == 0
    assert main(CHECK) == 0
