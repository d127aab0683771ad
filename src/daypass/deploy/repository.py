"""A git work tree: are some files of it free to be changed, and a commit of these alone.

git is run as the user runs it: with their hooks, their identity, their signature. What else is
changed or staged in the work tree stays as it is, and out of the commit.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError, UsageError


class GitError(DaypassError):
    """git refused; in its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The work tree whose top is `top`."""

    top: Path

    @classmethod
    def of(cls, folder: Path) -> "Repository":
        """The work tree that a folder is in, or will be. Raises UsageError where it is in none."""
        there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
        try:
            top = git(there, "rev-parse", "--show-toplevel")
        except GitError as error:
            raise UsageError(
                f"{folder} is in no git work tree: {error.hint}",
                f"git init {folder}, or leave --commit out",
            ) from None
        return cls(top=Path(top.rstrip("\n")))

    def verify_committable(self, paths: Sequence[Path]) -> None:
        """Raise GitError where a commit of these files would fail, or hold what others began.

        To be asked before the files are changed.
        """
        try:
            git(self.top, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
        except GitError as error:
            raise GitError(
                f"git does not know who commits: {error.hint}",
                "git config user.name NAME; git config user.email ADDRESS",
            ) from None
        begun = git(self.top, "status", "--porcelain", "--", *self._names(paths)).splitlines()
        if begun:
            raise GitError(
                f"{', '.join(line[3:] for line in begun)}: changed, and not committed",
                "commit, stash or restore that first: it would get into this commit",
            )

    def commit(self, paths: Sequence[Path], message: str) -> str:
        """Commit these files, and no others; the new commit's short name.

        Raises GitError, and then nothing of them is staged.
        """
        names = self._names(paths)
        try:
            git(self.top, "add", "--", *names)
            git(self.top, "commit", "--quiet", "--only", "--message", message, "--", *names)
        except GitError:
            git(self.top, "reset", "--quiet", "--", *names)
            raise
        return git(self.top, "rev-parse", "--short", "HEAD").strip()

    def has_remote(self) -> bool:
        """Whether there is anywhere to push to."""
        return bool(git(self.top, "remote").strip())

    def _names(self, paths: Sequence[Path]) -> list[str]:
        return [os.path.relpath(path.resolve(), self.top.resolve()) for path in paths]


def git(folder: Path, *arguments: str) -> str:
    # A path is a path: `:(glob)` or `*` in one is no pattern.
    command = ["git", "--literal-pathspecs", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("git is not installed", "install it, or leave --commit out") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        verb = next(each for each in arguments if not each.startswith(("-", "user.")))
        raise GitError(f"git {verb} failed", words)
    return done.stdout.decode(errors="surrogateescape")
