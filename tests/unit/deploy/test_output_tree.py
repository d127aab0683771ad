"""A rendered tree in a folder that contains other files too."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.deploy.repository import OccupiedError, drifts, write
from daypass.render.manifests import MARK
from support.messages import raises

ONE = {
    "kustomization.yaml": MARK + "resources: [base, domains/a]\n",
    "base/kustomization.yaml": MARK + "resources: [x.yaml]\n",
    "base/x.yaml": MARK + "x: 1\n",
    "domains/a/kustomization.yaml": MARK + "resources: []\n",
}
OTHER = {
    "kustomization.yaml": MARK + "resources: [base]\n",
    "base/kustomization.yaml": MARK + "resources: [y.yaml]\n",
    "base/y.yaml": MARK + "y: 1\n",
}


def files(folder: Path) -> dict[str, str]:
    return {
        f.relative_to(folder).as_posix(): f.read_text() for f in folder.rglob("*") if f.is_file()
    }


def test_obsolete_files_are_removed_and_foreign_files_kept(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    mine = {
        "base/mine.yaml": "mine: 1\n",
        "README.md": f"Files with this line are rendered:\n{MARK}",
        "domains/b/mine.yaml": "mine: 2\n",
        ".git/x.yaml": MARK + "x: 1\n",
        # Rendered from other configs, or otherwise.
        "staging/kustomization.yaml": MARK + "resources:\n- base\n",
        "staging/base/x.yaml": MARK + "x: 1\n",
    }
    obsolete = {"anywhere/at/all/x.yaml": MARK + "x: 1\n"}
    for path, text in {**mine, **obsolete}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    changed = {d.path: d.rendered is None for d in write(tmp_path, OTHER)}
    assert changed["base/x.yaml"]
    assert changed["domains/a/kustomization.yaml"]
    assert files(tmp_path) == OTHER | mine
    assert not (tmp_path / "domains/a").exists()
    assert not (tmp_path / "anywhere").exists()


def test_an_edited_file_is_drift_and_is_rewritten(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    (tmp_path / "base/x.yaml").write_text(MARK + "x: 2\n")
    (drift,) = drifts(tmp_path, ONE)
    assert drift.diff().splitlines()[:2] == ["--- a/base/x.yaml", "+++ b/base/x.yaml"]
    assert "-x: 2\n+x: 1\n" in drift.diff()
    assert files(tmp_path)["base/x.yaml"] != ONE["base/x.yaml"], "drifts() writes nothing"
    write(tmp_path, ONE)
    assert files(tmp_path) == ONE


OCCUPIED = {
    "file": "base/x.yaml",
    "link": "base/x.yaml",
    "folder link": "base",
    "file for folder": "base",
}


@pytest.mark.parametrize("what", OCCUPIED)
def test_a_foreign_file_is_never_replaced_and_stops_the_write(tmp_path: Path, what: str) -> None:
    folder, outside = tmp_path / "deploy", tmp_path / "outside"
    outside.mkdir()
    (outside / "x.yaml").write_text(MARK + "theirs\n")
    folder.mkdir()
    if what == "file for folder":
        (folder / "base").write_text("theirs")
    elif what == "folder link":
        (folder / "base").symlink_to(outside)
    else:
        (folder / "base").mkdir()
        if what == "link":
            (folder / "base/x.yaml").symlink_to(outside / "x.yaml")
        else:
            (folder / "base/x.yaml").write_text("# theirs\n")
    before = files(tmp_path)
    with raises(OccupiedError, match=rf"/{OCCUPIED[what]} "):
        write(folder, ONE)
    assert files(tmp_path) == before
