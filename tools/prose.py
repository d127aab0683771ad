"""Reject wording that the style guide rules out. `make lint` runs it.

usage: python -m tools.prose [PATH...]   (default: everything that the project writes)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".py", ".md", ".txt", ".toml", ".yaml"}

REPLACEMENTS = {
    r"\bhangs? on\b": "is bound to",
    r"\bwhoever\b": "a user who, callers",
    r"\b(?:is|are) told\b": "is reported, logs, returns",
    r"\bcounts more\b": "takes precedence",
    r"\bas whom\b": "as which user",
    r"\bfor who\b(?! in\b|,)": "for users who",
    r"\balso if\b": "even if",
    r"\bis come by\b": "is obtained",
    r"(?<![\w'/])daypass'(?!\w)": "daypass's, or no genitive",
}
"""What is rejected, and what to write instead."""


def findings(path: Path) -> Iterator[str]:
    """One line for each rejected wording in a file."""
    text = path.read_text(encoding="utf-8")
    for pattern, instead in REPLACEMENTS.items():
        # A line may break between two words, and continue after a comment sign.
        for match in re.finditer(pattern.replace(" ", r"\s+(?:#\s+)?"), text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}: {match[0]!r}: write {instead!r}"


def main(arguments: list[str]) -> int:
    """Print all findings; 1 if there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *arguments],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    paths = [ROOT / name for name in listed.split("\0") if Path(name).suffix in SUFFIXES]
    own = Path(__file__).resolve()
    found = [line for path in paths if path.is_file() and path != own for line in findings(path)]
    print("\n".join(found) or "no rejected wording")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
