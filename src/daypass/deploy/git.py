"""Files of a git work tree: edited, and committed with no others.

git runs as the user runs it: with their hooks, identity and signature. Other changes, staged or
not, stay as they are. `Checkout` commits what `daypass apply` has rendered: where git refuses, the
files stay as written and the index as it was. `commit_edits` writes and commits all or nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import read_ordinary
from daypass._core.hints import command
from daypass._core.text import unified_diff
from daypass.deploy.output_tree import is_rendered, put
from daypass.render.manifests import domain_of

SUBJECT_CHARACTERS = 72
FEW_PATHS = 3
LIMIT_BYTES = 1024 * 1024
"""Larger files of a repository are not edited."""
_IN_PROGRESS = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "BISECT_START": "a bisect",
}


def _by_hand() -> str:
    return "or commit it yourself: " + command("apply", "--no-commit")


class GitError(DaypassError):
    """git failed; the hint is its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file that differs from HEAD: two letters as in `git status --porcelain`."""

    letters: str
    path: str

    @property
    def is_new(self) -> bool:
        """Whether HEAD has no such file."""
        return self.letters == "??" or "A" in self.letters

    @property
    def is_deleted(self) -> bool:
        """Whether the file is gone."""
        return "D" in self.letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A new commit: its short name and branch. `superproject`: of which this is a submodule."""

    name: str
    branch: str
    superproject: str
    has_remote: bool


def exclude_file(path: str) -> str | None:
    """Return the file to list a path in, so that git ignores it; None if git does not see it."""
    folder, name = os.path.realpath(os.path.dirname(path)), os.path.basename(path)
    tops = (each for each in (Path(folder), *Path(folder).parents) if (each / ".git").exists())
    top = next(tops, None)
    if top is None or not os.path.lexists(path):
        return None
    found = top / ".git" / "info" / "exclude"

    def git(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)

    with contextlib.suppress(FileNotFoundError):  # without git
        if git("check-ignore", "--", name).returncode == 0:
            return None
        if (top / ".git").is_file():  # a linked work tree, or a submodule
            where = ["--path-format=absolute", "--git-path", "info/exclude"]
            printed = git("rev-parse", *where).stdout
            found = Path(os.fsdecode(printed.rstrip(b"\n")) or found)
    return os.path.relpath(found)


class Repository:
    """The git work tree that `folder` is in, or will be; `otherwise`: how to go on without git.

    Raises UsageError if there is none.
    """

    def __init__(self, folder: Path, otherwise: str = "or leave --commit out") -> None:
        self.otherwise = otherwise
        there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
        self.top = there
        try:
            self.top = Path(self.git("rev-parse", "--show-toplevel").rstrip("\n"))
        except GitError as error:
            raise UsageError(
                f"{folder} is in no git work tree: {error.hint}", f"git init {there}, {otherwise}"
            ) from None

    def git(self, *arguments: str) -> str:
        """Return the output of a git command. Raises GitError."""
        # Without this option, `:(glob)` or `*` in a path would be a pattern.
        line = ["git", "--literal-pathspecs", "-C", str(self.top), *arguments]
        try:
            done = subprocess.run(line, capture_output=True, check=False)
        except FileNotFoundError:
            raise GitError("git is not installed", f"install it, {self.otherwise}") from None
        if done.returncode != 0:
            words = (done.stderr or done.stdout).decode(errors="replace").strip()
            verb = next(each for each in arguments if not each.startswith(("-", "user.")))
            raise GitError(f"git {verb} failed", words)
        return done.stdout.decode(errors="surrogateescape")

    def relative(self, path: Path) -> str:
        """Return a path relative to the top; a link is not followed, but its folder is."""
        whole = os.path.join(os.path.realpath(path.parent), path.name)
        return os.path.relpath(whole, os.path.realpath(self.top))

    def branch(self) -> str:
        """Return the current branch; empty if HEAD is detached."""
        try:
            return self.git("symbolic-ref", "--quiet", "--short", "HEAD").strip()
        except GitError:
            return ""

    def changes(self, paths: Iterable[str]) -> list[FileChange]:
        """Return what differs from HEAD, or is untracked, below these relative paths."""
        status = self.git(
            "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *paths
        )
        return [FileChange(letters=line[:2], path=line[3:]) for line in status.split("\0") if line]

    def verify_identity(self) -> None:
        """Raise GitError if git has no committer to name."""
        try:
            self.git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
        except GitError:
            raise GitError(
                "git does not know who commits",
                f"git config user.name NAME; git config user.email ADDRESS; {self.otherwise}",
            ) from None

    def verify_unchanged(self, paths: Sequence[Path]) -> None:
        """Raise GitError if a commit of these files would fail, or contain earlier changes."""
        self.verify_identity()
        if changed := self.changes(map(self.relative, paths)):
            raise GitError(
                f"{', '.join(change.path for change in changed)}: changed, and not committed",
                "commit, stash or restore that first: it would get into this commit",
            )

    def commit(self, changes: Sequence[FileChange], message: str) -> Commit:
        """Commit these files and no others. Raises GitError, with the index as it was."""
        paths = [change.path for change in changes]
        new = [change.path for change in changes if change.letters == "??"]
        try:
            if new:  # `--only` takes files that git knows
                self.git("add", "--intent-to-add", "--", *new)
            self.git("commit", "--quiet", "--only", "--message", message, "--", *paths)
        except BaseException:
            if new:
                self.git("rm", "--quiet", "--cached", "--force", "--ignore-unmatch", "--", *new)
            raise
        return Commit(
            name=self.git("rev-parse", "--short", "HEAD").strip(),
            branch=self.branch(),
            superproject=self.git("rev-parse", "--show-superproject-working-tree").strip(),
            has_remote=bool(self.git("remote").strip()),
        )


class Checkout:
    """A config and its rendered tree in a repository, as `daypass apply` commits them.

    `folder`, of the tree, may not exist yet. `sources`: the config, and the files that it names. A
    config outside the repository is never committed.
    """

    def __init__(self, folder: Path, sources: Sequence[Path], tree: Mapping[str, str]) -> None:
        self._tree = tree
        self._repository = Repository(folder, _by_hand())
        self._folder, *found = map(self._repository.relative, (folder, *sources))
        self._sources = [] if found[0].startswith("..") else found

    def verify(self) -> None:
        """Raise GitError if a commit would fail, be lost, or overwrite uncommitted changes."""
        repository, top = self._repository, self._repository.top
        git_folder = Path(repository.git("rev-parse", "--absolute-git-dir").strip())
        for name, what in _IN_PROGRESS.items():
            if (git_folder / name).exists():
                raise GitError(f"{what} is under way in {top}", f"finish it first, {_by_hand()}")
        if not repository.branch():
            raise GitError(
                f"HEAD is on no branch in {top}: a commit there is easily lost",
                f"git switch BRANCH, {_by_hand()}",
            )
        repository.verify_identity()
        ignored = self._ignored(os.path.join(self._folder, path) for path in self._tree)
        if lacking := [*ignored, *self._in_no_clone()]:
            raise GitError(
                f"{lacking[0]} is outside the repository, or git ignores it",
                f"change .gitignore, or move it into {top}, {_by_hand()}",
            )
        for change in self._changes():
            if "U" in change.letters or change.letters in ("AA", "DD"):
                raise GitError(f"{change.path} has unmerged changes", f"finish that, {_by_hand()}")
            text, file = self._tree.get(self._in_tree(change)), top / change.path
            if text is None or change.letters == "??" or not file.is_file():
                continue
            if file.read_bytes() != text.encode():
                raise GitError(
                    f"{change.path} has changes that are in no commit, and would be overwritten",
                    f"keep them: git -C {top} stash push {change.path}\n"
                    f"drop them: {command('render', '--directory', self._folder)}",
                )

    def uncommitted(self) -> list[str]:
        """Return what is neither staged nor committed: files of the tree, the config, and the files
        that it names."""
        changed = [change.path for change in self._our_changes() if change.letters[1] != " "]
        return [*self._in_no_clone(), *changed]

    def commit(self, widened: Sequence[str]) -> Commit | None:
        """Commit the tree and the config; None if HEAD has all of it. Raises GitError.

        `widened`: what the config opens, for the message.
        """
        changes = self._our_changes()
        if not changes:
            return None
        subject, body = commit_message([(c, self._in_tree(c)) for c in changes], widened)
        try:
            return self._repository.commit(changes, f"{subject}\n\n{body}")
        except GitError as error:
            raise GitError(
                "git refuses the commit: nothing was applied, the files stay as rendered",
                f"{error.hint}\n{_by_hand()}",
            ) from error

    def _in_no_clone(self) -> list[str]:
        named = self._sources[1:]
        outside = [path for path in named if path.startswith("..")]
        return [*outside, *self._ignored(path for path in named if path not in outside)]

    def _ignored(self, paths: Iterable[str]) -> list[str]:
        try:  # check-ignore does not work with --literal-pathspecs
            words = ("--no-literal-pathspecs", "check-ignore", "--", *map(os.path.normpath, paths))
            return self._repository.git(*words).splitlines()
        except GitError:
            return []  # it ends with 1 if none is ignored

    def _changes(self) -> list[FileChange]:
        inside = [path for path in (self._folder, *self._sources) if not path.startswith("..")]
        return self._repository.changes(inside)

    def _our_changes(self) -> list[FileChange]:
        return [change for change in self._changes() if self._is_ours(change)]

    def _is_ours(self, change: FileChange) -> bool:
        if change.path in self._sources or self._in_tree(change) in self._tree:
            return True
        if change.is_deleted and not change.is_new:  # of an earlier rendering
            return is_rendered(self._repository.git("show", f"HEAD:{change.path}"))
        return False

    def _in_tree(self, change: FileChange) -> str:
        """Return its path in the tree; outside the folder, a path that no tree has."""
        return os.path.relpath(change.path, self._folder)


def not_in_git(folder: Path, sources: Sequence[Path], tree: Mapping[str, str]) -> list[str]:
    """Return `Checkout.uncommitted`; nothing if the folder is in no work tree."""
    if any((each / ".git").exists() for each in (folder.absolute(), *folder.absolute().parents)):
        return Checkout(folder, sources, tree).uncommitted()
    return []


def not_committed(paths: Sequence[str]) -> tuple[str, str]:
    """Return a line that names a few paths, or the folders of many, and what to do about them."""
    hint = "`git status --ignored` shows them; add and commit them"
    if any(path.startswith("..") for path in paths):
        hint = f"a clone has no file outside the repository: move it there; {hint}"
    if len(paths) <= FEW_PATHS:
        return f"not committed: {', '.join(paths)}", hint
    names = sorted({f"{path.partition('/')[0]}/..." if "/" in path else path for path in paths})
    return f"not committed: {len(paths)} files ({', '.join(names)})", hint


def commit_message(
    changes: Sequence[tuple[FileChange, str]], widened: Sequence[str]
) -> tuple[str, str]:
    """Return subject and body of a commit; each change comes with its path in the tree."""
    domains: dict[str, list[str]] = {"Publish": [], "Withdraw": []}
    for change, path in changes:
        is_whole = change.is_deleted or change.is_new
        if is_whole and (name := domain_of(path)) and path.endswith("/kustomization.yaml"):
            domains["Withdraw" if change.is_deleted else "Publish"].append(name)
    subject = "; ".join(f"{verb} {', '.join(names)}" for verb, names in domains.items() if names)
    if not subject:
        names = {Path(path).stem for _, path in changes if "/" in path}
        names -= {"kustomization", "daypass"}
        subject = f"Change the door: {', '.join(sorted(names))}" if names else "Change daypass.yaml"
    if len(subject) > SUBJECT_CHARACTERS:
        subject = f"{subject[: SUBJECT_CHARACTERS - 3].rstrip(', ')}..."
    lines = [f"Opens: {line}" for line in widened]
    if lines:
        lines.append("")
    for change, _ in changes:
        verb = "add" if change.is_new else "remove" if change.is_deleted else "change"
        lines.append(f"{verb} {change.path}")
    return subject, "\n".join([*lines, "", "By daypass apply."])


class WriteError(DaypassError):
    """A file could not be written; the others were restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A file before and after. `before` None: it is new; `after` None: it is deleted."""

    path: Path
    before: str | None
    after: str | None

    def diff(self, root: Path) -> str:
        """Return what would change, as a unified diff with a path relative to `root`."""
        name = os.path.relpath(self.path, root)
        return unified_diff(self.before, self.after, f"a/{name}", f"b/{name}")


def commit_edits(
    edits: Sequence[Edit],
    *,
    folder: Path,
    message: str | None,
    verify: Callable[[], None],
) -> Commit | None:
    """Write the edits; with a message, commit these files alone.

    `verify` raises if the result is wrong. On any error all files are as they were. Raises
    WriteError, GitError, and UsageError if there is no repository to commit to.
    """
    paths = [edit.path for edit in edits]
    repository = None
    if message is not None and edits:
        repository = Repository(folder)
        repository.verify_unchanged(paths)
    folders = _write(edits, folder)
    try:
        verify()
        if repository is None or message is None:
            return None
        return repository.commit(repository.changes(map(repository.relative, paths)), message)
    except BaseException:
        _undo(edits, folders)
        raise


def _write(edits: Sequence[Edit], root: Path) -> list[Path]:
    """Write all edits, keeping modes; return the folders that were created.

    Raises WriteError if a file cannot be written, is not what it was when the edit was made, or is
    reached by a link below `root`; then everything is as it was.
    """
    done: list[Edit] = []
    folders: list[Path] = []
    try:
        for edit in edits:
            link = link_on_the_way(edit.path, root)
            if link is not None:
                raise WriteError(f"{link} is a link", "edit what it leads to yourself")
            if read_text(edit.path) != edit.before:
                raise WriteError(
                    f"{edit.path} was changed meanwhile", "nothing was written: run it again"
                )
            folders += _make_folders(edit.path.parent)
            put(edit.path, edit.after)
            done.append(edit)
    except BaseException as error:
        _undo(done, folders)
        if isinstance(error, OSError):
            fact = f"{error.filename}: {error.strerror}"
            raise WriteError(fact, "nothing is written") from error
        raise
    return folders


def _undo(edits: Sequence[Edit], folders: Sequence[Path]) -> None:
    """Restore the files before these edits, and remove the folders that were created."""
    for edit in reversed(edits):
        with contextlib.suppress(OSError):
            _make_folders(edit.path.parent)
            put(edit.path, edit.before)
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


def link_on_the_way(path: Path, root: Path) -> Path | None:
    """Return the first link on the path from `root` to a file: it may lead out of there."""
    steps = [path, *path.parents]
    way = steps[: steps.index(root)]
    return next((step for step in reversed(way) if step.is_symlink()), None)


def read_text(path: Path) -> str | None:
    """Return a file's text with its line endings, or None. Raises DaypassError."""
    try:
        return read_ordinary(str(path), limit_bytes=LIMIT_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DaypassError(f"{path} cannot be read: {error.strerror}") from error


def _make_folders(folder: Path) -> list[Path]:
    """Create a folder and its parents; return those that were missing, from the top."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
