"""Placing a token file while others change the folder: nothing else is touched,
a reader finds whole tokens, and nothing is left behind."""

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
from pathlib import Path
from typing import Any

import pytest

from daypass.agent import atomic_write
from unit.agent.placing import place

WRITER = """
import sys
from dataclasses import replace
from daypass.agent.config import TokenFile
from daypass.agent.atomic_write import write_atomically
path, layout, letter, count = sys.argv[1:]
made = TokenFile(path=path, mode=0o600, audience=None, lifetime_seconds=None)
print("begun", flush=True)
for number in range(int(count)):
    write_atomically(replace(made, layout=layout), f"{letter}{number:08}".encode() * 500)
"""


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
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


def assert_precious(outside: Path) -> None:
    assert (outside / "precious").read_text() == "precious"
    status = (outside / "precious").stat()
    assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (1, 0o600)


def assert_tidy(folder: Path, names: set[str], layout: str) -> None:
    """Nothing but the files; in a volume also its link and two generations."""
    found = set(os.listdir(folder))
    generations = {name for name in found if name.startswith("..daypass-")}
    expected = {*names, "..data"} if layout == "volume" else names
    assert found - generations == expected
    assert len(generations) <= (2 if layout == "volume" else 0)


def is_whole(content: bytes) -> bool:
    return len(content) == 4500 and content == content[:9] * 500


@pytest.mark.parametrize("leads_to", ["..daypass-x", "..daypass-y/../../outside", "../outside"])
def test_a_data_link_that_leads_elsewhere_is_not_followed(
    folder: Path, outside: Path, leads_to: str
) -> None:
    (folder / "..daypass-x").symlink_to(outside)
    (folder / "..daypass-y").mkdir()
    (folder / "..data").symlink_to(leads_to)
    for number in range(3):
        place(folder / "t", b"%d" % number, layout="volume")
        assert (folder / "t").read_bytes() == b"%d" % number
        assert_untouched(outside)
    assert_tidy(folder, {"t"}, "volume")


def test_a_new_generation_that_becomes_a_link_is_not_followed(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def swap(path: Any, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        made = folder / Path(path).name
        made.rename(folder / "away")
        made.symlink_to(outside)

    monkeypatch.setattr(os, "mkdir", swap)
    with pytest.raises(OSError):  # noqa: PT011 - which one is the machine's to say
        place(folder / "t", b"one", layout="volume")
    assert_untouched(outside)
    assert not (folder / "t").exists()


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_folder_that_becomes_a_link_is_not_followed(
    folder: Path, outside: Path, layout: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(folder / "t", b"one", layout=layout)
    moved = folder.with_name("moved")
    real = getattr(os, moment)

    def swap(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(os, moment, real)
        folder.rename(moved)
        folder.symlink_to(outside)
        real(*arguments, **options)

    monkeypatch.setattr(os, moment, swap)
    with pytest.raises(OSError):  # noqa: PT011 - which one is the machine's to say
        place(folder / "t", b"two", layout=layout)
    assert_untouched(outside)
    assert (moved / "t").read_bytes() in (b"one", b"two")
    assert_tidy(moved, {"t"}, layout)
    folder.unlink()
    moved.rename(folder)
    place(folder / "t", b"three", layout=layout)
    assert (folder / "t").read_bytes() == b"three"


def test_a_missing_folder_is_an_error_until_it_returns(folder: Path, layout: str) -> None:
    folder.rmdir()
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            place(folder / "t", b"one", layout=layout)
    folder.touch()
    with pytest.raises(NotADirectoryError):
        place(folder / "t", b"one", layout=layout)
    folder.unlink()
    folder.mkdir()
    place(folder / "t", b"one", layout=layout)
    assert (folder / "t").read_bytes() == b"one"


def test_a_folder_in_place_of_the_file_leaves_no_temporary_files(folder: Path, layout: str) -> None:
    (folder / "t").mkdir()
    for _ in range(5):
        with pytest.raises(OSError):  # noqa: PT011 - which one is the machine's to say
            place(folder / "t", b"one", layout=layout)
    generations = [name for name in os.listdir(folder) if "daypass" in name]
    assert len(generations) <= (2 if layout == "volume" else 0)
    (folder / "t").rmdir()
    place(folder / "t", b"two", layout=layout)
    assert (folder / "t").read_bytes() == b"two"


def writer(path: Path, layout: str, letter: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), layout, letter, str(count)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("names", ["tttt", "abcd"])
def test_concurrent_agents_do_not_lose_each_others_files(
    folder: Path, layout: str, names: str
) -> None:
    processes = [writer(folder / name, layout, "wxyz"[n], 60) for n, name in enumerate(names)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 4
    for name, letter in zip(names, "wxyz", strict=True):
        content = (folder / name).read_bytes()
        assert is_whole(content)
        assert content[1:9] == b"00000059"
        assert names == "tttt" or content[:1] == letter.encode()
    assert_tidy(folder, set(names), layout)


def test_an_agent_killed_at_any_moment_leaves_complete_files_and_no_lock(
    folder: Path, layout: str
) -> None:
    place(folder / "t", b"w00000000" * 500, layout=layout)
    for round_ in range(12):
        process = writer(folder / "t", layout, "w", 1_000_000)
        assert process.stdout is not None
        process.stdout.readline()
        # Not a wait for something: a moment that no test could name.
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.Random(round_).random() / 20)  # noqa: S311 - no secret
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert is_whole((folder / "t").read_bytes())
        place(folder / "t", b"w00000001" * 500, layout=layout)
        assert_tidy(folder, {"t"}, layout)


def test_a_locked_folder_delays_one_attempt_and_breaks_nothing(
    folder: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(folder / "t", b"one", layout=layout)
    monkeypatch.setattr(atomic_write, "_LOCK_PAUSE_SECONDS", 0.001)
    with atomic_write._opened(str(folder)), pytest.raises(BlockingIOError):
        place(folder / "t", b"two", layout=layout)
    assert (folder / "t").read_bytes() == b"one"
    place(folder / "t", b"three", layout=layout)
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

    def directory() -> None:
        (folder / "t").unlink()
        (folder / "t").mkdir()
        (folder / "t").rmdir()

    def write() -> None:
        (folder / "mine").write_bytes(b"m00000000" * 500)
        (folder / "mine").rename(folder / "t")

    def partials() -> None:
        for name in os.listdir(folder):
            if "daypass-" in name:
                (folder / name).rename(folder / "away")
                (folder / name).symlink_to(outside)

    def data() -> None:
        (folder / "..data").unlink()
        (folder / "..data").symlink_to(outside)

    def modes() -> None:
        for each in (folder, *folder.iterdir()):
            if not each.is_symlink():
                each.chmod(0o700)

    def swap() -> None:
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(outside)
        folder.unlink()
        folder.with_name("moved").rename(folder)

    return {each.__name__: each for each in (link, directory, write, partials, data, modes, swap)}


@pytest.mark.parametrize(
    "name", ["link", "directory", "write", "partials", "data", "modes", "swap"]
)
def test_an_attack_on_the_folder_touches_nothing_outside_it(
    folder: Path, outside: Path, layout: str, name: str
) -> None:
    with attacked(attacks(folder, outside)[name]):
        for number in range(150):
            with suppress(OSError):
                place(folder / "t", b"w%08d" % number * 500, layout=layout)
            # A user who may replace the folder by a link decides where tokens go.
            assert_precious(outside) if name == "swap" else assert_untouched(outside)
    for junk in ("away", "mine"):
        with suppress(OSError):
            (folder / junk).unlink()
    place(folder / "t", b"w00000999" * 500, layout=layout)
    assert (folder / "t").read_bytes() == b"w00000999" * 500
    assert_precious(outside)
    assert not [each for each in os.listdir(outside) if each.startswith(".t.daypass-")]
