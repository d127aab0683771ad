"""Build a release into a folder and check it. Nothing is uploaded.

    python -m tools.release [--final] [FOLDER]       (default: dist)

1. Build sdist and wheel twice, from two copies that differ in path, times and umask, and compare
   them byte for byte.
   A release has the schema of outputs, which a checkout has not.
2. Compare their contents with these files and with an allowlist of suffixes.
3. Check their metadata with twine.
4. Write the bill of materials (CycloneDX) of what the lock installs for the extra `all`.
5. Compare the licences of all locked packages with an allowlist.
6. Compare versions in docs, examples and messages with the package's.
7. Write SHA256SUMS.

`--final` also fails if a placeholder for the owner is left; without it, they are listed.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from tools.bootstrap import ROOT
from tools.release import contents, distributions, inventory

from daypass._core import VERSION

PLACEHOLDER = re.compile(r"github\.example|\bOWNER/daypass\b")
IMAGE_TAG = re.compile(r"\bdaypass:(\d[\w.]*\d)")
PLACES = ("*.md", "*.toml", "*.yaml", "*.yml", "src", "docs", "examples", "Containerfile")


def mentions(pattern: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
    """Return where tracked files that users read match a pattern: the place and the match."""
    found = []
    for name in distributions.tracked(*PLACES, ":!tests"):
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            found += [(f"{name}:{number}", match) for match in pattern.finditer(line)]
    return found


def check_versions() -> list[str]:
    """Return a line for each image tag that is not the package's version."""
    return [
        f"{place}: {match[0]} is not version {VERSION}"
        for place, match in mentions(IMAGE_TAG)
        if match[1] != VERSION
    ]


def write_sums(folder: Path, files: list[Path]) -> None:
    """Write SHA256SUMS, in the form of `sha256sum -c`."""
    lines = [f"{hashlib.sha256(it.read_bytes()).hexdigest()}  {it.name}\n" for it in sorted(files)]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main(arguments: list[str]) -> int:
    """Return 0 if everything holds; otherwise print what does not, and return 1."""
    is_final = "--final" in arguments
    folder = Path(next((it for it in arguments if not it.startswith("-")), "dist")).resolve()
    sdist, wheel = distributions.build_twice(folder, VERSION)
    problems = [*contents.of_wheel(wheel), *contents.of_sdist(sdist)]
    twine = [sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)]
    if (checked := subprocess.run(twine, capture_output=True, text=True, check=False)).returncode:
        problems.append(f"twine: {checked.stdout}{checked.stderr}")
    bill = inventory.write_bill(folder / f"daypass-{VERSION}.cdx.json", wheel)
    problems += inventory.check_licences(ROOT / "uv.lock")
    problems += check_versions()
    left = list(dict.fromkeys(place for place, _ in mentions(PLACEHOLDER)))
    if is_final:
        problems += [f"{place}: a placeholder for the repository's owner" for place in left]
    write_sums(folder, [sdist, wheel, bill])
    print("\n".join([*(f"{folder / it.name}" for it in (sdist, wheel, bill)), *problems]))
    if left and not is_final:
        print(f"placeholders for the repository's owner: {', '.join(left)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
