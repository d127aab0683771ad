"""Tokens on disk: their owner, and when they are ignored."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daypass.client.cache import (
    CacheEntry,
    CacheWarning,
    cache_folder,
    entry_key,
    load_entry,
    mark,
    store_entry,
)
from daypass.client.config_source import CredentialsSource, read_source
from support.fake_door import short_lived_token
from support.messages import raises
from support.timing import NOON, FakeClock

if TYPE_CHECKING:
    from daypass.client.cache import Needs

KEY = entry_key([b"me"], "gate", 3600)


def entry(token: str = short_lived_token(), needs: Needs = ()) -> CacheEntry:
    return CacheEntry(
        token=token,
        expires_at="2027-01-15T09:00:00Z",
        audiences='["gate"]',
        received_unix=int(NOON),
        received_monotonic=1000,
        fresh_seconds=2880,
        usable_seconds=3590,
        needs=needs,
    )


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "a" / "tokens")


def test_a_stored_entry_is_found(folder: str) -> None:
    store_entry(folder, KEY, entry())
    found = load_entry(folder, KEY, {})
    assert found is not None
    for name in CacheEntry.__slots__:
        assert getattr(found, name) == getattr(entry(), name)


def test_an_empty_cache_has_no_entry(folder: str) -> None:
    assert load_entry(folder, KEY, {}) is None


def test_file_and_folder_are_the_users_alone(folder: str) -> None:
    old = os.umask(0)
    try:
        store_entry(folder, KEY, entry())
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(f"{folder}/{KEY}").st_mode) == 0o600
    assert os.listdir(folder) == [KEY]


@pytest.mark.parametrize(
    ("unix", "monotonic", "age"),
    [
        (0, 0, 0),
        (60, 60, 60),
        (60, 10, 60),  # the monotonic clock stood still, or began anew
        (60, -900, 60),
        (60, 3000, 3000),  # the other one was set back meanwhile
        (-1, 3000, 1e12),  # it was set back to before it came
    ],
)
def test_the_age_of_an_entry_is_the_larger_of_two_clocks(
    unix: float, monotonic: float, age: float
) -> None:
    clock = FakeClock(NOON + unix)
    clock.now_monotonic = 1000 + monotonic
    assert entry().age_seconds(clock) == age


def test_the_expiry_is_given_in_the_local_clocks_time() -> None:
    assert entry().ends_unix == NOON + 3590


def test_an_entry_is_not_found_once_its_inputs_changed(folder: str, tmp_path: Path) -> None:
    file, environ = tmp_path / "to ken\n:", {"NAME": "value"}
    file.write_text("x")
    needs = (
        ("file", str(file), mark("file", str(file), {})),
        ("variable", "NAME", mark("variable", "NAME", environ)),
    )
    store_entry(folder, KEY, entry(needs=needs))
    found = load_entry(folder, KEY, environ)
    assert found is not None
    assert found.needs == needs
    assert "value" not in Path(folder, KEY).read_text()
    assert load_entry(folder, KEY, {"NAME": "other"}) is None
    assert load_entry(folder, KEY, {}) is None
    file.write_text("yy")
    assert load_entry(folder, KEY, environ) is None
    file.unlink()
    assert load_entry(folder, KEY, environ) is None


def test_a_damaged_entry_is_detected_at_every_byte(folder: str) -> None:
    store_entry(folder, KEY, entry("eyJ.a.b"))
    path = Path(folder, KEY)
    whole = path.read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole + b"x", whole + whole, b"x" + whole]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CacheWarning, match=KEY):
            load_entry(folder, KEY, {})


def test_an_entry_under_another_name_is_ignored(folder: str) -> None:
    store_entry(folder, KEY, entry())
    other = entry_key([b"you"], "gate", 3600)
    os.rename(f"{folder}/{KEY}", f"{folder}/{other}")
    with raises(CacheWarning, match=other):
        load_entry(folder, other, {})


def test_an_entry_that_others_can_read_is_ignored_and_replaced(folder: str) -> None:
    store_entry(folder, KEY, entry())
    os.chmod(f"{folder}/{KEY}", 0o644)
    with raises(CacheWarning, match="0644"):
        load_entry(folder, KEY, {})
    store_entry(folder, KEY, entry())
    assert load_entry(folder, KEY, {}) is not None


def test_a_symbolic_link_is_ignored_and_replaced(folder: str, tmp_path: Path) -> None:
    store_entry(folder, KEY, entry())
    os.rename(f"{folder}/{KEY}", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{folder}/{KEY}")
    with raises(CacheWarning, match=KEY):
        load_entry(folder, KEY, {})
    store_entry(folder, KEY, entry("new"))
    found = load_entry(folder, KEY, {})
    assert found is not None
    assert found.token == "new"
    assert short_lived_token() in (tmp_path / "elsewhere").read_text()


def test_no_token_is_cached_in_a_folder_open_to_others(folder: str) -> None:
    os.makedirs(folder)
    os.chmod(folder, 0o750)  # noqa: S103
    with raises(CacheWarning, match=folder) as raised:
        store_entry(folder, KEY, entry())
    assert f"chmod 700 {folder}" in raised.value.hint
    assert os.listdir(folder) == []


def test_a_cache_folder_that_cannot_be_created_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with raises(CacheWarning, match=str(tmp_path / "file")):
        store_entry(str(tmp_path / "file" / "tokens"), KEY, entry())


def test_a_full_disk_is_a_warning_and_leaves_no_partial_file(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with raises(CacheWarning, match="No space left on device"):
        store_entry(folder, KEY, entry())
    assert os.listdir(folder) == []


def test_abandoned_cache_files_are_removed(folder: str) -> None:
    store_entry(folder, KEY, entry())
    now = os.stat(f"{folder}/{KEY}").st_mtime
    for name, days in (("old", 8), ("young", 6)):
        Path(folder, name).write_text("")
        os.utime(f"{folder}/{name}", (now - days * 86400, now - days * 86400))
    store_entry(folder, KEY, entry())
    assert sorted(os.listdir(folder)) == sorted([KEY, "young"])


def test_a_file_that_disappears_during_cleanup_is_no_warning(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes put their entries in place, and sweep, at the same time."""
    store_entry(folder, KEY, entry())
    Path(folder, "another's").write_text("")
    real = os.scandir

    @contextmanager
    def scan(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with real(path) as found:
            entries = list(found)
        Path(folder, "another's").unlink()
        yield entries

    monkeypatch.setattr(os, "scandir", scan)
    store_entry(folder, KEY, entry("new"))
    assert os.listdir(folder) == [KEY]


# -- whose it is


def test_the_cache_key_covers_every_input_of_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c"
    keys: list[str] = []

    def ask(
        source: CredentialsSource, audience: str | None = None, lifetime: int | None = None
    ) -> None:
        keys.append(entry_key(source.identity(), audience, lifetime))

    for content in (b"{}", b"{} "):
        file.write_bytes(content)
        file.chmod(0o600)
        ask(read_source({}, str(file)))
    whole = read_source({}, str(file))
    ask(whole, "a")
    ask(whole, "-")
    ask(whole, "")
    ask(whole, None, 600)
    ask(whole, "600")
    base = {"DAYPASS_DOOR": "x", "DAYPASS_TOKEN": "y", "DAYPASS_AUDIENCE": "z"}
    ask(read_source(base))
    for name in base:
        ask(read_source({**base, name: "other"}))
    ask(read_source({"DAYPASS_DOOR": "x", "DAYPASS_TOKEN": "yz"}))
    ask(read_source({**base, "DAYPASS_CA_FILE": str(file)}))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    ask(CredentialsSource(origin=str(file), document=b"{}"))
    assert len(set(keys)) == len(keys)


def test_the_key_depends_on_the_folder_and_not_the_file_name() -> None:
    def key(origin: str) -> str:
        return entry_key(CredentialsSource(origin=origin, document=b"{}").identity(), None, None)

    assert key("/a/x") == key("/a/y") == key("/b/../a/x")
    assert key("/a/x") != key("/b/x")


def test_the_parts_of_a_cache_key_are_delimited() -> None:
    keys = {
        entry_key(parts, None, None)
        for parts in ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"", b"abc"])
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/daypass/tokens"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/daypass/tokens"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/daypass/tokens"),
    ],
)
def test_the_folder_is_the_users_cache(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == folder


def test_without_a_home_folder_nothing_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with raises(CacheWarning):
        cache_folder({})
