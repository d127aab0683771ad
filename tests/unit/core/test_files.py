"""Files of secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from daypass._core.files import (
    UnsafeFileError,
    make_private_folder,
    read_private,
    write_private,
)


def test_what_was_written_is_read_and_is_the_users_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "secret")
    old = os.umask(0)
    try:
        write_private(path, b"hush")
    finally:
        os.umask(old)
    assert read_private(path, limit_bytes=4) == b"hush"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_file_is_replaced_whole_and_gets_its_mode_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old and long")
    path.chmod(0o644)
    write_private(str(path), b"new", durable=False)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    write_private(str(path), b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["secret"]


def test_a_short_write_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_private(str(tmp_path / "secret"), b"0123456789")
    assert (tmp_path / "secret").read_bytes() == b"0123456789"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o010])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"hush")
    path.chmod(mode)
    with pytest.raises(UnsafeFileError, match=f"mode {mode:04o}") as raised:
        read_private(str(path), limit_bytes=100)
    assert raised.value.hint == f"close it with: chmod 600 {path}"


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, said in (("link", "symbolic link"), ("pipe", "ordinary"), (".", "ordinary")):
        with pytest.raises(UnsafeFileError, match=said):
            read_private(str(tmp_path / name), limit_bytes=100)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(str(tmp_path / "none"), limit_bytes=100)


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    write_private(str(tmp_path / "secret"), b"hush")
    with pytest.raises(UnsafeFileError, match="larger than 3 bytes"):
        read_private(str(tmp_path / "secret"), limit_bytes=3)


def test_a_private_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_private_folder(str(folder))
    make_private_folder(str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_open_folder_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    for name, said in (("open", "open to others"), ("link", "not a folder of yours")):
        with pytest.raises(UnsafeFileError, match=said):
            make_private_folder(str(tmp_path / name))
