"""What survives a restart, and which state files are refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from daypass._core.files import UnsafeFileError
from daypass.kube.errors import ApiError
from daypass.kube.resources import CONFIG_MAPS
from daypass.local.apiserver.state import StateFileError
from support.messages import raises
from unit.local.apiserver.environment import Env, config_map


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state file."""
    Env(state_file=tmp_path / "state.json")
    return tmp_path / "state.json"


def test_objects_keys_and_the_admin_token_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = Env(state_file=file).prepare_bot()
    legacy, token = before.legacy, before.mint()
    before.cluster.create(config_map("m", a="1"))
    after = Env(state_file=file)
    assert after.admin_token == before.admin_token
    assert after.legacy == legacy
    assert after.review(token)["authenticated"] is True
    assert after.cluster.list(CONFIG_MAPS) == before.cluster.list(CONFIG_MAPS)


def test_the_file_is_private_and_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    env = Env(state_file=file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    env.prepare_bot()
    names = {obj["metadata"]["name"] for obj in json.loads(file.read_text())["objects"]}
    assert {"team", "bot", "bot-token"} <= names
    assert list(tmp_path.iterdir()) == [file]


def test_a_watch_cannot_start_before_the_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    version = Env(state_file=file).prepare_bot().state.store.version
    assert Env(state_file=file).state.store.forgotten == version


CONTENTS: dict[str, bytes | dict[str, object]] = {
    "empty": b"",
    "cut off": b"{",
    "another version": {"format": 1},
    "no token": {"adminToken": None},
    "a key that is none": {"key": "nonsense"},
    "object of an unknown kind": {"objects": [{"kind": "Foo", "apiVersion": "v1", "metadata": {}}]},
}


@pytest.mark.parametrize("what", CONTENTS)
def test_a_file_that_is_no_state_is_refused_with_a_hint(file: Path, what: str) -> None:
    content = CONTENTS[what]
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content}).encode()
    file.write_bytes(content)
    with raises(StateFileError, match=f"rm {file}"):
        Env(state_file=file)
    assert file.read_bytes() == content


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with raises(UnsafeFileError, match=str(file)):
        Env(state_file=file)


def test_a_state_that_cannot_be_written_is_a_500_without_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = Env(state_file=tmp_path / "state.json").prepare_bot()

    def full(path: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("daypass.local.apiserver.state.write_private", full)
    with pytest.raises(ApiError) as caught:
        env.cluster.create(config_map("m"))
    status = caught.value.status
    assert (status.code, status.message) == (500, "Internal error occurred")
