"""`daypass up` and `demo` as a person sees them, at a terminal."""

from __future__ import annotations

import re
from pathlib import Path

from daypass.local.stack import stack_config
from support.terminal import screen, terminal
from support.up import runtime_folder


def surroundings(folder: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(runtime_folder(folder))}


def test_up_shows_its_start_and_the_time_of_what_follows(tmp_path: Path) -> None:
    config = tmp_path / "daypass.yaml"
    config.write_text(stack_config())
    with terminal("up", env=surroundings(tmp_path), cwd=tmp_path) as shown:
        shown.wait_for("s  starting door and gate")
        shown.wait_for("Ctrl-C")
        config.write_text("version: 3\n")
        shown.wait_for("refused")
        shown.type(b"\x03")
        assert shown.wait() == 0
    lines = "\n".join(screen(shown.written)).replace("^C", "")
    start, later = lines.split("daypass: Ctrl-C stops it\n")
    assert "starting" not in lines
    assert re.search(r"^daypass: \d\d:", start, re.M) is None
    time = r"daypass: \d\d:\d\d:\d\d"
    assert re.fullmatch(
        rf"{time} the change is refused.*\n(  .+\n)+{time} closing\n{time} everything is closed\n",
        later,
    )


def test_an_interrupted_demo_leaves_no_status_line(tmp_path: Path) -> None:
    with terminal("demo", env=surroundings(tmp_path), cwd=tmp_path) as shown:
        shown.wait_for("s  starting an API server")
        shown.type(b"\x03")
        assert shown.wait() == 1
    assert "\x1b[?25" not in shown.written
    assert not any("starting" in line or "running" in line for line in screen(shown.written))
