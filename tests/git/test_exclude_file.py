"""A credentials file in a git work tree: whether git would add it, and where to exclude it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daypass.cli.output import warn_of_git
from support.ekf import git
from support.messages import check


def warned(path: str, output: pytest.CaptureFixture[str]) -> str:
    """The command that the warning about a new file names, or "" without a warning."""
    Path(path).touch()
    warn_of_git(path)
    err = output.readouterr().err
    assert not err or path in err.splitlines()[0]
    return err.partition("exclude it: ")[2].partition("\n")[0]


def test_a_file_that_git_would_add_is_warned_about_until_it_is_excluded(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    Path("bot.json").touch()
    warn_of_git("bot.json")
    check(capsys.readouterr().err, reason="warning")
    command = warned("bot.json", capsys)
    assert command == "echo bot.json >> .git/info/exclude"
    subprocess.run(["sh", "-c", command], check=True)
    assert git(repository, "status", "--porcelain") == ""
    assert warned("bot.json", capsys) == ""


@pytest.mark.parametrize("where", ["a folder", "another work tree"])
def test_the_command_works_from(
    where: str,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = repository / "a folder"
    if where == "another work tree":
        folder = tmp_path / where
        git(repository, "worktree", "add", "--quiet", "--detach", str(folder))
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    subprocess.run(["sh", "-c", warned("my bot.json", capsys)], check=True)
    assert git(folder, "status", "--porcelain") == ""
    assert warned("my bot.json", capsys) == ""


def test_without_git_the_file_is_warned_about(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", str(repository))
    assert warned("bot.json", capsys) == "echo bot.json >> .git/info/exclude"


def test_outside_a_work_tree_nothing_is_said(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(repository)
    (tmp_path / "outside").mkdir()
    assert warned(str(tmp_path / "outside" / "bot.json"), capsys) == ""
