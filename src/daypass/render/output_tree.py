"""A rendered tree or chart in a folder: compared, written, and cleaned of what is not rendered.

A file is daypass's if its first line is the mark, or in JSON its first key. Other files, links,
hidden folders, and trees and charts in folders of their own are never touched; a chart is refused
next to files that Helm would install, too.
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
from daypass.render.names import ONE_FILE

_CHART = "Chart.yaml"
_INSTALLED = ("templates", "objects", "pods", "crds", "charts")
"""Folders of a chart: what is in them is installed."""
_NEW_FILE_MODE = 0o644
_MARKS = (MARK, f'{{\n  "$comment": "{MARK[2:-1]}"')


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
    present = _ours(folder)
    _verify_alike(folder, present, tree)
    found = [
        Drift(path=path, found=present.get(path), rendered=tree.get(path))
        for path in sorted({*present, *tree})
        if present.get(path) != tree.get(path)
    ]
    for drift in found:
        _verify_free(folder, drift)
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
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, drift.rendered)
        if drift.rendered is None:
            for part in path.relative_to(folder).parents[1:-1]:
                with contextlib.suppress(OSError):
                    (folder / part).rmdir()
    return changes


def _verify_alike(folder: Path, present: Mapping[str, str], tree: Mapping[str, str]) -> None:
    """Raise OccupiedError if a chart would replace something else, or the other way round; and if
    Helm would install more than what is rendered.
    """
    is_chart = _CHART in tree
    if present and (_CHART in present) is not is_chart:
        held = "a tree" if is_chart else "a chart"
        raise OccupiedError(f"{folder} holds {held} that daypass rendered", "name another folder")
    for part in _INSTALLED if is_chart else ():
        for path in sorted(folder.glob(f"{part}/**/*")):
            name = path.relative_to(folder).as_posix()
            if name not in present and name not in tree and not path.is_dir():
                raise OccupiedError(
                    f"{path} was not rendered by daypass, and Helm would install it",
                    "move it away, or name another folder",
                )


def _order(drift: Drift) -> tuple[bool, bool, int]:
    is_list = posixpath.basename(drift.path) == "kustomization.yaml"
    return drift.rendered is None, is_list, -drift.path.count("/")


def put(path: Path, text: str | None) -> None:
    """Replace a file atomically, with the same mode; None: remove it, and its folder if it is empty
    then. Raises OSError."""
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


def _ours(folder: Path) -> dict[str, str]:
    """Return the text of each rendered file by its path, but for trees and charts further down."""
    found: dict[str, str] = {}
    for where, folders, names in os.walk(folder):  # follows no links
        here = Path(where)
        texts = {name: text for name in names if (text := _rendered_text(here / name))}
        if here != folder and _is_root(texts):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = here.relative_to(folder)
        found |= {(within / name).as_posix(): text for name, text in texts.items()}
    return found


def _is_root(texts: Mapping[str, str]) -> bool:
    """Return whether a folder with these rendered files is that of a whole tree or chart."""
    is_tree = "\n- base\n" in texts.get("kustomization.yaml", "")
    return is_tree or _CHART in texts or ONE_FILE in texts


def _rendered_text(path: Path) -> str:
    """Return the text of a file that daypass has rendered; empty for any other."""
    if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
        return ""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        head = file.read(max(map(len, _MARKS)))
        return head + file.read() if is_rendered(head) else ""


def is_rendered(text: str) -> bool:
    """Return whether a text is that of a rendered file, by its mark."""
    return text.startswith(_MARKS)


def _verify_free(folder: Path, drift: Drift) -> None:
    if drift.found is not None:
        return
    *folders, name = drift.path.split("/")
    step = folder
    for part in [*folders, name]:
        step = step / part
        if step.is_symlink() or (step.exists() and (part is name or not step.is_dir())):
            raise OccupiedError(
                f"{step} exists and was not rendered by daypass",
                "name another folder, or move it away",
            )
