"""A repository that is not laid out as assumed is refused in words, and stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.cli import main
from support.ekf import FOLDERS, KUSTOMIZATION, PATCH, git

OVERLAY = FOLDERS["ekf"]
ENTRY = KUSTOMIZATION[KUSTOMIZATION.index("# The domain") :]


def kustomization(text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / OVERLAY / "kustomization.yaml").write_text(text)

    return change


def link(root: Path) -> None:
    (root / OVERLAY / PATCH).rename(root / "elsewhere.json")
    (root / OVERLAY / PATCH).symlink_to(root / "elsewhere.json")


def second_kustomization(root: Path) -> None:
    (root / OVERLAY / "kustomization.yml").write_text("resources: []\n")


LISTED = "patches:\n- path: patches/ingress_host.json\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (kustomization("resources: [../../base]\n"), "does not list patches/ingress_host.json"),
        (kustomization("patches:\n  - {path: [\n"), "is no kustomization"),
        (kustomization(LISTED + LISTED.partition("\n")[2]), "lists more than once"),
        (kustomization(f"{LISTED}  target: {{kind: Service}}\n"), "is for a Service"),
        (
            kustomization("patches:\n- target: {kind: Ingress}\n  patch: '[]'\n"),
            "does not list patches/ingress_host.json",
        ),
        (lambda root: (root / OVERLAY / PATCH).unlink(), "is not there"),
        (
            lambda root: (root / OVERLAY / "kustomization.yaml").unlink(),
            "has no kustomization.yaml",
        ),
        (second_kustomization, "has more than one kustomization"),
        (link, "is a link"),
        (lambda root: (root / OVERLAY / PATCH).write_bytes(b"\xff\xfe"), "neither JSON nor YAML"),
    ],
)
@pytest.mark.parametrize("what", ["hosts", "door"])
def test_another_layout_is_refused_and_untouched(
    repository: Path,
    change: Callable[[Path], None],
    expected: str,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(repository)
    git(repository, "add", "--all")
    words = ["--adopt", what, "--ekf-host", "ekf.example.com", "--no-cluster"]

    assert main(["init", str(repository), *words]) == 1
    said = capsys.readouterr().err
    assert expected in said
    assert OVERLAY in said
    assert git(repository, "diff") == ""
    assert git(repository, "ls-files", "--others") == ""


def test_a_folder_that_is_no_ekf_repository_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path), "--adopt", "hosts", "--ekf-host", "a.example.com"]) == 1
    said = capsys.readouterr().err
    assert all(folder in said for folder in FOLDERS.values())


@pytest.mark.parametrize(
    "entries",
    [
        ENTRY.format(name="kubernetes-proxy").replace("patches:", "patchesJson6902:"),
        LISTED.replace("path: ", "path: ./") + "  target: {kind: Ingress}\n",
    ],
)
def test_other_ways_to_list_the_patch_are_understood(repository: Path, entries: str) -> None:
    kustomization(f"resources: [../../base]\n{entries}")(repository)

    assert main(["init", str(repository), "--adopt", "hosts", "--ekf-host", "a.example.com"]) == 0
    assert git(repository, "diff", "--numstat", OVERLAY + "/patches").startswith("1\t1\t")
