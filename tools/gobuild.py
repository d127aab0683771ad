"""A Go program of a module in this folder, built once into the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tools.controlplane.build import BuildError, go_program, locked

TOOLS = Path(__file__).resolve().parent


def built(module: str, package: str) -> Path:
    """The program of `package` in the module `tools/<module>`, built now if it was not.

    What is built is decided by the sources in that folder: change one, and the next call builds
    anew into another folder. Needs Go and its module proxy. Raises BuildError.
    """
    folder = TOOLS / module
    sources = sorted(file for file in folder.iterdir() if file.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = base / "daypass" / module / digest / module
    if target.exists():
        return target
    go = go_program(os.environ)
    with locked(target.parent, sys.stderr):
        if not target.exists():
            _build(go, folder, package, target)
    return target


def _build(go: str, folder: Path, package: str, target: Path) -> None:
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(partial), package],
        cwd=folder,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{package} cannot be built:\n{done.stderr}")
    partial.replace(target)
