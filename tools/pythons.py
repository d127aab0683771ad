"""Test the client on every other Python of this machine.

    .venv/bin/python -m tools.pythons [PYTEST OPTION...]

Looks for Python 3.11 to 3.15 on PATH and among pyenv's, leaves out the one that runs this, makes
`.venv-3.N` from the lock for each that there is, and runs what depends on an interpreter most:
the client, its adapters, and the agent. Which are missing is said, and is no failure; nothing is
downloaded to fill in for them but wheels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.bootstrap import ROOT, ensure_uv

MINORS = range(11, 16)
TESTS = (
    "tests/unit/client", "tests/unit/core", "tests/unit/integrations", "tests/integrations",
    "tests/agent", "tests/props/test_client_flow.py", "tests/props/test_client_model.py",
    "tests/props/test_http_parser.py",
)  # fmt: skip


def found(minor: int) -> Path | None:
    """A Python 3.`minor` that runs, or None."""
    name = f"python3.{minor}"
    on_path = shutil.which(name)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in [
        *([Path(on_path)] if on_path else []),
        *pyenv.glob(f"3.{minor}.*/bin/{name}"),
    ]:
        asked = subprocess.run(
            [str(candidate), "-c", "import ssl, sys; print(sys.version_info[1], sys.executable)"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if asked.returncode == 0 and asked.stdout.startswith(f"{minor} "):
            return Path(asked.stdout.strip().partition(" ")[2])
    return None


def passes(minor: int, python: Path, options: list[str]) -> bool:
    """Whether its tests pass on it."""
    venv = ROOT / f".venv-3.{minor}"
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never", UV_PROJECT_ENVIRONMENT=str(venv))
    environment.pop("VIRTUAL_ENV", None)
    sync = [ensure_uv(), "sync", "--frozen", "--quiet", "--python", python, "--extra", "all"]
    subprocess.run([str(part) for part in sync], cwd=ROOT, env=environment, check=True)
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    pytest = [str(venv / "bin" / "pytest"), *TESTS, *options]
    return subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode == 0


def main(options: list[str]) -> int:
    """The exit code: 1 where tests failed on one of them."""
    others = {minor: found(minor) for minor in MINORS if minor != sys.version_info.minor}
    results = {minor: passes(minor, python, options) for minor, python in others.items() if python}
    for minor, python in others.items():
        said = {None: "is not on this machine", True: "passed", False: "FAILED"}[results.get(minor)]
        print(f"Python 3.{minor} {said}{f' ({python})' if python else ''}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
