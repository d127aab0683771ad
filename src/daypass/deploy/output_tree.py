"""A rendered tree in a folder: compared, written, and cleaned of what is not rendered.

A file is daypass's if its first line is the mark. Other files, links, hidden folders, and trees in
folders of their own are never touched.
"""

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass._core.text import unified_diff
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
