"""The rendered manifests, byte for byte as they are committed in `manifests/`.

A change of what is applied shows itself as a change of these files, to be read in review. To accept
one: `DAYPASS_GOLDEN=update pytest tests/golden`, then read the diff.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daypass.render.yaml import stream
from support.manifest_cases import CASES

GOLDEN = Path(__file__).parent / "manifests"


@pytest.mark.parametrize("name", CASES)
def test_the_rendered_tree_matches_the_committed_files(name: str) -> None:
    tree = CASES[name].tree()
    folder = GOLDEN / name
    if os.environ.get("DAYPASS_GOLDEN") == "update":
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in tree.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    committed = {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*.yaml")}
    assert sorted(tree) == sorted(committed)
    for path, text in tree.items():
        assert text == committed[path], f"{name}/{path} differs; see this module's docstring"


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_the_same_config_gives_the_same_bytes_in_any_process(seed: str) -> None:
    program = (
        "from daypass.render.yaml import stream\n"
        "from support.manifest_cases import CASES\n"
        "for case in CASES.values(): print(stream(case.objects()), case.tree())"
    )
    rendering = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(GOLDEN.parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = "".join(f"{stream(case.objects())} {case.tree()}\n" for case in CASES.values())
    assert rendering.stdout == expected
