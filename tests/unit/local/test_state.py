"""Runtime folders are removed with their process or by the next start; others stay."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daypass.local.state import RUNTIME_LOCK, locked_folders, runtime_folder

KEY = "api-server.key"
OTHER_USER = 4242


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runtime folders are made."""
    base = tmp_path / "tmp"
    base.mkdir(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    return base


def left_behind(base: Path, name: str = "daypass-0123abcd") -> Path:
    """The folder that a killed process leaves behind."""
    folder = base / name
    folder.mkdir(0o700)
    for file in (RUNTIME_LOCK, KEY):
        (folder / file).touch(0o600)
    (folder / "judged").mkdir(0o700)
    (folder / "judged" / "envoy.json").touch(0o600)
    return folder


def start() -> None:
    """Do what every start does."""
    with runtime_folder():
        pass


def test_a_runtime_folder_is_private_and_removed_at_the_end(base: Path) -> None:
    with runtime_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / KEY).touch()
    assert not list(base.iterdir())


@contextmanager
def another_process(base: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process with a runtime folder, and a key in it."""
    program = (
        "import pathlib, sys, time\n"
        "from daypass.local.state import runtime_folder\n"
        "with runtime_folder() as folder:\n"
        f"    (folder / {KEY!r}).touch()\n"
        "    print(folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = {**os.environ, "TMPDIR": str(base)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().decode().strip())
        finally:
            process.kill()


def test_a_folder_is_removed_only_once_its_process_was_killed(base: Path) -> None:
    with another_process(base) as (process, folder):
        start()
        assert (folder / KEY).exists(), "its process is alive"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / KEY).exists()
        start()
        assert not folder.exists()


def test_folders_of_the_same_process_do_not_remove_each_other(base: Path, tmp_path: Path) -> None:
    with locked_folders(tmp_path / "one") as one, locked_folders(tmp_path / "two") as two:
        start()
        assert {one.runtime, two.runtime} == set(base.iterdir())


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "missing": lambda lock: None,
    "link": lambda lock: lock.symlink_to(KEY),
    "folder": lambda lock: lock.mkdir(),
    "fifo": os.mkfifo,
    "dangling": lambda lock: lock.symlink_to("absent"),
}


@pytest.mark.parametrize("kind", REPLACEMENTS)
def test_a_folder_without_a_regular_lock_file_stays(base: Path, kind: str) -> None:
    folder = left_behind(base)
    (folder / RUNTIME_LOCK).unlink()
    REPLACEMENTS[kind](folder / RUNTIME_LOCK)
    start()
    assert (folder / KEY).exists()


@pytest.mark.parametrize("what", ["another user's", "open to others"])
def test_a_folder_that_others_may_have_filled_stays(
    base: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folder = left_behind(base)
    if what == "open to others":
        folder.chmod(0o777)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)
    start()
    assert (folder / KEY).exists()


def test_a_symbolic_link_named_like_a_folder_is_not_followed(base: Path, tmp_path: Path) -> None:
    treasure = left_behind(tmp_path, "treasure")
    (base / "daypass-0123abcd").symlink_to(treasure)
    start()
    assert (treasure / KEY).exists()
    assert (base / "daypass-0123abcd").is_symlink()


def test_links_in_a_folder_are_removed_and_not_followed(base: Path, tmp_path: Path) -> None:
    treasure = left_behind(tmp_path, "treasure")
    folder = left_behind(base)
    (folder / "to-a-folder").symlink_to(treasure)
    (folder / "to-a-file").symlink_to(treasure / KEY)
    (folder / "judged" / "deeper").symlink_to(treasure)
    start()
    assert not list(base.iterdir())
    assert (treasure / KEY).exists()
    assert (treasure / "judged" / "envoy.json").exists()


def test_a_folder_swapped_during_the_check_is_not_followed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    treasure = left_behind(tmp_path, "treasure")
    folder = left_behind(base)
    lock = fcntl.flock

    def swap(descriptor: int, operation: int) -> None:
        lock(descriptor, operation)
        if folder.exists() and not folder.is_symlink():
            folder.rename(base / "moved")
            folder.symlink_to(treasure)

    monkeypatch.setattr(fcntl, "flock", swap)
    start()
    assert (treasure / KEY).exists()
    assert not (base / "moved" / KEY).exists()


@pytest.mark.parametrize("name", ["daypass-0123abcd", "daypass-", "daypass-x\n\x1b"])
def test_a_file_named_like_a_folder_stays(base: Path, name: str) -> None:
    (base / name).touch()
    start()
    assert (base / name).exists()
