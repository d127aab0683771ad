"""`daypass render --check`: is what the config says in the files, and does git have them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main
from support.deploying import BOTH, ONLY_EKF
from support.ekf import git
from support.messages import check

CHECK = ["render", "--output", "deploy", "--check"]


@pytest.fixture
def rendered(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a config and what it renders to, all of it committed."""
    monkeypatch.chdir(repository)
    (repository / "daypass.yaml").write_text(BOTH)
    assert main(["render", "--output", "deploy"]) == 0
    git(repository, "add", "deploy", "daypass.yaml")
    git(repository, "commit", "-qm", "rendered")
    return repository


def test_what_is_committed_as_the_config_says_is_no_drift(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "other").write_text("not ours")
    capsys.readouterr()
    assert main(CHECK) == 0
    assert capsys.readouterr() == ("", "")


def test_a_file_that_git_does_not_have_is_drift_until_it_is_staged(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "daypass.yaml").write_text(BOTH + "door: {replicas: 3}\n")
    assert main(["render", "--output", "deploy"]) == 0
    capsys.readouterr()
    assert main(CHECK) == 3
    told = capsys.readouterr()
    config, *files = told.err.splitlines()
    assert " daypass.yaml " in config
    assert any(" deploy/base/" in line for line in files)
    check(config, reason="drift")
    git(rendered, "add", "deploy", "daypass.yaml")
    assert main(CHECK) == 0  # as a hook asks before the commit


def test_a_new_file_and_one_that_is_gone_are_drift_too(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "daypass.yaml").write_text(ONLY_EKF)
    assert main(["render", "--output", "deploy"]) == 0
    git(rendered, "rm", "-q", "--cached", "deploy/base/service.yaml")
    capsys.readouterr()
    assert main(CHECK) == 3
    told = capsys.readouterr().err
    assert " deploy/base/service.yaml " in told
    assert " deploy/domains/serving/" in told


def test_a_tree_that_is_in_no_repository_is_compared_with_the_config_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daypass.yaml").write_text(BOTH)
    assert main(["render", "--output", "deploy"]) == 0
    assert main(CHECK) == 0
