"""What sdist and wheel may hold: files of a few folders, tracked or generated, and nothing else."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from tools.release.distributions import generated, tracked

from daypass._core import VERSION

INTO_WHEEL = {
    "src/daypass": "daypass",
    "docs": "daypass/docs",
    "man": f"daypass-{VERSION}.data/data/share/man/man1",
}
NOT_IN_WHEEL = {"docs/demo.svg"}
SUFFIXES = {".py", ".md", ".json", ".yaml", ".tpl", ".svg", ".1"}
NAMES = {"py.typed"}
METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}

INTO_SDIST = ("src", "tests", "tools", "bench", "docs", "examples")
TOP_OF_SDIST = {
    "CHANGELOG.md", "CONTRIBUTING.md", "Containerfile", "LICENSE", "Makefile", "README.md",
    "SECURITY.md", "pyproject.toml", "uv.lock",
}  # fmt: skip
ADDED_TO_SDIST = {"PKG-INFO", ".gitignore"}


def of_wheel(wheel: Path) -> list[str]:
    """Return a line for each file that the wheel lacks, or should not have."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    expected = {
        f"{target}{name.removeprefix(folder)}"
        for folder, target in INTO_WHEEL.items()
        for name in (*tracked(folder), *generated())
        if name.startswith(f"{folder}/") and name not in NOT_IN_WHEEL
    }
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    problems = _difference(wheel, held, expected | {f"{info}/{name}" for name in METADATA})
    paths = [PurePosixPath(name) for name in sorted(expected)]
    unknown = [it for it in paths if it.suffix not in SUFFIXES and it.name not in NAMES]
    return problems + [f"{wheel.name}: {it} is of no kind that a wheel ships" for it in unknown]


def of_sdist(sdist: Path) -> list[str]:
    """Return a line for each file that the sdist lacks, or should not have."""
    top = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    odd = [it.name for it in members if not (it.isfile() or it.isdir())]
    held = {it.name.removeprefix(f"{top}/") for it in members if it.isfile()}
    expected = {*tracked(*INTO_SDIST), *generated(), *TOP_OF_SDIST, *ADDED_TO_SDIST}
    return _difference(sdist, held, expected) + [f"{sdist.name}: {it} is no file" for it in odd]


def _difference(archive: Path, held: set[str], expected: set[str]) -> list[str]:
    return [
        *(f"{archive.name} lacks {name}" for name in sorted(expected - held)),
        *(f"{archive.name} should not hold {name}" for name in sorted(held - expected)),
    ]
