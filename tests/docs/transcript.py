"""Whether a program printed what a page shows, whatever differs from run to run."""

from __future__ import annotations

import difflib
import re

CHANGING = {
    r"\beyJ[\w-]*(\.[\w-]+)*(\.\.\.)?": "TOKEN",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)": "TIME",
    r"\b\d{4}-\d\d-\d\d\b": "DATE",
    r"\b\d\d:\d\d:\d\d\b": "CLOCK",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "UUID",
    r"(?<=-)[a-z0-9]{20}\b": "SUFFIX",
    r"/tmp/daypass-\w+": "TEMPORARY",
    r"(?<=:)(3[2-9]|[45]\d|6[0-5])\d{3}\b": "PORT",
    r"\b\d+\.\d+ m?s\b": "SECONDS",
    r"(?<=  )\d+[smhd](?=  |$)": "AGE",
}
"""What differs from run to run, and what stands for it in comparisons."""


def mistake_in(shown: str, printed: str) -> str:
    """Return how the lines of a page differ from what was printed; empty if they agree.

    `...` stands for the rest of a word or of a line, and on a line of its own for any lines.
    """
    expected = [_stable(line) for line in shown.rstrip().splitlines()]
    actual = [_stable(line) for line in printed.splitlines()]
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else _pattern(line) + r"\n" for line in expected
    )
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)):
        return ""
    return "\n".join(difflib.unified_diff(expected, actual, "on the page", "printed", lineterm=""))


def _stable(line: str) -> str:
    for pattern, word in CHANGING.items():
        line = re.sub(pattern, word, line)
    return re.sub(r"\s+", " ", line.rstrip())


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))
