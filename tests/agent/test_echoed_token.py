"""A door that answers with the token that it was sent: no command passes that on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.running import Door, daypass, write_config
from daypass._core.clock import SYSTEM_CLOCK, rfc3339, utc
from support.fake_door import SENTINEL, long_lived_token, token_answer

CONFIG = '[[token]]\npath = "HERE/token"\n'


@pytest.mark.parametrize(
    "arguments",
    [
        ("token",), ("token", "--no-cache", "-o", "header"), ("exec-credential",),
        ("run", "--", "printenv"), ("run", "--file", "--", "echo", "ran"),
        ("agent", "--once", "--config", "agent.toml"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_command_passes_on_the_long_lived_token_that_a_door_sends_back(
    door: Door, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    now = SYSTEM_CLOCK.unix()
    grant = {"token": long_lived_token(), "expirationTimestamp": rfc3339(utc(now + 3600))}
    door.refusal = token_answer(now=now, date=now, status=grant)
    folders = {name: str(tmp_path / name) for name in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR")}
    for folder in folders.values():
        os.mkdir(folder, 0o700)
    environment = {"DAYPASS_CREDENTIALS": str(door.credentials(tmp_path)), **folders}
    config = str(write_config(tmp_path, CONFIG))
    done = daypass(
        *(config if each == "agent.toml" else each for each in arguments), environment=environment
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "token that was sent" in done.stderr
    assert SENTINEL not in done.stderr
    [credentials] = [file for file in tmp_path.rglob("*") if SENTINEL in _text(file)]
    assert credentials.name == "bot.json"


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""
