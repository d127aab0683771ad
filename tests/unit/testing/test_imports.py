"""pytest loads the plugin in every run of everybody who has daypass: it has to be light."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import daypass.testing
from daypass._core.errors import MissingExtraError
from support.messages import raises

HEAVY = ("cryptography", "yaml", "pydantic", "asyncio", "h11", "envoy", "daypass.local", "ssl")


def test_the_names_are_these() -> None:
    assert daypass.testing.__all__ == ["MovableClock", "stack"]


def test_pytest_finds_the_plugin_by_itself() -> None:
    (plugin,) = entry_points(group="pytest11", name="daypass")
    assert plugin.value == "daypass.testing.plugin"


def test_the_plugin_brings_in_nothing_heavy() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import daypass.testing.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    brought = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "daypass.testing.plugin" in brought
    assert not [name for name in brought if name.startswith(HEAVY)]


def test_without_the_extra_it_says_which_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [it for it in sys.modules if it.startswith("daypass.local")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with (
        raises(MissingExtraError, match=r"pip install 'daypass\[local\]'"),
        daypass.testing.stack(),
    ):
        pass
