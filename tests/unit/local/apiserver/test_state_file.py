"""What survives a restart, and which state files are refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from daypass._core.files import UnsafeFileError
from daypass.local.apiserver.state import StateFileError
from support.messages import raises
from unit.local.apiserver.environment import Env


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state file."""
    Env(file=tmp_path / "state.json")
    return tmp_path / "state.json"


def test_the_file_is_private_and_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    env = Env(file=file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    env.prepare_bot()
    names = {obj["metadata"]["name"] for obj in json.loads(file.read_text())["objects"]}
    assert {"team", "bot", "bot-token"} <= names
    assert list(tmp_path.iterdir()) == [file]


def test_a_watch_cannot_start_before_the_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    version = Env(file=file).prepare_bot().state.store.version
    assert Env(file=file).state.store.forgotten == version


@pytest.mark.parametrize("change", [{"format": 1}, {"adminToken": None}, {"key": "nonsense"}])
def test_a_file_that_is_no_state_is_refused_with_a_hint(
    file: Path, change: dict[str, object]
) -> None:
    content = json.dumps({**json.loads(file.read_text()), **change})
    file.write_text(content)
    with raises(StateFileError, match=f"rm {file}"):
        Env(file=file)
    assert file.read_text() == content


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with raises(UnsafeFileError, match=str(file)):
        Env(file=file)
