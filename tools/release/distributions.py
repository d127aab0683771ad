"""The sdist and the wheel, built so that anybody can build the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.bootstrap import ROOT, ensure_uv
from tools.reference import output


def tracked(*patterns: str) -> list[str]:
    """Return the names of tracked files that still exist, as git sorts them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def generated() -> dict[str, str]:
    """Return what a release has in addition to the tracked files: texts by their names."""
    return {"docs/reference/output.schema.json": output.schema()}


def build_twice(folder: Path, version: str) -> tuple[Path, Path]:
    """Build into a folder; return the sdist, and the wheel that was built from it.

    Raises SystemExit if a second build, in other circumstances, differs in a byte.
    """
    names = [f"daypass-{version}.tar.gz", f"daypass-{version}-py3-none-any.whl"]
    with tempfile.TemporaryDirectory() as scratch:
        first = _built(Path(scratch) / "a", umask=0o022, seconds=1_000_000_000, zone="UTC")
        other = Path(scratch) / "another place" / "deeper"
        second = _built(other, umask=0o077, seconds=1_700_000_000, zone="Asia/Tokyo")
        for name in names:
            if (first / name).read_bytes() != (second / name).read_bytes():
                raise SystemExit(f"release: two builds of {name} differ")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("daypass-*"):
            old.unlink()
        sdist, wheel = (Path(shutil.copy(first / name, folder)) for name in names)
    return sdist, wheel


def _built(folder: Path, *, umask: int, seconds: int, zone: str) -> Path:
    """Fill a folder with the files of a release, build there, and return where the result is."""
    source, out = folder / "source", folder / "out"
    files = {name: (ROOT / name).read_bytes() for name in tracked()}
    files |= {name: text.encode() for name, text in generated().items()}
    for name, content in files.items():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        is_program = os.access(ROOT / name, os.X_OK)
        target.chmod((0o777 if is_program else 0o666) & ~umask)
        os.utime(target, (seconds, seconds))
    uv, constraints = str(ensure_uv()), folder / "constraints.txt"
    locked = [uv, "export", "--frozen", "--quiet", "--only-group", "release"]
    locked += ["--output-file", str(constraints)]
    subprocess.run(locked, cwd=source, stdout=subprocess.DEVNULL, check=True)
    build = [uv, "build", "--quiet", "--out-dir", str(out), "--require-hashes"]
    build += ["--build-constraints", str(constraints)]
    environment = {**os.environ, "TZ": zone, "SOURCE_DATE_EPOCH": str(_commit_time())}
    subprocess.run(build, cwd=source, env=environment, umask=umask, check=True)
    return out


def _commit_time() -> int:
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
