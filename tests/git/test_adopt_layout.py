"""A repository with an unknown layout is refused with a reason, and stays unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.ekf import FOLDERS, KUSTOMIZATION, PATCH, adopt, git
from support.messages import check

OVERLAY = FOLDERS["ekf"]
ENTRY = KUSTOMIZATION[KUSTOMIZATION.index("# The domain") :]


def kustomization(text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / OVERLAY / "kustomization.yaml").write_text(text)

    return change


def link(root: Path) -> None:
    (root / OVERLAY / PATCH).rename(root / "elsewhere.json")
    (root / OVERLAY / PATCH).symlink_to(root / "elsewhere.json")


def linked_folder(folder: str) -> Callable[[Path], None]:
    """Move a folder out of the repository, and put a symlink in its place."""

    def change(root: Path) -> None:
        outside = root.parent / "outside"
        (root / folder).rename(outside)
        (root / folder).symlink_to(outside)

    return change


def pipe(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / OVERLAY / name).unlink()
        os.mkfifo(root / OVERLAY / name)

    return change


def large(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with open(root / OVERLAY / name, "r+b") as file:
            file.truncate(32 * 1024 * 1024)  # a sparse file

    return change


BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40))]
)


LISTED = "patches:\n- path: patches/ingress_host.json\n"
HOST_PATCH = f"{OVERLAY}/{PATCH}"
FILE = f"{OVERLAY}/kustomization.yaml"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no patches": (kustomization("resources: [../../base]\n"), f"{FILE} "),
    "broken YAML": (kustomization("patches:\n  - {path: [\n"), f"{FILE} "),
    "listed twice": (kustomization(LISTED + LISTED.partition("\n")[2]), f"{FILE} "),
    "for a Service": (kustomization(f"{LISTED}  target: {{kind: Service}}\n"), "Service"),
    "an inline patch": (
        kustomization("patches:\n- target: {kind: Ingress}\n  patch: '[]'\n"), f"{FILE} ",
    ),
    "no patch file": (lambda root: (root / OVERLAY / PATCH).unlink(), HOST_PATCH),
    "no kustomization": (lambda root: (root / FILE).unlink(), "kustomization.yaml"),
    "two kustomizations": (
        lambda root: (root / OVERLAY / "kustomization.yml").write_text("resources: []\n"), OVERLAY,
    ),
    "a linked patch": (link, f"{HOST_PATCH} "),
    "a linked folder of patches": (linked_folder(f"{OVERLAY}/patches"), f"{OVERLAY}/patches "),
    "a linked overlay": (linked_folder(OVERLAY), f"{OVERLAY} "),
    "deep": (kustomization(f"{LISTED}x: {'[' * 20_000}\n"), f"{FILE} "),
    "less deep": (kustomization(f"{LISTED}x: {'[' * 2_000}{']' * 2_000}\n"), f"{FILE} "),
    "aliases of aliases": (kustomization(f"{LISTED}{BOMB}\n"), f"{FILE} "),
    "a long value": (kustomization(f"{LISTED}x: {'y' * 300_000}\n"), f"{FILE} "),
    "a large patch": (large(PATCH), HOST_PATCH),
    "a large kustomization": (large("kustomization.yaml"), FILE),
    "a deep patch": (lambda root: (root / HOST_PATCH).write_text("[" * 20_000), f"{HOST_PATCH} "),
    "a patch of aliases": (lambda root: (root / HOST_PATCH).write_text(BOMB), f"{HOST_PATCH} "),
    "a named pipe as the patch": (pipe(PATCH), HOST_PATCH),
    "a named pipe as the kustomization": (pipe("kustomization.yaml"), "kustomization.yaml"),
    "not UTF-8": (lambda root: (root / HOST_PATCH).write_bytes(b"\xff\xfe"), f"{HOST_PATCH} "),
}  # fmt: skip
"""A change to the repository, and what the refusal names."""


@pytest.mark.parametrize(("change", "value"), REFUSED.values(), ids=REFUSED)
def test_an_unknown_layout_is_refused_and_unchanged(
    repository: Path, change: Callable[[Path], object], value: str, refused: Callable[..., None]
) -> None:
    change(repository)
    names = (value, OVERLAY)
    for what in ("hosts", "door"):  # the second message is the same
        refused(repository, what, "--ekf-host", "ekf.example.com", names=names)


@pytest.mark.parametrize(
    "commit", [(), ("--commit",), ("--dry-run",)], ids=["write", "commit", "dry run"]
)
def test_nothing_outside_of_the_repository_is_changed(
    repository: Path, commit: tuple[str, ...]
) -> None:
    linked_folder(f"{OVERLAY}/patches")(repository)
    outside = repository.parent / "outside" / Path(PATCH).name
    before = outside.read_bytes()
    assert adopt(repository, "hosts", "--ekf-host", "ekf.example.com", *commit) == 1
    assert outside.read_bytes() == before
    assert sorted(outside.parent.iterdir()) == [outside]


def test_a_folder_without_overlays_is_refused_with_the_missing_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt(tmp_path, "hosts", "--ekf-host", "a.example.com") == 1
    stderr = capsys.readouterr().err
    assert all(folder in stderr for folder in FOLDERS.values())
    check(stderr, reason="failed")


@pytest.mark.parametrize(
    "entries",
    [
        ENTRY.format(name="kubernetes-proxy").replace("patches:", "patchesJson6902:"),
        LISTED.replace("path: ", "path: ./") + "  target: {kind: Ingress}\n",
    ],
    ids=["older list", "relative path"],
)
def test_other_ways_to_list_the_patch_are_accepted(repository: Path, entries: str) -> None:
    kustomization(f"resources: [../../base]\n{entries}")(repository)

    assert adopt(repository, "hosts", "--ekf-host", "a.example.com") == 0
    assert git(repository, "diff", "--numstat", OVERLAY + "/patches").startswith("1\t1\t")
