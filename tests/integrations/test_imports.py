"""What importing the adapters loads, and the error if a library is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from daypass._core.errors import MissingExtraError

LIBRARIES = {
    "httpx": "httpx",
    "urllib3": "urllib3",
    "grpc": "grpc",
}
"""Module of the library, and the extra that brings it."""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_of_adapters_imports_no_library() -> None:
    code = (
        f"import sys, daypass, daypass.integrations; print({set(LIBRARIES)!r} & set(sys.modules))"
    )
    assert run(code) == "set()"


@pytest.mark.parametrize(("library", "extra"), LIBRARIES.items())
def test_a_missing_library_names_the_extra_to_install(library: str, extra: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules['{library}'] = None\n"
        "from daypass import MissingExtraError\n"
        "try:\n"
        f"    import daypass.integrations.{library}\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    said = run(code)
    assert said == str(MissingExtraError(f"daypass.integrations.{library}", extra))
    assert f"[{extra}]'" in said
