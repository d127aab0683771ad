"""Writing token files: complete, with mode and owner, also while others change the folder."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daypass.agent import file_renewer
from daypass.agent.config import TokenFile
from daypass.agent.file_renewer import write_token_file


def put(path: Path, content: bytes, **changes: object) -> None:
    """Write a token file that is private unless changed."""
    made = TokenFile(path=str(path), mode=0o600, audience=None, lifetime_seconds=None)
    write_token_file(replace(made, **changes), content)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where tokens are put."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of the agent's, with a file."""
    (tmp_path / "outside").mkdir(0o700)
    (tmp_path / "outside" / "precious").write_text("precious")
    (tmp_path / "outside" / "precious").chmod(0o600)
    return tmp_path / "outside"


def assert_untouched(outside: Path) -> None:
    assert os.listdir(outside) == ["precious"]
    assert (outside / "precious").read_text() == "precious"
    status = (outside / "precious").stat()
    assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (1, 0o600)


def test_what_a_killed_agent_left_is_removed_and_nothing_else(folder: Path) -> None:
    (folder / ".t.daypass-deadbeef").write_text("of a run that was killed")
    (folder / ".other.daypass-deadbeef").write_text("somebody else's")
    put(folder / "t", b"one")
    assert sorted(os.listdir(folder)) == [".other.daypass-deadbeef", "t"]


def test_the_owner_is_set_before_the_mode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []

    def fchown(descriptor: int, uid: int, gid: int) -> None:
        seen.append((oct(stat.S_IMODE(os.fstat(descriptor).st_mode)), uid, gid))

    monkeypatch.setattr(os, "fchown", fchown)
    put(folder / "t", b"one", mode=0o440, owner=(1001, 1002))
    assert seen == [("0o600", 1001, 1002)]
    assert stat.S_IMODE(os.stat(folder / "t").st_mode) == 0o440


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_folder_that_becomes_a_link_is_not_followed(
    folder: Path, outside: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "t", b"one")
    moved = folder.with_name("moved")
    real = getattr(os, moment)

    def swap(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(os, moment, real)
        folder.rename(moved)
        folder.symlink_to(outside)
        real(*arguments, **options)

    monkeypatch.setattr(os, moment, swap)
    put(folder / "t", b"two")
    assert_untouched(outside)
    assert (moved / "t").read_bytes() == b"two"


def test_a_locked_folder_delays_one_attempt_and_breaks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "t", b"one")
    monkeypatch.setattr(file_renewer, "_LOCK_PAUSE_SECONDS", 0.001)
    descriptor = os.open(folder, os.O_RDONLY)
    file_renewer._lock(descriptor, str(folder))
    with pytest.raises(BlockingIOError):
        put(folder / "t", b"two")
    os.close(descriptor)
    assert (folder / "t").read_bytes() == b"one"
    put(folder / "t", b"three")
    assert (folder / "t").read_bytes() == b"three"


@contextmanager
def attacked(attack: Callable[[], None]) -> Iterator[None]:
    """Somebody does this over and over, whatever comes of it."""
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            with suppress(OSError):
                attack()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def attacks(folder: Path, outside: Path) -> dict[str, Callable[[], None]]:
    """What somebody who may write to the folder can do to it."""

    def link() -> None:
        (folder / "t").unlink()
        (folder / "t").symlink_to(outside / "precious")

    def partials() -> None:
        for name in os.listdir(folder):
            if "daypass-" in name:
                (folder / name).rename(folder / "away")
                (folder / name).symlink_to(outside)

    return {each.__name__: each for each in (link, partials)}


@pytest.mark.parametrize("name", ["link", "partials"])
def test_an_attack_on_the_folder_touches_nothing_outside_it(
    folder: Path, outside: Path, name: str
) -> None:
    with attacked(attacks(folder, outside)[name]):
        for number in range(150):
            with suppress(OSError):
                put(folder / "t", b"w%08d" % number * 500)
            assert_untouched(outside)
    with suppress(OSError):
        (folder / "away").unlink()
    put(folder / "t", b"w00000999" * 500)
    assert (folder / "t").read_bytes() == b"w00000999" * 500
    assert_untouched(outside)
