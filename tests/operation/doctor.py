"""`daypass doctor` in a process of its own, with the base package alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from daypass.verification import diagnosis
from local.test_bad_input import MAIN, WITHOUT_EXTRAS
from support.output_schema import mistakes_in

STEPS = [name for name, _, _ in diagnosis.STEPS]
Found: TypeAlias = dict[str, dict[str, str]]
_FOLLOWED = ("DAYPASS_", "SSL_CERT_", "XDG_", "HTTP", "ALL_PROXY", "NO_PROXY")


def environment_of(folder: Path, file: Path | None, **more: str) -> Mapping[str, str]:
    """An environment with this credentials file and home folder, and nothing else to follow."""
    kept = {n: each for n, each in os.environ.items() if not n.upper().startswith(_FOLLOWED)}
    own = {} if file is None else {"DAYPASS_CREDENTIALS": str(file)}
    return {**kept, "HOME": str(folder), "LANG": "C.UTF-8", **own, **more}


def examine(folder: Path, file: Path | None, *words: str, **variables: str) -> Found:
    """What it finds, by step. Its exit code is right, and nothing of it is a token."""
    line = ["doctor", "-o", "json", *words]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + MAIN, *line],
        env=environment_of(folder, file, **variables), cwd=folder,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert "eyJ" not in done.stdout
    assert mistakes_in(line, done.returncode, done.stdout) == ""
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    found = {each["check"]: each for each in findings}
    assert done.returncode == (3 if failed(found) else 0)
    return found


def failed(found: Found) -> list[str]:
    """The steps that found a problem. Each has a next step."""
    names = [name for name, each in found.items() if each["level"] == "failure"]
    assert all(found[name]["hint"] for name in names)
    return names
