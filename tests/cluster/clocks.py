"""daypass on a machine whose clock is wrong, and is then corrected."""

from __future__ import annotations

from pathlib import Path

from daypass._core.files import write_private

_PROGRAM = """
import sys, time
from pathlib import Path
from daypass._core.clock import SystemClock
file = Path(sys.argv.pop(1))
SystemClock.unix = lambda self: time.time() + float(file.read_text())
from daypass.cli import main
raise SystemExit(main())
"""


class WrongClock:
    """Runs a daypass whose clock is `seconds` ahead; negative: behind.

    `program`: what Python runs in place of `-m daypass`. The clocks of the API server and of Envoy
    are right.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)
        self.program = ("-c", _PROGRAM, str(self._file))

    def set(self, seconds: float) -> None:
        write_private(str(self._file), str(seconds).encode())
