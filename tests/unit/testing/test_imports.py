"""pytest loads the plugin in every run where daypass is installed, so its imports are few."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import daypass.testing
from daypass._core.errors import MissingExtraError
from support.messages import raises

HEAVY = ("cryptography", "yaml", "pydantic", "asyncio", "h11", "envoy", "daypass.local", "ssl")


def test_pytest_discovers_the_plugin() -> None:
    (plugin,) = entry_points(group="pytest11", name="daypass")
    assert plugin.value == "daypass.pytest_plugin"


def test_the_plugin_imports_nothing_heavy() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import daypass.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    imported = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "daypass.pytest_plugin" in imported
    assert not [name for name in imported if name.startswith(HEAVY)]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [it for it in sys.modules if it.startswith(("daypass.local", "cryptography"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with (
        raises(MissingExtraError, match=r"\[local\]'$"),
        daypass.testing.stack(),
    ):
        pass
