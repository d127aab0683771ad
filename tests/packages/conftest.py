"""What a release consists of, and bare environments to install it in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tools.bootstrap import ROOT, ensure_uv


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built from its sdist, as `uv build` and `pip` do."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [str(ensure_uv()), "build", "--quiet", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    return wheel
