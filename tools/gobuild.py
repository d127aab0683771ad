"""A Go program of a module in this folder, built once into the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.controlplane.build import BuildError, go_program, locked

TOOLS = Path(__file__).resolve().parent
CHANGES = "changes.json"
"""Beside main.go: what to replace in another module, for what that has as constants.

`{"module": PATH, "files": {PATH: {OLD: NEW}}}`.
"""


def built(module: str, package: str) -> Path:
    """The program of `package` in the module `tools/<module>`, built now if it was not.

    What is built is decided by the sources in that folder: change one, and the next call builds
    anew into another folder. Needs Go and its module proxy. Raises BuildError.
    """
    folder = TOOLS / module
    kinds = (".go", ".mod", ".sum", ".json")
    sources = sorted(file for file in folder.iterdir() if file.suffix in kinds)
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
    with tempfile.TemporaryDirectory() as scratch:
        flags = ["-trimpath", "-ldflags", "-s -w", *_changed(go, folder, Path(scratch))]
        _run([go, "build", *flags, "-o", str(partial), package], folder)
    partial.replace(target)


def _changed(go: str, folder: Path, scratch: Path) -> list[str]:
    """The flags that make `go build` take a module from a changed copy, if there is one."""
    if not (folder / CHANGES).exists():
        return []
    changes = json.loads((folder / CHANGES).read_text())
    source = json.loads(_run([go, "mod", "download", "-json", changes["module"]], folder))["Dir"]
    copy = scratch / "module"
    shutil.copytree(source, copy, copy_function=shutil.copyfile)
    for name, replaced in changes["files"].items():
        text = (copy / name).read_text()
        for old, new in replaced.items():
            if old not in text:
                raise BuildError(f"{name} of {changes['module']} has no {old}")
            text = text.replace(old, new)
        (copy / name).write_text(text)
    for name in ("go.mod", "go.sum"):
        shutil.copy(folder / name, scratch)
    with (scratch / "go.mod").open("a") as module:
        module.write(f"\nreplace {changes['module']} => {copy}\n")
    return [f"-modfile={scratch / 'go.mod'}"]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)} in {folder}:\n{done.stderr}")
    return done.stdout
