"""A git work tree: are some files of it free to be changed, and a commit of these alone.

git is run as the user runs it: with their hooks, their identity, their signature. What else is
changed or staged in the work tree stays as it is, and out of the commit.

The rendered files and the config that they come from, as one commit and nothing else in it.

Looked at before anything is written; written before anything is committed; committed before
anything is applied. Where git refuses, the files stay as they were rendered and the index as it
was: what a hook has found can be looked at, and the same apply goes on from there.

Edits of a repository, carried out whole: written, looked at, committed; or all put back.

The one place where files of a deployments repository change by `daypass init`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass.deploy.edits import Edit, undo, write
from daypass.render.manifests import MARK


class GitError(DaypassError):
    """git refused; in its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The work tree whose top is `top`."""

    top: Path

    @classmethod
    def of(cls, folder: Path) -> Repository:
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


SUBJECT_CHARACTERS = 72
_OTHERWISE = "or leave git to yourself: " + command("apply", "--no-commit")
_BEGUN = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "BISECT_START": "a bisect",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A commit: its short name, the branch, and the work tree that this one is a submodule of."""

    name: str
    branch: str
    superproject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file that is not as in HEAD: two letters as in `git status --porcelain`."""

    letters: str
    path: str

    @property
    def is_new(self) -> bool:
        """Whether HEAD has no such file."""
        return self.letters == "??" or "A" in self.letters

    @property
    def is_gone(self) -> bool:
        """Whether there is no such file any more."""
        return "D" in self.letters


class Checkout:
    """The work tree that a rendered tree is in. `folder` may not be there yet; `config` may be
    elsewhere, and then is none of a commit's business.
    """

    def __init__(self, folder: Path, config: Path) -> None:
        there = next(each for each in [folder, *folder.absolute().parents] if each.is_dir())
        try:
            self.top = Repository.of(there).top
        except UsageError as error:
            raise UsageError(error.fact, f"git init, {_OTHERWISE}") from None
        self._folder = self._relative(folder)
        self._config = self._relative(config)

    def verify(self, tree: Mapping[str, str]) -> None:
        """Raise GitError where a commit would fail, be lost, or overwrite what somebody wrote."""
        git_folder = Path(self._git("rev-parse", "--absolute-git-dir").strip())
        for name, what in _BEGUN.items():
            if (git_folder / name).exists():
                raise GitError(f"{what} is under way in {self.top}", f"end it first, {_OTHERWISE}")
        self._branch()
        self._verify_identity()
        self._verify_not_ignored(tree)
        for change in self._status():
            if "U" in change.letters or change.letters in ("AA", "DD"):
                raise GitError(f"{change.path} has unmerged changes", f"end that, {_OTHERWISE}")
            text = tree.get(self._in_tree(change))
            file = self.top / change.path
            if text is None or change.letters == "??" or not file.is_file():
                continue
            if file.read_bytes() != text.encode():
                raise GitError(
                    f"{change.path} has changes that are in no commit, and would be overwritten",
                    f"keep them: git -C {self.top} stash push {change.path}\n"
                    f"drop them: {command('render', '--output', self._folder)}",
                )

    def uncommitted(self, tree: Mapping[str, str]) -> list[str]:
        """Files of the tree, and the config, that git does not have as they are: its index counts,
        so that a hook may ask before a commit.
        """
        ours = [change for change in self._status() if self._is_ours(change, tree)]
        return [change.path for change in ours if change.letters[1] != " "]

    def commit(self, tree: Mapping[str, str], opens: Sequence[str]) -> Committed | None:
        """Commit what was written; None where HEAD has all of it. Raises GitError, and then the
        index is as it was. `opens`: said in the message.
        """
        changes = [change for change in self._status() if self._is_ours(change, tree)]
        if not changes:
            return None
        new = [change.path for change in changes if change.letters == "??"]
        subject, body = message([(c, self._in_tree(c)) for c in changes], opens)
        try:
            if new:  # `--only` looks at what git knows
                self._git("add", "--intent-to-add", "--", *new)
            paths = [change.path for change in changes]
            self._git("commit", "--quiet", "--only", "-m", subject, "-m", body, "--", *paths)
        except BaseException as error:
            if new:
                self._git("rm", "--quiet", "--cached", "--force", "--ignore-unmatch", "--", *new)
            if not isinstance(error, GitError):
                raise
            raise GitError(
                "git does not take the commit: nothing was applied, the files stay as rendered",
                f"{error.hint}\n{_OTHERWISE}",
            ) from error
        return Committed(
            name=self._git("rev-parse", "--short", "HEAD").strip(),
            branch=self._branch(),
            superproject=self._git("rev-parse", "--show-superproject-working-tree").strip(),
        )

    def _git(self, *arguments: str) -> str:
        return git(self.top, *arguments)

    def _branch(self) -> str:
        try:
            return self._git("symbolic-ref", "--quiet", "--short", "HEAD").strip()
        except GitError:
            raise GitError(
                f"HEAD is on no branch in {self.top}: a commit there is easily lost",
                f"git switch BRANCH, {_OTHERWISE}",
            ) from None

    def _verify_identity(self) -> None:
        try:
            self._git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
        except GitError:
            raise GitError(
                "git does not know who commits",
                f"git config user.name NAME; git config user.email ADDRESS; {_OTHERWISE}",
            ) from None

    def _verify_not_ignored(self, tree: Mapping[str, str]) -> None:
        paths = [os.path.normpath(os.path.join(self._folder, path)) for path in tree]
        try:  # it takes paths, and no --literal-pathspecs
            ignored = self._git("--no-literal-pathspecs", "check-ignore", "--", *paths).splitlines()
        except GitError:
            return  # it ends with 1 where none is
        raise GitError(f"git ignores {ignored[0]}", f"mend .gitignore, {_OTHERWISE}")

    def _status(self) -> list[FileChange]:
        """What of the tree's folder and of the config is not as in HEAD."""
        inside = [path for path in (self._folder, self._config) if not path.startswith("..")]
        told = self._git(
            "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *inside
        )
        return [FileChange(letters=line[:2], path=line[3:]) for line in told.split("\0") if line]

    def _is_ours(self, change: FileChange, tree: Mapping[str, str]) -> bool:
        if change.path == self._config or self._in_tree(change) in tree:
            return True
        if change.is_gone and not change.is_new:  # of an earlier rendering
            return self._git("show", f"HEAD:{change.path}").startswith(MARK)
        return False

    def _in_tree(self, change: FileChange) -> str:
        """Its path in the tree; for what is not in its folder a path that no tree has."""
        return os.path.relpath(change.path, self._folder)

    def _relative(self, path: Path) -> str:
        whole = os.path.join(os.path.realpath(path.parent), path.name)
        return os.path.relpath(whole, os.path.realpath(self.top))


def not_in_git(folder: Path, config: Path, tree: Mapping[str, str]) -> list[str]:
    """`Checkout.uncommitted`; nothing where the folder is in no work tree at all."""
    parents = folder.absolute().parents
    if not any((each / ".git").exists() for each in [folder.absolute(), *parents]):
        return []
    return Checkout(folder, config).uncommitted(tree)


def message(changes: Sequence[tuple[FileChange, str]], opens: Sequence[str]) -> tuple[str, str]:
    """Subject and body of a commit; each change with its path in the tree."""
    domains: dict[str, list[str]] = {"Publish": [], "Withdraw": []}
    for change, path in changes:
        parts = path.split("/")
        if parts[0] == "domains" and parts[-1] == "kustomization.yaml":
            if change.is_gone:
                domains["Withdraw"].append(parts[1])
            elif change.is_new:
                domains["Publish"].append(parts[1])
    told = [f"{verb} {', '.join(names)}" for verb, names in domains.items() if names]
    if told:
        subject = "; ".join(told)
    else:
        names = {Path(path).stem for _, path in changes if path.count("/") > 0}
        names -= {"kustomization", "daypass"}
        subject = f"Change the door: {', '.join(sorted(names))}" if names else "Change daypass.yaml"
    if len(subject) > SUBJECT_CHARACTERS:
        subject = f"{subject[: SUBJECT_CHARACTERS - 3].rstrip(', ')}..."
    lines = [f"Opens: {line}" for line in opens]
    if lines:
        lines.append("")
    verbs = [
        f"{'add' if c.is_new else 'remove' if c.is_gone else 'change'} {c.path}" for c, _ in changes
    ]
    return subject, "\n".join([*lines, *verbs, "", "By daypass apply."])


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit that was made. `has_remote`: whether there is anywhere to push it to."""

    name: str
    has_remote: bool


def commit_edits(
    edits: Sequence[Edit],
    *,
    folder: Path,
    message: str | None,
    look: Callable[[], None] = lambda: None,
) -> Commit | None:
    """Write the edits, and commit these files alone if there is a message.

    `look` raises where the result is not as it should be. Whatever goes wrong, nothing is left of
    it. Raises WriteError, GitError, UsageError where there is no repository to commit to.
    """
    paths = [edit.path for edit in edits]
    repository = None
    if message is not None and edits:
        repository = Repository.of(folder)
        repository.verify_committable(paths)
    folders = write(edits, folder)
    try:
        look()
        if repository is None or message is None:
            return None
        return Commit(name=repository.commit(paths, message), has_remote=repository.has_remote())
    except BaseException:
        undo(edits, folders)
        raise
