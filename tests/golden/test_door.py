"""The rendered door, byte for byte as it is committed in `door/`.

A change of the door's config shows itself as a change of these files, to be read in review. To
accept one: `DAYPASS_GOLDEN=update pytest tests/golden`, then read the diff.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golden.door_setting import rendered

GOLDEN = Path(__file__).parent / "door"


def test_the_rendered_door_matches_the_committed_files() -> None:
    files = rendered()
    if os.environ.get("DAYPASS_GOLDEN") == "update":
        for old in GOLDEN.glob("*/*.json"):
            old.unlink()
        for name, text in files.items():
            (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_text(text)
    committed = {str(f.relative_to(GOLDEN)): f.read_text() for f in GOLDEN.glob("*/*.json")}
    assert sorted(files) == sorted(committed)
    for name, text in files.items():
        assert text == committed[name], f"{name} differs; see this module's docstring"


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_the_same_settings_give_the_same_bytes_in_any_process(seed: str) -> None:
    program = "from golden.door_setting import rendered; print(repr(rendered()))"
    rendering = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(GOLDEN.parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert rendering.stdout == repr(rendered()) + "\n"
