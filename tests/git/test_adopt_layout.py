"""A repository that is not laid out as assumed is refused in words, and stays as it is."""

from __future__ import annotations

import os
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


def linked_folder(folder: str) -> Callable[[Path], None]:
    """A folder of the repository moves out of it, and a link to it takes its place."""

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
            file.truncate(32 * 1024 * 1024)  # of zeros that take no room

    return change


BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40))]
)


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
        (linked_folder(f"{OVERLAY}/patches"), f"{OVERLAY}/patches is a link"),
        (linked_folder(OVERLAY), f"{OVERLAY} is a link"),
        (kustomization(f"{LISTED}x: {'[' * 20_000}\n"), "is no kustomization"),
        (kustomization(f"{LISTED}x: {'[' * 2_000}{']' * 2_000}\n"), "is no kustomization"),
        (kustomization(f"{LISTED}{BOMB}\n"), "is no kustomization"),
        (kustomization(f"{LISTED}x: {'y' * 300_000}\n"), "is no kustomization"),
        (large(PATCH), "is larger than"),
        (large("kustomization.yaml"), "is larger than"),
        (lambda root: (root / OVERLAY / PATCH).write_text("[" * 20_000), "neither JSON nor YAML"),
        (lambda root: (root / OVERLAY / PATCH).write_text(BOMB), "neither JSON nor YAML"),
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [(PATCH, "is not an ordinary file"), ("kustomization.yaml", "has no kustomization.yaml")],
)
@pytest.mark.parametrize("what", ["hosts", "door"])
def test_a_pipe_in_place_of_a_file_is_refused_and_nobody_waits_for_it(
    repository: Path, name: str, expected: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(name)(repository)
    words = ["--adopt", what, "--ekf-host", "ekf.example.com", "--no-cluster"]
    assert main(["init", str(repository), *words]) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("commit", [(), ("--commit",), ("--dry-run",)])
def test_nothing_outside_of_the_repository_is_changed(
    repository: Path, commit: tuple[str, ...]
) -> None:
    linked_folder(f"{OVERLAY}/patches")(repository)
    outside = repository.parent / "outside" / Path(PATCH).name
    before = outside.read_bytes()
    words = ["--adopt", "hosts", "--ekf-host", "ekf.example.com", *commit]
    assert main(["init", str(repository), *words]) == 1
    assert outside.read_bytes() == before
    assert sorted(outside.parent.iterdir()) == [outside]


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
