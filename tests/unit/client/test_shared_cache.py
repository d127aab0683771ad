"""Tokens on disk: their owner, and when they are ignored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from daypass._core.clock import rfc3339
from daypass.client.credentials_source import CredentialsSource, read_source
from daypass.client.shared_cache import (
    CacheWarning,
    SharedTokenCache,
    cache_folder,
    digest_input,
    entry_name,
)
from daypass.client.token import CachedToken
from support.fake_door import short_lived_token
from support.messages import raises
from support.timing import NOON, FakeClock

KEY = entry_name([b"me"], "gate", 3600)
CLOCK = FakeClock()
SAVED = (
    "audiences", "expires_at", "fresh_seconds", "received_monotonic", "received_unix",
    "usable_seconds", "value",
)  # fmt: skip


def entry(value: str = short_lived_token()) -> CachedToken:
    return CachedToken(
        value=value,
        expires_at="2027-01-15T09:00:00Z",
        audiences='["gate"]',
        received_unix=NOON,
        received_monotonic=1000,
        fresh_seconds=2880,
        usable_seconds=3590,
    )


def cache(folder: str, environ: Mapping[str, str] | None = None) -> SharedTokenCache:
    return SharedTokenCache(folder=folder, environ=environ or {}, warn=lambda problem: None)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "a" / "tokens")


def test_a_stored_entry_is_found(folder: str) -> None:
    assert cache(folder).load(KEY, CLOCK) is None
    cache(folder).store(KEY, entry())
    found = cache(folder).load(KEY, CLOCK)
    assert found is not None
    for name in SAVED:
        assert getattr(found, name) == getattr(entry(), name)
    assert found.token.value.reveal() == short_lived_token()
    assert found.token.audiences == ("gate",)
    assert rfc3339(found.token.expires_at) == found.expires_at


@pytest.mark.parametrize(
    ("unix", "monotonic", "age"),
    [
        (0, 0, 0),
        (60, 60, 60),
        (60, 10, 60),  # the monotonic clock stood still, or restarted with the machine
        (60, -900, 60),
        (60, 3000, 3000),  # the other one was set back meanwhile
        (-1, 3000, None),  # it was set back to before the token came
    ],
)
def test_the_age_of_an_entry_is_the_larger_of_two_clocks(
    folder: str, unix: float, monotonic: float, age: float | None
) -> None:
    cache(folder).store(KEY, entry())
    clock = FakeClock(NOON + unix)
    clock.now_monotonic = 1000 + monotonic
    found = cache(folder).load(KEY, clock)
    assert (None if found is None else found.age_seconds(clock)) == age


def test_an_entry_is_not_found_once_its_inputs_changed(folder: str, tmp_path: Path) -> None:
    file, environ = tmp_path / "to ken\n:", {"NAME": "value"}
    file.write_text("x")
    inputs = (
        ("file", str(file), digest_input("file", str(file), {})),
        ("variable", "NAME", digest_input("variable", "NAME", environ)),
    )
    cache(folder).store(KEY, entry(), inputs)
    found = cache(folder, environ).load(KEY, CLOCK)
    assert found is not None
    assert "value" not in Path(folder, KEY).read_text()
    assert cache(folder, {"NAME": "other"}).load(KEY, CLOCK) is None
    assert cache(folder).load(KEY, CLOCK) is None
    file.write_text("yy")
    assert cache(folder, environ).load(KEY, CLOCK) is None
    file.unlink()
    assert cache(folder, environ).load(KEY, CLOCK) is None


def test_a_damaged_entry_is_detected_at_every_byte(folder: str) -> None:
    cache(folder).store(KEY, entry("eyJ.a.b"))
    path = Path(folder, KEY)
    whole = path.read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole + b"x", whole + whole, b"x" + whole]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CacheWarning, match=KEY):
            cache(folder).load(KEY, CLOCK)


def test_an_entry_under_another_name_is_ignored(folder: str) -> None:
    cache(folder).store(KEY, entry())
    other = entry_name([b"you"], "gate", 3600)
    os.rename(f"{folder}/{KEY}", f"{folder}/{other}")
    with raises(CacheWarning, match=other):
        cache(folder).load(other, CLOCK)


def test_no_token_is_cached_in_a_folder_open_to_others(folder: str) -> None:
    os.makedirs(folder)
    os.chmod(folder, 0o750)  # noqa: S103
    with raises(CacheWarning, match=folder) as raised:
        cache(folder).store(KEY, entry())
    assert f"chmod 700 {folder}" in raised.value.hint
    assert os.listdir(folder) == []


def test_abandoned_cache_files_are_removed(folder: str) -> None:
    cache(folder).store(KEY, entry())
    now = os.stat(f"{folder}/{KEY}").st_mtime
    for name, days in (("old", 8), ("young", 6)):
        Path(folder, name).write_text("")
        os.utime(f"{folder}/{name}", (now - days * 86400, now - days * 86400))
    cache(folder).store(KEY, entry())
    assert sorted(os.listdir(folder)) == sorted([KEY, "young"])


# -- whose it is


def test_the_cache_key_covers_every_input_of_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c"
    keys: list[str] = []

    def ask(
        source: CredentialsSource, audience: str | None = None, lifetime: int | None = None
    ) -> None:
        keys.append(entry_name(source.identity(), audience, lifetime))

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
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    ask(CredentialsSource(origin=str(file), document=b"{}"))
    assert len(set(keys)) == len(keys)


def test_the_key_depends_on_the_folder_and_not_the_file_name() -> None:
    def key(origin: str) -> str:
        return entry_name(CredentialsSource(origin=origin, document=b"{}").identity(), None, None)

    assert key("/a/x") == key("/a/y") == key("/b/../a/x")
    assert key("/a/x") != key("/b/x")


def test_the_parts_of_a_cache_key_are_delimited() -> None:
    keys = {
        entry_name(parts, None, None)
        for parts in ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"", b"abc"])
    }
    assert len(keys) == 5


def test_without_a_home_folder_nothing_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with raises(CacheWarning):
        cache_folder({})
