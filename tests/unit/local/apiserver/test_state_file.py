"""What survives a restart, and which state files are refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from daypass._core.files import UnsafeFileError
from daypass.local.apiserver.errors import StatusError
from daypass.local.apiserver.state import StateFileError
from support.messages import raises
from unit.local.apiserver.world import World, config_map


def test_objects_keys_and_the_admin_token_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = World(state_file=file).furnish()
    legacy, token = before.legacy, before.mint()
    before.state.keys.rotate()
    before.create(config_map("m", a="1"))
    after = World(state_file=file)
    assert after.admin_token == before.admin_token
    assert after.legacy == legacy
    assert after.review(token)["authenticated"] is True
    assert after.list("ConfigMap") == before.list("ConfigMap")


def test_the_file_is_private_and_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    world = World(state_file=file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    world.furnish()
    names = {obj["metadata"]["name"] for obj in json.loads(file.read_text())["objects"]}
    assert {"team", "bot", "bot-token"} <= names
    assert list(tmp_path.iterdir()) == [file]


def test_a_watch_cannot_start_before_the_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    version = World(state_file=file).furnish().state.store.version
    assert World(state_file=file).state.store.forgotten == version


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", bytes(range(256)), b"[" * 200_000],
    ids=["empty", "cut off", "another document", "binary", "deep"],
)
def test_a_file_that_is_no_state_is_refused_with_a_hint(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "state.json"
    World(state_file=file)
    file.write_bytes(content)
    with raises(StateFileError, match=f"rm {file}"):
        World(state_file=file)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("keys", []),
        ("keys", ["nonsense"]),
        ("resourceVersion", "x"),
        ("objects", [{"kind": "Secret", "apiVersion": "v1"}]),
        ("objects", [{"kind": "Foo", "apiVersion": "v1", "metadata": {}}]),
        ("objects", 5),
    ],
    ids=[
        "format", "no keys", "a key that is none", "version", "object without metadata",
        "object of an unknown kind", "objects",
    ],
)  # fmt: skip
def test_a_file_with_other_contents_is_refused(tmp_path: Path, key: str, value: object) -> None:
    file = tmp_path / "state.json"
    World(state_file=file)
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, key: value}))
    with raises(StateFileError, match=f"rm {file}"):
        World(state_file=file)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    World(state_file=file)
    file.chmod(0o644)
    with raises(UnsafeFileError, match=str(file)):
        World(state_file=file)


def test_a_state_that_cannot_be_written_is_a_500_without_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(state_file=tmp_path / "state.json").furnish()

    def full(path: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("daypass.local.apiserver.state.write_private", full)
    with pytest.raises(StatusError) as caught:
        world.create(config_map("m"))
    assert (caught.value.code, caught.value.message) == (500, "Internal error occurred")
