"""A rendered tree in a folder that is shared with people: compared, written, tidied up.

A file is ours if its first line is the mark. Others are never touched, nor is anything outside of
the places where a tree has files. Links are others' as well.
"""

import contextlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass._core.text import unified_diff
from daypass.render.manifests import MARK

_PLACES = ("*.yaml", "base/*.yaml", "domains/*/*.yaml", "policy/*.yaml", "gate/*.yaml")


class OccupiedError(DaypassError):
    """A file that is somebody else's stands where one of ours would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A file that is not what it would be: `found` in the folder, `rendered` now; None: no file."""

    path: str
    found: str | None
    rendered: str | None

    def diff(self) -> str:
        """What rendering would change, as a unified diff."""
        return unified_diff(self.found, self.rendered, f"a/{self.path}", f"b/{self.path}")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DaypassError(f"{error.filename}: {error.strerror}") from error


@_told()
def drifts(folder: Path, tree: Mapping[str, str]) -> list[Drift]:
    """What differs between the folder and a tree, by path. Raises OccupiedError, and DaypassError
    where a file cannot be read.
    """
    present = _ours(folder)
    found = [
        Drift(path=path, found=present.get(path), rendered=tree.get(path))
        for path in sorted({*present, *tree})
        if present.get(path) != tree.get(path)
    ]
    for drift in found:
        _verify_free(folder, drift)
    return found


@_told()
def write(folder: Path, tree: Mapping[str, str]) -> list[Drift]:
    """Make the folder hold the tree; what was changed, by path.

    Each file is replaced whole, those that list others after what they list, and what is no longer
    rendered goes last: at no time does a file list one that is not there. Raises OccupiedError
    before anything is written.
    """
    changes = drifts(folder, tree)
    for drift in sorted(changes, key=_last_are_lists):
        path = folder / drift.path
        if drift.rendered is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(str(path), drift.rendered.encode(), mode=0o644, durable=False)
    for drift in changes:
        if drift.rendered is None:
            path = folder / drift.path
            path.unlink()
            # A folder that others have files in stays.
            with contextlib.suppress(OSError):
                path.parent.rmdir()
    return changes


def _last_are_lists(drift: Drift) -> tuple[bool, int]:
    is_list = posixpath.basename(drift.path) == "kustomization.yaml"
    return is_list, -drift.path.count("/")


def _ours(folder: Path) -> dict[str, str]:
    files = {file for place in _PLACES for file in folder.glob(place)}
    found = {}
    for file in files:
        path = file.relative_to(folder).as_posix()
        if _is_plain(folder, path):
            text = file.read_bytes().decode("utf-8", "replace")
            if text.startswith(MARK):
                found[path] = text
    return found


def _is_plain(folder: Path, path: str) -> bool:
    """Whether it is a file, on a way that holds no link."""
    way = [folder.joinpath(*path.split("/")[: i + 1]) for i in range(path.count("/") + 1)]
    return way[-1].is_file() and not any(step.is_symlink() for step in way)


def _verify_free(folder: Path, drift: Drift) -> None:
    if drift.found is not None:
        return
    *folders, name = drift.path.split("/")
    step = folder
    for part in [*folders, name]:
        step = step / part
        if step.is_symlink() or (step.exists() and (part is name or not step.is_dir())):
            raise OccupiedError(
                f"{step} is there, and was not rendered by daypass",
                "name another folder with --output, or move it away",
            )
