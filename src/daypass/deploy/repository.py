"""Rendered trees in folders, and their commits.

A tree in a folder is compared, written, and cleaned of what is not rendered. A file is daypass's if
its first line is the mark. Other files, links, hidden folders, and trees in folders of their own
are never touched.

A commit has exactly these files. git runs as the user runs it: with their hooks, identity and
signature. Other changes, staged or not, stay as they are. What is wrong with a repository, git
itself says.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass._core.hints import command
from daypass._core.text import join_names, unified_diff
from daypass.render.manifests import MARK

_NEW_FILE_MODE = 0o644


class OccupiedError(DaypassError):
    """A file that daypass did not render is in the place of a rendered one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A file that differs: its text `found` in the folder, and `rendered` now; None: no file."""

    path: str
    found: str | None
    rendered: str | None

    def diff(self) -> str:
        """Return what rendering would change, as a unified diff."""
        return unified_diff(self.found, self.rendered, f"a/{self.path}", f"b/{self.path}")


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "is it a folder that you can write to? name another"
        raise DaypassError(f"{error.filename}: {error.strerror}", hint) from error


@_os_errors()
def drifts(folder: Path, tree: Mapping[str, str]) -> list[Drift]:
    """Return what differs between the folder and a tree, by path.

    Raises OccupiedError, and DaypassError if a file can't be read.
    """
    present = _rendered_files(folder)
    found = [
        Drift(path=path, found=present.get(path), rendered=tree.get(path))
        for path in sorted({*present, *tree})
        if present.get(path) != tree.get(path)
    ]
    for drift in found:
        if drift.found is None:
            _verify_free(folder, drift.path)
    return found


@_os_errors()
def write(folder: Path, tree: Mapping[str, str]) -> list[Drift]:
    """Write the tree to the folder, and return what changed, by path.

    Files are replaced atomically, kustomizations after what they list, and files that are no longer
    rendered are removed last: no kustomization ever lists a missing file. Raises OccupiedError
    before anything is written.
    """
    changes = drifts(folder, tree)
    for drift in sorted(changes, key=_order):
        path = folder / drift.path
        if drift.rendered is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = path.stat().st_mode & 0o7777 if path.exists() else _NEW_FILE_MODE
            write_private(str(path), drift.rendered.encode(), mode=mode, durable=False)
            continue
        path.unlink()
        for parent in path.relative_to(folder).parents[:-1]:
            with contextlib.suppress(OSError):  # a folder that others have files in stays
                (folder / parent).rmdir()
    return changes


def _order(drift: Drift) -> tuple[bool, bool, int]:
    is_list = posixpath.basename(drift.path) == "kustomization.yaml"
    return drift.rendered is None, is_list, -drift.path.count("/")


def _rendered_files(folder: Path) -> dict[str, str]:
    """Return the text of each rendered file by its path, but for trees further down."""
    found: dict[str, str] = {}
    for where, folders, names in os.walk(folder):  # follows no links
        here = Path(where)
        texts = {name: text for name in names if (text := _rendered_text(here / name))}
        if here != folder and "\n- base\n" in texts.get("kustomization.yaml", ""):
            folders.clear()  # the root of a tree of its own
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = here.relative_to(folder)
        found |= {(within / name).as_posix(): text for name, text in texts.items()}
    return found


def _rendered_text(path: Path) -> str:
    """Return the text of a file that daypass has rendered; empty for any other."""
    if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
        return ""
    text = path.read_bytes().decode(errors="replace")
    return text if is_rendered(text) else ""


def is_rendered(text: str) -> bool:
    """Return whether a text is that of a rendered file, by its mark."""
    return text.startswith(MARK)


def _verify_free(folder: Path, path: str) -> None:
    """Raise OccupiedError if something is where a new file is to be written."""
    file = folder / path
    for step in [file, *file.relative_to(folder).parents[:-1]]:
        place = folder / step
        if place.is_symlink() or (place.exists() and (place == file or not place.is_dir())):
            raise OccupiedError(
                f"{place} exists and was not rendered by daypass",
                "name another folder, or move it away",
            )


class GitError(DaypassError):
    """git failed; the hint is its output."""


def run_git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command in a folder. Raises GitError."""
    # Without this option, `:(glob)` or `*` in a path would be a pattern.
    line = ["git", "--literal-pathspecs", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(line, capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("git is not installed", "install it") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise GitError(f"git {arguments[0]} failed", words)
    return done.stdout.decode(errors="surrogateescape")


def would_add(path: str) -> bool:
    """Return whether a file is in a work tree whose git does not ignore it."""
    folder, name = os.path.split(os.path.realpath(path))
    line = ["git", "-C", folder, "check-ignore", "--quiet", "--", name]
    try:
        return subprocess.run(line, capture_output=True, check=False).returncode == 1
    except FileNotFoundError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file that differs from HEAD: two letters as in `git status --porcelain`."""

    letters: str
    path: str

    @property
    def is_unknown(self) -> bool:
        """Whether git does not know the file yet, or ignores it."""
        return self.letters in ("??", "!!")


class Repository:
    """The git work tree that `folder` is in, or will be. Raises GitError if there is none."""

    def __init__(self, folder: Path) -> None:
        there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
        try:
            self.top = Path(run_git(there, "rev-parse", "--show-toplevel").rstrip("\n"))
        except GitError as error:
            raise GitError(
                f"{folder} is in no git work tree: {error.hint}",
                f"git init {there}, or leave the commit out: {command('apply', '--no-commit')}",
            ) from None

    def relative(self, path: Path) -> str:
        """Return a path relative to the top; a link is not followed, but its folder is."""
        whole = os.path.join(os.path.realpath(path.parent), path.name)
        return os.path.relpath(whole, os.path.realpath(self.top))

    def changes(self, paths: Iterable[str]) -> list[FileChange]:
        """Return what differs from HEAD, is not tracked or ignored, below these relative paths."""
        options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored")
        status = run_git(self.top, "status", *options, "--", *paths)
        return [FileChange(letters=line[:2], path=line[3:]) for line in status.split("\0") if line]

    def commit(self, paths: Sequence[str], message: str) -> str:
        """Commit these files and no others; return the line in which git names the commit.

        Raises GitError.
        """
        inside = [path for path in paths if not path.startswith("..")]
        known = {each.path for each in self.changes(inside) if not each.is_unknown}
        if new := [path for path in paths if path not in known]:
            # `--only` takes files that git knows. It refuses those that are outside or ignored.
            run_git(self.top, "add", "--intent-to-add", "--", *new)
        done = run_git(self.top, "commit", "--only", "--message", message, "--", *paths)
        return done.partition("\n")[0]


class Checkout:
    """A config and its rendered tree in a repository, as `daypass apply` commits them.

    `folder`, of the tree, may not exist yet. `sources`: the config, and the files that it names.
    """

    def __init__(self, folder: Path, sources: Sequence[Path], tree: Mapping[str, str]) -> None:
        self._tree = tree
        self._repository = Repository(folder)
        self._folder, *self._sources = map(self._repository.relative, (folder, *sources))

    def uncommitted(self) -> list[str]:
        """Return what is neither staged nor committed: files of the tree, the config, and the files
        that it names.
        """
        changed = [change.path for change in self._changes() if change.letters[1] != " "]
        return [*self._outside(), *changed]

    def commit(self, widened: Sequence[str]) -> str | None:
        """Commit the tree and the config; None if HEAD has all of it.

        `widened`: what the config opens, for the message. Raises GitError.
        """
        paths = [*self._outside(), *(change.path for change in self._changes())]
        if not paths:
            return None
        try:
            message = commit_message(map(self._in_tree, paths), widened)
            return self._repository.commit(paths, message)
        except GitError as error:
            raise GitError(
                f"{error.fact}: nothing was applied, the files stay as rendered",
                f"{error.hint}\nor commit it yourself: {command('apply', '--no-commit')}",
            ) from error

    def _outside(self) -> list[str]:
        """Return the sources that no clone of the repository can have."""
        return [path for path in self._sources if path.startswith("..")]

    def _changes(self) -> list[FileChange]:
        outside = self._outside()
        inside = [path for path in (self._folder, *self._sources) if path not in outside]
        return [change for change in self._repository.changes(inside) if self._is_ours(change)]

    def _is_ours(self, change: FileChange) -> bool:
        if change.path in self._sources or self._in_tree(change.path) in self._tree:
            return True
        if "D" in change.letters and "A" not in change.letters:  # of an earlier rendering
            return is_rendered(run_git(self._repository.top, "show", f"HEAD:{change.path}"))
        return False

    def _in_tree(self, path: str) -> str:
        return os.path.relpath(path, self._folder)


def not_in_git(folder: Path, sources: Sequence[Path], tree: Mapping[str, str]) -> list[str]:
    """Return `Checkout.uncommitted`; nothing if the folder is in no work tree."""
    if any((each / ".git").exists() for each in (folder.absolute(), *folder.absolute().parents)):
        return Checkout(folder, sources, tree).uncommitted()
    return []


def not_committed(paths: Sequence[str]) -> tuple[str, str]:
    """Return a line that names some of these paths, and what to do about them."""
    hint = "`git status --ignored` shows them; add and commit them"
    if any(path.startswith("..") for path in paths):
        hint = f"a clone has no file outside the repository: move it there; {hint}"
    return f"not committed: {join_names(paths)}", hint


def commit_message(paths: Iterable[str], widened: Sequence[str]) -> str:
    """Return the message of a commit: what changes, by paths in the tree, and what that opens."""
    folders = {os.path.dirname(path) for path in paths}
    named = sorted(each for each in folders if each and not each.startswith(".."))
    subject = f"Apply {join_names(named) or 'daypass.yaml'}"
    return "\n".join([subject, "", *(f"Opens: {line}" for line in widened), "By daypass apply."])
