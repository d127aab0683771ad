"""A credentials file in a git work tree: whether git would add it, and how to exclude it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daypass.cli.output import warn_of_git
from support.messages import check
from support.repositories import git


@pytest.mark.parametrize("where", [".", "a folder"])
def test_a_file_that_git_would_add_is_warned_about_until_it_is_excluded(
    repository: Path, where: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(repository)
    path = Path(where, "my bot.json")
    path.parent.mkdir(exist_ok=True)
    path.touch()
    warn_of_git(str(path))
    warning = capsys.readouterr().err
    check(warning, str(path), reason="warning")
    line = warning.partition("exclude it: ")[2].partition("\n")[0]
    subprocess.run(["sh", "-c", line], check=True)
    assert str(path) not in git(repository, "status", "--porcelain", "--untracked-files=all")
    warn_of_git(str(path))
    assert capsys.readouterr().err == ""


def test_outside_a_work_tree_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_git(str(tmp_path / "bot.json"))
    assert capsys.readouterr().err == ""
