"""Draw the picture of the demo: what `daypass demo --once` prints in a terminal, as an SVG.

    python tools/picture.py docs/demo.svg

The demo really runs, on a terminal of its own. What differs from run to run (ports, folders,
random names, times of day) is replaced; measured times stay as they were.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

WIDTH = 118
SAME_EACH_TIME = (
    (r"localhost:\d+/kubernetes", "localhost:8443/kubernetes"),
    (r"localhost:\d+(?![\d/]|/kubernetes)|localhost:\d+(?=/(?!kubernetes))", "localhost:8444"),
    (r"/tmp/daypass-\w+", "/tmp/daypass"),  # noqa: S108 - a pattern, no file
    (r"bot-daypass-[a-z0-9]{20}", "bot-daypass-7q0zk3vr9b2mx5c8w1td"),
    (r"\(\d+ characters\)", "(1033 characters)"),
    (r"exp  [\d-]+ [\d:]+ UTC", "exp  2026-01-01 12:00:00 UTC"),
)


def run_demo() -> str:
    """What the demo writes to a terminal, with its colours."""
    ours, theirs = pty.openpty()
    program = Path(sys.executable).parent / "daypass"
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([str(program), "demo", "--once"], stdout=theirs, env=environment) as demo:
        os.close(theirs)
        written = io.BytesIO()
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody has the other end any more
                break
            if not chunk:
                break
            written.write(chunk)
    os.close(ours)
    if demo.returncode != 0:
        sys.exit(f"picture: the demo ended with {demo.returncode}")
    return written.getvalue().decode().replace("\r\n", "\n")


def main() -> None:
    """Write the picture to the file that the command line names."""
    text = run_demo()
    for pattern, instead in SAME_EACH_TIME:
        text = re.sub(pattern, instead, text)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo\n", style="bold"))
    console.print(Text.from_ansi(text), soft_wrap=False)
    svg = console.export_svg(title="daypass demo", theme=MONOKAI, unique_id="daypass-demo")
    # The picture stands on its own: no font is fetched from anywhere.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(sys.argv[1]).write_text(svg)


if __name__ == "__main__":
    main()
