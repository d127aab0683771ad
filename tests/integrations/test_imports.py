"""What importing the adapters loads, and the error if a library is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from daypass._core.errors import MissingExtraError


@pytest.mark.parametrize("library", ["httpx", "grpc"])
def test_a_missing_library_names_the_extra_to_install(library: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules['{library}'] = None\n"
        "from daypass import MissingExtraError\n"
        "try:\n"
        f"    import daypass.integrations.{library}\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    expected = MissingExtraError(f"daypass.integrations.{library}", library)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")
    assert f"[{library}]'" in done.stdout
