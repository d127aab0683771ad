"""The variables that are removed from the environment of hooks."""

from __future__ import annotations

import json
from pathlib import Path

from daypass.agent.file_renewer import TokenRequester
from daypass.client.exchange import SYSTEM_TIMING
from support.fake_door import long_lived_token


def test_a_variable_that_once_held_the_token_is_kept_from_hooks(tmp_path: Path) -> None:
    """After a rotation from a variable to a file the variable still holds a long-lived token."""
    file = tmp_path / "bot.json"
    file.touch(0o600)
    environ = {"LONG": long_lived_token(), "OTHER": long_lived_token()}
    holder = TokenRequester(environ, str(file), SYSTEM_TIMING)
    for token in ({"variable": "LONG"}, {"variable": "OTHER"}, long_lived_token()):
        fields = {"type": "daypass", "version": 1, "door": "https://localhost:1/kubernetes"}
        file.write_text(json.dumps({**fields, "audience": "a", "token": token}))
        assert holder.identity() is not None
    assert {"LONG", "OTHER"} <= set(holder.variables)
