"""Programs that run to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DAYPASS = (sys.executable, "-m", "daypass")


def run(
    *command: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """`environment`: besides this process's own variables. `given`: its stdin."""
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, input=given,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def output_of(*command: str | Path, **options: Any) -> str:
    """What it prints to stdout, as `run`. Fails unless it exits with 0."""
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
