"""Edits of a repository, carried out whole: written, looked at, committed; or all put back.

The one place where files of a deployments repository change by `daypass init`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daypass.deploy.edits import Edit, undo, write
from daypass.deploy.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit that was made. `has_remote`: whether there is anywhere to push it to."""

    name: str
    has_remote: bool


def carry_out(
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
