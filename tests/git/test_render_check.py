"""`daypass render --check`: compares the config with the files, and the files with git."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.cli import main
from support.authority import Authority
from support.deploying import BOTH
from support.messages import check
from support.repositories import git
from support.tokens import Signer

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
    assert "daypass.yaml and deploy/base/" in captured.err
    check(captured.err, reason="drift")
    git(rendered, "add", "deploy", "daypass.yaml")
    assert main(CHECK) == 0  # as a pre-commit hook would run it


AUTHORITY = "cluster: {certificateAuthority: ca.crt, keys: ../outside.json}\n"


def test_a_file_that_the_config_names_and_no_clone_has_is_drift(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rendered / "daypass.yaml").write_text(BOTH + AUTHORITY)
    (rendered / "ca.crt").write_text(Authority().pem)
    (rendered.parent / "outside.json").write_text(Signer("k").jwks)
    assert main(["render", "--directory", "deploy"]) == 0
    git(rendered, "add", "deploy", "daypass.yaml")
    capsys.readouterr()
    assert main(CHECK) == 3
    assert "not committed: ../outside.json and ca.crt" in capsys.readouterr().err
    (rendered / ".git/info/exclude").write_text("ca.crt\n")
    assert main(CHECK) == 3
    assert "not committed: ../outside.json and ca.crt" in capsys.readouterr().err
    git(rendered, "add", "--force", "ca.crt")
    assert main(CHECK) == 3
    check(capsys.readouterr().err, "../outside.json", reason="drift")
    (rendered / "keys.json").write_text(Signer("k").jwks)
    (rendered / "daypass.yaml").write_text(BOTH + AUTHORITY.replace("../outside", "keys"))
    git(rendered, "add", "daypass.yaml", "keys.json")
    assert main(CHECK) == 0
