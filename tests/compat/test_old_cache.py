"""What an older daypass kept of its tokens is used, and nobody is asked for another one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compat.conftest import Run
from compat.loading import DATA, cache_key, cached_now, of_a_file, of_variables, read, sealed
from daypass import Credentials

DOCUMENT = (DATA / "cache/credentials.json").read_bytes()
INDEX = read("cache/index.json")


def old_entry(kind: str) -> bytes:
    """What is kept by a file or by variables, without its checksum."""
    return (DATA / "cache" / str(INDEX[kind])).read_bytes()[:-64]


def put(home: Path, kind: str, identity: list[bytes]) -> str:
    """Put an entry where this user's are, as if it were new; the token in it."""
    folder = home / ".cache/daypass/tokens"
    folder.mkdir(parents=True, mode=0o700)
    for each in (home / ".cache", home / ".cache/daypass"):
        each.chmod(0o700)
    key = cache_key(os.geteuid(), identity)
    file = folder / key
    file.touch(0o600)
    file.write_bytes(sealed(cached_now(old_entry(kind), time.monotonic()), key))  # noqa: TID251
    return old_entry(kind).split(b"\n")[8].decode()


@pytest.fixture
def by_file(tmp_path: Path) -> str:
    """The credentials file, and the token that is kept for it. Its door is there no more."""
    file = tmp_path / "credentials.json"
    file.touch(0o600)
    file.write_bytes(DOCUMENT)
    return put(tmp_path, "file", of_a_file(str(tmp_path), DOCUMENT))


@pytest.fixture
def by_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same for variables."""
    for name, value in INDEX["environment"].items():
        monkeypatch.setenv(name, value)
    return put(tmp_path, "variables", of_variables(INDEX["environment"]))


@pytest.mark.parametrize("kind", ["file", "variables"])
def test_the_format_is_what_the_older_one_wrote_byte_for_byte(kind: str) -> None:
    """Or the other tests would show nothing."""
    identity = {
        "file": of_a_file(INDEX["folder"], DOCUMENT),
        "variables": of_variables(INDEX["environment"]),
    }[kind]
    key = cache_key(INDEX["uid"], identity)
    assert key == INDEX[kind]
    assert sealed(old_entry(kind), key) == (DATA / "cache" / INDEX[kind]).read_bytes()


def test_the_token_of_a_credentials_file_is_used_without_an_exchange(
    by_file: str, run: Run, tmp_path: Path
) -> None:
    assert run("token", "--credentials", "credentials.json").strip() == by_file
    assert run("token", "--credentials", "credentials.json", "--output", "json")["token"] == by_file
    credentials = Credentials.from_file(tmp_path / "credentials.json", shared=True)
    assert credentials.token().value.reveal() == by_file


def test_the_token_of_variables_is_used_without_an_exchange(by_variables: str, run: Run) -> None:
    assert run("token").strip() == by_variables
    assert Credentials.load(shared=True).token().value.reveal() == by_variables


def test_without_it_the_door_that_has_gone_would_be_asked(by_file: str, run: Run) -> None:
    run("token", "--credentials", "credentials.json", "--no-cache", code=1)
