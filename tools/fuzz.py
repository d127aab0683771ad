"""Run the property tests again and again with random seeds, until the time is over.

    .venv/bin/python -m tools.fuzz SECONDS [PYTEST OPTION...]

Ends at the first failure, with the example that Hypothesis found: `@example(...)` makes it a test.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDERS = ("tests/unit", "tests/props")


def main(arguments: list[str]) -> int:
    """Exit code 0 where nothing was found."""
    ends = time.monotonic() + float(arguments[0])
    runs, files = 0, property_tests()
    while (left := ends - time.monotonic()) > 0:
        seed = secrets.randbelow(2**32)
        code = run(seed, left, [*files, *arguments[1:]])
        if code is None:
            break
        if code:
            print(f"found with seed {seed}: add the @example, then mend what it shows")
            return code
        runs += 1
    print(f"nothing found: {runs} whole runs, and what the time left for another")
    return 0


def property_tests() -> list[str]:
    """The files with such tests; to collect all others takes as long as these run."""
    files = (file for folder in FOLDERS for file in Path(folder).rglob("test_*.py"))
    return sorted(str(file) for file in files if "from hypothesis import" in file.read_text())


def run(seed: int, seconds: float, options: list[str]) -> int | None:
    """The exit code of one run of them all; None where the time was over before its end."""
    command = [
        sys.executable, "-m", "pytest", "-q", "--no-header", "-x", "-m", "hypothesis",
        "--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}", *options,
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return None if process.wait() in (0, 2) else process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
