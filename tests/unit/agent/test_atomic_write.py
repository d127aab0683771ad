"""Writing token files: complete, with mode and owner, whatever was there before."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from unit.agent.placing import place


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_file_has_its_content_and_mode(tmp_path: Path, layout: str) -> None:
    before = os.umask(0o777)
    try:
        for content in (b"one", b"", b"three" * 5000):
            place(tmp_path / "t", content, layout=layout, mode=0o640)
            assert (tmp_path / "t").read_bytes() == content
            assert stat.S_IMODE(os.stat(tmp_path / "t").st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_changed_mode_is_restored(tmp_path: Path, layout: str) -> None:
    place(tmp_path / "t", b"one", layout=layout)
    os.chmod(tmp_path / "t", 0o666)  # noqa: S103 - the harm
    place(tmp_path / "t", b"two", layout=layout)
    assert stat.S_IMODE(os.stat(tmp_path / "t").st_mode) == 0o600


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    (tmp_path / ".t.daypass-deadbeef").write_text("of a run that was killed")
    (tmp_path / ".other.daypass-deadbeef").write_text("somebody else's")
    place(tmp_path / "t", b"one")
    assert names(tmp_path) == [".other.daypass-deadbeef", "t"]


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "t").symlink_to("precious")
    place(tmp_path / "t", b"one")
    assert not (tmp_path / "t").is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("owner", [(1001, -1), (-1, 1002), (1001, 1002)])
def test_the_owner_is_set_before_the_mode(
    tmp_path: Path, layout: str, owner: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, int]] = []

    def fchown(descriptor: int, uid: int, gid: int) -> None:
        seen.append((oct(stat.S_IMODE(os.fstat(descriptor).st_mode)), uid, gid))

    monkeypatch.setattr(os, "fchown", fchown)
    place(tmp_path / "t", b"one", layout=layout, mode=0o440, owner=owner)
    assert seen == [("0o600", *owner)]
    assert stat.S_IMODE(os.stat(tmp_path / "t").st_mode) == 0o440


# -- a folder that is swapped as a whole


def test_a_volume_looks_as_the_kubelet_makes_it(tmp_path: Path) -> None:
    place(tmp_path / "a", b"1", layout="volume")
    place(tmp_path / "b", b"2", layout="volume")
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert (tmp_path / "..data").is_symlink()
    assert names(tmp_path / "..data") == ["a", "b"]
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"1", b"2")


def test_a_swap_keeps_the_other_files_with_their_modes(tmp_path: Path) -> None:
    place(tmp_path / "a", b"1", layout="volume", mode=0o640)
    place(tmp_path / "b", b"2", layout="volume")
    place(tmp_path / "b", b"3", layout="volume")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o640


def test_exactly_one_old_generation_is_kept(tmp_path: Path) -> None:
    for number in range(5):
        before = os.readlink(tmp_path / "..data") if number else None
        place(tmp_path / "a", b"%d" % number, layout="volume")
        if before:
            assert (tmp_path / before / "a").read_bytes() == b"%d" % (number - 1)
    assert sum(name.startswith("..daypass-") for name in names(tmp_path)) == 2


def test_the_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    place(tmp_path / "a", b"1", layout="volume")
    (tmp_path / "..daypass-00000000").mkdir()
    (tmp_path / "..daypass-00000000" / "a").write_text("half")
    (tmp_path / "..data_next").symlink_to("..daypass-00000000")
    place(tmp_path / "a", b"2", layout="volume")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert not (tmp_path / "..data_next").exists()
    assert not (tmp_path / "..daypass-00000000").exists()


def test_a_folder_of_another_program_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..data").symlink_to("..2026_01_01")
    place(tmp_path / "a", b"1", layout="volume")
    assert (tmp_path / "..2026_01_01").is_dir()
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_plain_file_becomes_a_link_into_the_volume(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    place(tmp_path / "a", b"1", layout="volume")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_reader_always_sees_a_complete_token(tmp_path: Path, layout: str) -> None:
    """Never nothing, never a part, never the end of one with the beginning of another."""
    whole = [bytes([65 + n]) * 4096 for n in range(20)]
    place(tmp_path / "t", whole[0], layout=layout)
    torn: list[bytes] = []
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                content = (tmp_path / "t").read_bytes()
            except FileNotFoundError:
                # Two whole renewals of a volume within one open(2), as they never follow each
                # other outside of this test.
                assert layout == "volume"
                continue
            seen.add(content)
            if content not in whole:
                torn.append(content)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(10):
            for content in whole:
                place(tmp_path / "t", content, layout=layout)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert torn == []
    assert seen
