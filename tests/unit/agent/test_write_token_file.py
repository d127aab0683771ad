"""Writing token files: complete, with mode and owner, also while others change the folder."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
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

WRITER = """
import sys
from daypass.agent.config import TokenFile
from daypass.agent.file_renewer import write_token_file
path, letter, count = sys.argv[1:]
made = TokenFile(path=path, mode=0o600, audience=None, lifetime_seconds=None)
print("begun", flush=True)
for number in range(int(count)):
    write_token_file(made, f"{letter}{number:08}".encode() * 500)
"""


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
    assert_precious(outside)


def assert_precious(outside: Path) -> None:
    assert (outside / "precious").read_text() == "precious"
    status = (outside / "precious").stat()
    assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (1, 0o600)


def is_whole(content: bytes) -> bool:
    return len(content) == 4500 and content == content[:9] * 500


def test_the_file_has_its_content_and_mode_whatever_was_there(folder: Path) -> None:
    before = os.umask(0o777)
    try:
        for content in (b"one", b"three" * 5000):
            put(folder / "t", content, mode=0o640)
            assert (folder / "t").read_bytes() == content
            assert stat.S_IMODE(os.stat(folder / "t").st_mode) == 0o640
            os.chmod(folder / "t", 0o666)  # noqa: S103 - the harm
    finally:
        os.umask(before)


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


def writer(path: Path, letter: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), letter, str(count)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_concurrent_agents_do_not_lose_each_others_files(folder: Path) -> None:
    names = "ttaa"
    processes = [writer(folder / name, "wxyz"[n], 60) for n, name in enumerate(names)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 4
    for name in names:
        content = (folder / name).read_bytes()
        assert is_whole(content)
        assert content[1:9] == b"00000059"
    assert set(os.listdir(folder)) == set(names)


def test_an_agent_killed_at_any_moment_leaves_complete_files_and_no_lock(folder: Path) -> None:
    put(folder / "t", b"w00000000" * 500)
    for round_ in range(3):
        process = writer(folder / "t", "w", 1_000_000)
        assert process.stdout is not None
        process.stdout.readline()
        # Not a wait for something: a moment that no test could name.
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.Random(round_).random() / 20)  # noqa: S311 - no secret
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert is_whole((folder / "t").read_bytes())
        put(folder / "t", b"w00000001" * 500)
        assert os.listdir(folder) == ["t"]


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
    """What somebody who may write to the folder, or to its parent, can do to it."""

    def link() -> None:
        (folder / "t").unlink()
        (folder / "t").symlink_to(outside / "precious")

    def partials() -> None:
        for name in os.listdir(folder):
            if "daypass-" in name:
                (folder / name).rename(folder / "away")
                (folder / name).symlink_to(outside)

    def swap() -> None:
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(outside)
        folder.unlink()
        folder.with_name("moved").rename(folder)

    return {each.__name__: each for each in (link, partials, swap)}


@pytest.mark.parametrize("name", ["link", "partials", "swap"])
def test_an_attack_on_the_folder_touches_nothing_outside_it(
    folder: Path, outside: Path, name: str
) -> None:
    with attacked(attacks(folder, outside)[name]):
        for number in range(150):
            with suppress(OSError):
                put(folder / "t", b"w%08d" % number * 500)
            # A user who may replace the folder by a link decides where tokens go.
            assert_precious(outside) if name == "swap" else assert_untouched(outside)
    with suppress(OSError):
        (folder / "away").unlink()
    put(folder / "t", b"w00000999" * 500)
    assert (folder / "t").read_bytes() == b"w00000999" * 500
    assert_precious(outside)
    assert not [each for each in os.listdir(outside) if each.startswith(".t.daypass-")]
