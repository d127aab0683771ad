"""The scripts in `examples`, run as their readers run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: str, environment: Mapping[str, str]) -> str:
    return run_script(EXAMPLES / f"{name}.py", *arguments, environment=environment)


def run_script(script: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DAYPASS_")}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True, text=True, check=False, timeout=90, env={**inherited, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
