"""Changes of files in a repository: shown as a diff; written, and committed, all or none."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError
from daypass._core.files import read_ordinary, write_private
from daypass._core.text import unified_diff
from daypass.deploy.git import Commit, Repository

_NEW_FILE_MODE = 0o644
LIMIT_BYTES = 1024 * 1024
"""Larger files of a repository are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A file before and after. `before` None: it is new; `after` None: it is deleted."""

    path: Path
    before: str | None
    after: str | None


class WriteError(DaypassError):
    """A file could not be written; the others were restored."""


def diff(edits: Sequence[Edit], root: Path) -> str:
    """Return what would change, as a unified diff with paths relative to `root`."""
    parts = []
    for edit in edits:
        name = os.path.relpath(edit.path, root)
        parts.append(unified_diff(edit.before, edit.after, f"a/{name}", f"b/{name}"))
    return "".join(parts)


def write(edits: Sequence[Edit], root: Path) -> list[Path]:
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
            if read(edit.path) != edit.before:
                raise WriteError(f"{edit.path} was changed meanwhile", "nothing is written: again")
            folders += _make_folders(edit.path.parent)
            _put(edit.path, edit.after)
            done.append(edit)
    except BaseException as error:
        undo(done, folders)
        if isinstance(error, OSError):
            fact = f"{error.filename}: {error.strerror}"
            raise WriteError(fact, "nothing is written") from error
        raise
    return folders


def commit_edits(
    edits: Sequence[Edit],
    *,
    folder: Path,
    message: str | None,
    verify: Callable[[], None] = lambda: None,
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
    folders = write(edits, folder)
    try:
        verify()
        if repository is None or message is None:
            return None
        return repository.commit(repository.changes(map(repository.relative, paths)), message)
    except BaseException:
        undo(edits, folders)
        raise


def undo(edits: Sequence[Edit], folders: Sequence[Path]) -> None:
    """Restore the files before these edits, and remove the folders that were created."""
    for edit in reversed(edits):
        with contextlib.suppress(OSError):
            _make_folders(edit.path.parent)
            _put(edit.path, edit.before)
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


def link_on_the_way(path: Path, root: Path) -> Path | None:
    """Return the first link on the path from `root` to a file: it may lead out of there."""
    steps = [path, *path.parents]
    way = steps[: steps.index(root)]
    return next((step for step in reversed(way) if step.is_symlink()), None)


def read(path: Path) -> str | None:
    """Return a file's text with its line endings, or None. Raises DaypassError."""
    try:
        return read_ordinary(str(path), limit_bytes=LIMIT_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DaypassError(f"{path} cannot be read: {error.strerror}") from error


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        with contextlib.suppress(OSError):  # a folder that others have files in stays
            path.parent.rmdir()
        return
    try:
        mode = path.stat().st_mode & 0o7777
    except FileNotFoundError:
        mode = _NEW_FILE_MODE
    content = text.encode("utf-8", "surrogateescape")
    write_private(str(path), content, mode=mode, durable=False)


def _make_folders(folder: Path) -> list[Path]:
    """Create a folder and its parents; return those that were missing, from the top."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
