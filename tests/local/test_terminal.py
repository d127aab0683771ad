"""`daypass up` and `demo` as a person sees them, at a terminal."""

from __future__ import annotations

from pathlib import Path

from support.terminal import screen, terminal
from support.up import runtime_folder


def surroundings(folder: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(runtime_folder(folder))}


def test_an_interrupted_demo_leaves_no_status_line(tmp_path: Path) -> None:
    with terminal("demo", env=surroundings(tmp_path), cwd=tmp_path) as shown:
        shown.wait_for("s  starting an API server")
        shown.type(b"\x03")
        assert shown.wait() == 1
    assert "\x1b[?25" not in shown.written
    assert not any("starting" in line or "running" in line for line in screen(shown.written))
