"""Files that hold secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from daypass._core.files import (
    UnsafeFileError,
    fingerprint,
    make_private_folder,
    read_ordinary,
    read_private,
    write_private,
)
from support.messages import raises
from unit.core.fake_files import owned_by


def test_a_written_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = str(tmp_path / "secret")
    old = os.umask(0)
    try:
        write_private(path, b"hush")
    finally:
        os.umask(old)
    assert read_private(path, limit_bytes=4) == b"hush"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file(
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


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_private(str(tmp_path / "secret"), b"0123456789")
    assert (tmp_path / "secret").read_bytes() == b"0123456789"


@pytest.mark.parametrize("mode", [0o640, 0o604], ids="{:04o}".format)
def test_a_file_that_others_can_access_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"hush")
    path.chmod(mode)
    with raises(UnsafeFileError, match=f"{mode:04o}") as raised:
        read_private(str(path), limit_bytes=100)
    assert f"chmod 600 {path}" in raised.value.hint


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "."):
        with raises(UnsafeFileError, match=str(tmp_path / name)):
            read_private(str(tmp_path / name), limit_bytes=100)


# -- files that the kubelet and systemd provide


def mount(folder: Path, content: bytes, generation: str = "..2026_11_24_16_00_00.1") -> Path:
    """A folder as the kubelet mounts a Secret; another `generation` is swapped in."""
    (folder / generation).mkdir(parents=True)
    (folder / generation / "token").write_bytes(content)
    (folder / generation / "token").chmod(0o400)
    (folder / "..data_tmp").symlink_to(generation)
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / "token").is_symlink():
        (folder / "token").symlink_to("..data/token")
    return folder / "token"


def read_mounted(path: Path) -> bytes:
    return read_private(str(path), limit_bytes=100, may_be_mounted=True)


def test_a_mounted_secret_is_read_before_and_after_its_update(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "mounted")
    path = mount(tmp_path / "mounted", b"old")
    assert read_mounted(path) == read_mounted(tmp_path / "link" / "token") == b"old"
    before = fingerprint(str(path))
    mount(tmp_path / "mounted", b"new", "..2026_11_24_17_00_00.2")
    assert read_mounted(path) == b"new"
    assert fingerprint(str(path)) != before, "a running program would not notice"
    with raises(UnsafeFileError, match=str(path)):
        read_private(str(path), limit_bytes=100)


@pytest.mark.parametrize("leads_to", ["../outside", "/etc/passwd", "beside", "..data/link"])
def test_a_link_that_leaves_its_folder_or_is_not_the_kubelets_is_refused(
    tmp_path: Path, leads_to: str
) -> None:
    (tmp_path / "folder").mkdir()
    for secret in (tmp_path / "link", tmp_path / "outside", tmp_path / "folder" / "beside"):
        secret.write_bytes(b"hush")
        secret.chmod(0o600)
    (tmp_path / "folder" / "..data").symlink_to(tmp_path)
    (tmp_path / "folder" / "link").symlink_to(leads_to)
    with raises(UnsafeFileError, match="/folder/link"):
        read_mounted(tmp_path / "folder" / "link")


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_a_mounted_file_of_root_may_be_group_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = mount(tmp_path, b"hush")
    path.chmod(mode)
    owned_by(monkeypatch, 0, path)
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert read_mounted(path) == b"hush"


@pytest.mark.parametrize(
    ("user", "mode"),
    [(0, 0o460), (0, 0o404), (1001, 0o440)],
    ids="{:04o}".format,
)
def test_a_mounted_file_that_others_can_access_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, mode: int
) -> None:
    path = mount(tmp_path, b"hush")
    path.chmod(mode)
    owned_by(monkeypatch, user, path)
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    with raises(UnsafeFileError, match=f"{mode:04o}") as raised:
        read_mounted(path)
    assert ("fsGroup" in raised.value.hint) == (user == 0)
    assert ("chmod" in raised.value.hint) == (user == 1001)


def test_a_missing_file_is_an_os_error_and_one_beyond_the_limit_is_refused(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "secret")
    with pytest.raises(FileNotFoundError):
        read_private(path, limit_bytes=100)
    write_private(path, b"hush")
    with raises(UnsafeFileError, match="3 bytes"):
        read_private(path, limit_bytes=3)


def test_a_private_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    old = os.umask(0)
    try:
        make_private_folder(str(folder))
        make_private_folder(str(folder))
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_an_open_folder_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    for name in ("open", "link"):
        with raises(UnsafeFileError, match=str(tmp_path / name)):
            make_private_folder(str(tmp_path / name))


def test_only_an_ordinary_file_is_read_within_its_bound(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_ordinary(str(file), limit_bytes=5) == b"12345"
    for path in (str(file), str(tmp_path / "pipe"), str(tmp_path), "/dev/zero"):
        with pytest.raises(UnsafeFileError):
            read_ordinary(path, limit_bytes=4)
